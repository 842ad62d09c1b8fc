//! Statistics counters: one shard per worker, summed when read.
//!
//! A shard has one writer, which adds with a plain load and store; no bus lock is taken on the
//! request's path.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What is counted, with the column's name in HAProxy's statistics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Count { $($(#[$doc])* $name),* }
        const COUNTS: usize = [$(Count::$name),*].len();
    };
}

counts! {
    /// Sessions (`stot`): connections for a frontend, requests for a backend or a server.
    Sessions,
    /// Bytes from clients (`bin`).
    BytesIn,
    /// Bytes to clients (`bout`).
    BytesOut,
    /// Requests denied by rules (`dreq`).
    DeniedRequests,
    /// Responses denied by rules or for safety (`dresp`).
    DeniedResponses,
    /// Malformed or aborted requests (`ereq`).
    RequestErrors,
    /// Failed connections to servers (`econ`).
    ConnectErrors,
    /// Malformed or aborted responses (`eresp`).
    ResponseErrors,
    /// Retries (`wretr`).
    Retries,
    /// Redispatches (`wredis`).
    Redispatches,
    /// Responses without a status or with a strange one (`hrsp_other`).
    Responses0,
    /// `hrsp_1xx`.
    Responses1,
    /// `hrsp_2xx`.
    Responses2,
    /// `hrsp_3xx`.
    Responses3,
    /// `hrsp_4xx`.
    Responses4,
    /// `hrsp_5xx`.
    Responses5,
    /// Requests (`req_tot`).
    Requests,
    /// Connections (`conn_tot`).
    Connections,
    /// Connections denied (`dcon`).
    DeniedConnections,
    /// Sessions denied (`dses`).
    DeniedSessions,
    /// Transfers that the client aborted (`cli_abrt`).
    ClientAborts,
    /// Transfers that the server aborted (`srv_abrt`).
    ServerAborts,
    /// Times a server was chosen (`lbtot`).
    Selected,
    /// Requests answered by the proxy itself (`intercepted`).
    Intercepted,
    /// Connections opened to servers (`connect`).
    Opened,
    /// Connections to servers taken from the pool (`reuse`).
    Reused,
    /// Heads that could not be rewritten (`wrew`).
    RewriteErrors,
    /// Internal errors (`eint`).
    InternalErrors,
    /// Requests whose times were added up below.
    Timed,
    /// Milliseconds in queues (`qtime` is the average).
    QueueTime,
    /// Milliseconds connecting (`ctime`).
    ConnectTime,
    /// Milliseconds waiting for responses (`rtime`).
    ResponseTime,
    /// Milliseconds in all (`ttime`).
    TotalTime,
    /// The most milliseconds in a queue (`qtime_max`).
    QueueTimeMost,
    /// The most milliseconds connecting (`ctime_max`).
    ConnectTimeMost,
    /// The most milliseconds waiting for a response (`rtime_max`).
    ResponseTimeMost,
    /// The most milliseconds in all (`ttime_max`).
    TotalTimeMost,
    /// Connections closed first by the proxy.
    ActiveCloses,
    /// Connections on which the server's FIN was seen first.
    PassiveCloses,
    /// Responses cut short.
    CutShort,
}

impl Count {
    /// The counter of responses with this status.
    pub fn response(status: u16) -> Self {
        match status / 100 {
            1 => Self::Responses1,
            2 => Self::Responses2,
            3 => Self::Responses3,
            4 => Self::Responses4,
            5 => Self::Responses5,
            _ => Self::Responses0,
        }
    }
}

/// One worker's counters, on cache lines of their own.
#[repr(align(128))]
#[derive(Debug)]
struct Shard([AtomicU64; COUNTS]);

/// The counters of a frontend, a backend or a server.
#[derive(Debug)]
pub struct Counters {
    shards: Box<[Shard]>,
}

impl Counters {
    /// For that many workers.
    pub fn new(workers: usize) -> Self {
        let shard = || Shard([const { AtomicU64::new(0) }; COUNTS]);
        Self { shards: (0..workers).map(|_| shard()).collect() }
    }

    /// Adds to a worker's own counter. Only that worker's thread may call this.
    pub fn add(&self, worker: usize, what: Count, amount: u64) {
        let cell = &self.shards[worker].0[what as usize];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// Raises a worker's own counter to at least this. Only that worker's thread may call this.
    pub fn raise(&self, worker: usize, what: Count, amount: u64) {
        let cell = &self.shards[worker].0[what as usize];
        if amount > cell.load(Relaxed) {
            cell.store(amount, Relaxed);
        }
    }

    /// The highest of the workers'.
    pub fn most(&self, what: Count) -> u64 {
        self.shards.iter().map(|shard| shard.0[what as usize].load(Relaxed)).max().unwrap_or(0)
    }

    /// The sum over the workers.
    pub fn total(&self, what: Count) -> u64 {
        self.shards.iter().map(|shard| shard.0[what as usize].load(Relaxed)).sum()
    }

    /// Forgets the highest values (`clear counters`).
    pub fn clear_most(&self) {
        use Count::{ConnectTimeMost, QueueTimeMost, ResponseTimeMost, TotalTimeMost};
        for what in [QueueTimeMost, ConnectTimeMost, ResponseTimeMost, TotalTimeMost] {
            self.shards.iter().for_each(|shard| shard.0[what as usize].store(0, Relaxed));
        }
    }

    /// Zeroes all (`clear counters all`). What workers add at that very moment may survive.
    pub fn clear(&self) {
        self.shards.iter().flat_map(|shard| &shard.0).for_each(|cell| cell.store(0, Relaxed));
    }
}

/// A number that goes up and down, with the highest it was. Its changes are ordered against each
/// other's over all threads, which the queues rely on.
#[derive(Debug, Default)]
pub struct Gauge {
    now: AtomicU32,
    max: AtomicU32,
}

impl Gauge {
    /// One more; returns the new value.
    pub fn rise(&self) -> u32 {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        if now > self.max.load(Relaxed) {
            self.max.fetch_max(now, Relaxed);
        }
        now
    }

    /// One more unless `limit` is reached already; 0 is no limit.
    pub fn rise_below(&self, limit: u32) -> bool {
        if limit == 0 {
            self.rise();
            return true;
        }
        let step = |now| (now < limit).then_some(now + 1);
        match self.now.fetch_update(SeqCst, SeqCst, step) {
            Ok(before) => {
                self.max.fetch_max(before + 1, Relaxed);
                true
            }
            Err(_) => false,
        }
    }

    /// One less.
    pub fn fall(&self) {
        self.now.fetch_sub(1, SeqCst);
    }

    /// The value.
    pub fn now(&self) -> u32 {
        self.now.load(SeqCst)
    }

    /// The highest value since the last [`Gauge::clear`].
    pub fn max(&self) -> u32 {
        self.max.load(Relaxed)
    }

    /// Forgets the highest value.
    pub fn clear(&self) {
        self.max.store(self.now(), Relaxed);
    }
}

/// Events in the last whole second and the most in any, sampled once a second from a total.
#[derive(Debug, Default)]
pub struct Rate {
    seen: AtomicU64,
    last: AtomicU32,
    max: AtomicU32,
}

impl Rate {
    /// To be called each second with the total so far.
    pub fn sample(&self, total: u64) {
        let before = self.seen.swap(total, Relaxed);
        let now = u32::try_from(total.saturating_sub(before)).unwrap_or(u32::MAX);
        self.last.store(now, Relaxed);
        self.max.fetch_max(now, Relaxed);
    }

    /// In the last whole second.
    pub fn last(&self) -> u32 {
        self.last.load(Relaxed)
    }

    /// The most in any second.
    pub fn max(&self) -> u32 {
        self.max.load(Relaxed)
    }

    /// Forgets the most.
    pub fn clear(&self) {
        self.max.store(self.last(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up() {
        let counters = Counters::new(3);
        counters.add(0, Count::BytesIn, 5);
        counters.add(2, Count::BytesIn, 7);
        assert_eq!(counters.total(Count::BytesIn), 12);
        assert_eq!(counters.total(Count::BytesOut), 0);
        counters.clear();
        assert_eq!(counters.total(Count::BytesIn), 0);
    }

    #[test]
    fn a_gauge_keeps_to_its_limit() {
        let gauge = Gauge::default();
        assert!(gauge.rise_below(2) && gauge.rise_below(2));
        assert!(!gauge.rise_below(2));
        gauge.fall();
        assert_eq!((gauge.now(), gauge.max()), (1, 2));
    }

    #[test]
    fn a_rate_is_the_difference_of_totals() {
        let rate = Rate::default();
        rate.sample(10);
        rate.sample(13);
        assert_eq!((rate.last(), rate.max()), (3, 10));
    }
}
