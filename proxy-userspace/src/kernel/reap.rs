//! Keeps room in the flow table: which entries may go, and when.

use super::batch::{self, Walk};
use super::error::Error;
use super::pod::Raw;
use aya::maps::{Array, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use bytemuck::Zeroable as _;
use proxy_common::abi::{REAP_BATCH, REAP_EVICT, REAP_EXPIRE, REAP_RECLAIM, Reap, ReapEntry, Slot};
use proxy_common::flow::{self, Flow, SEEN, STARTED, TRACKED};
use proxy_common::key::FlowKey;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;
/// How long a reported connection keeps its entry, so that what comes late makes no new one.
const LINGER_NS: u64 = 10 * SECOND;
/// The same when the table is half full.
const SHORT_LINGER_NS: u64 = SECOND;
/// A SYN without an answer is given up after this: Linux sends its last one after 63 s and waits
/// 64 s more.
const ATTEMPT_NS: u64 = 135 * SECOND;
/// At least this long between two looks through the table.
const SWEEP_NS: u64 = 10 * SECOND;
/// Entries that are freed, or looked at, before the daemon turns to what has come meanwhile: some
/// tenths of a millisecond. All that a busy second asks for at once would hold closes back for ten.
const PORTION: usize = 4 * REAP_BATCH;

/// The reaper's lists.
pub(super) struct Reaper {
    capacity: u64,
    reported: VecDeque<(FlowKey, u64, u64)>,
    /// How long the reported stay while there is room, in nanoseconds.
    linger: u64,
    next_sweep: u64,
    sweep: Option<Sweep>,
}

/// A look through the table that has begun.
struct Sweep {
    walk: Walk<FlowKey, Slot>,
    /// What it took so far.
    took: Duration,
}

/// What the reaper works with.
pub(super) struct Tools<'a> {
    /// The program `td_reap`.
    pub program: &'a SchedClassifier,
    /// Its list.
    pub list: &'a mut Array<MapData, Raw<Reap>>,
    /// The flow table.
    pub flows: &'a MapData,
}

impl Reaper {
    /// For a table of `capacity` entries.
    #[must_use]
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            capacity: u64::from(capacity),
            reported: VecDeque::new(),
            linger: LINGER_NS,
            next_sweep: SWEEP_NS,
            sweep: None,
        }
    }

    /// A connection was reported at `now`.
    pub(super) fn reported(&mut self, key: FlowKey, flow: &Flow, now: u64) {
        self.reported.push_back((key, flow.started_ns, now));
    }

    /// Sees to it that there is room; `in_use` is the number of entries. Called every second or so.
    /// Where room is short it is made at once; else what is to be done is done by [`Self::go_on`].
    ///
    /// # Errors
    /// Where the program cannot be run or the table not be read.
    pub(super) fn tidy(
        &mut self,
        tools: &mut Tools<'_>,
        in_use: u64,
        now: u64,
    ) -> Result<(), Error> {
        self.linger = if in_use * 2 > self.capacity { SHORT_LINGER_NS } else { LINGER_NS };
        let freed = if is_nearly_full(in_use, self.capacity) {
            self.reclaim(tools, usize::MAX, 0, now)?
        } else {
            self.reclaim(tools, PORTION, self.linger, now)?
        };
        let in_use = in_use.saturating_sub(freed);
        let unlisted = in_use.saturating_sub(self.reported.len() as u64);
        if unlisted > 0 && is_nearly_full(in_use, self.capacity) {
            self.make_room(tools, in_use, now)?;
        } else if unlisted > 0 && now >= self.next_sweep && self.sweep.is_none() {
            self.sweep = Some(Sweep { walk: Walk::new(PORTION), took: Duration::ZERO });
            self.sweep_on(tools, now)?;
        }
        Ok(())
    }

    /// Whether [`Self::go_on`] has something to do.
    pub(super) fn is_busy(&self, now: u64) -> bool {
        self.sweep.is_some() || self.is_list_due(now)
    }

    /// Does a portion of what there is to do. Called in every round; less than a list is left to
    /// the next second, as each run of the program has a cost of its own.
    ///
    /// # Errors
    /// Where the program cannot be run or the table not be read.
    pub(super) fn go_on(&mut self, tools: &mut Tools<'_>, now: u64) -> Result<(), Error> {
        if self.is_list_due(now) {
            self.reclaim(tools, PORTION, self.linger(), now).map(drop)
        } else {
            self.sweep_on(tools, now)
        }
    }

    /// How long the reported stay. Not at all while they alone nearly fill the table: there may be
    /// more of them in a second than it has entries.
    fn linger(&self) -> u64 {
        let is_crowded = is_nearly_full(self.reported.len() as u64, self.capacity);
        if is_crowded { 0 } else { self.linger }
    }

    /// Whether the time of a whole list of reported connections is over, or there is none to lose.
    fn is_list_due(&self, now: u64) -> bool {
        let linger = self.linger();
        let last = self.reported.get(REAP_BATCH - 1);
        linger == 0 || last.is_some_and(|(_, _, at)| now.saturating_sub(*at) >= linger)
    }

    /// Frees the entries of connections that were reported `linger` nanoseconds ago, or longer, at
    /// most so many; returns how many it freed.
    fn reclaim(
        &mut self,
        tools: &mut Tools<'_>,
        most: usize,
        linger: u64,
        now: u64,
    ) -> Result<u64, Error> {
        let mut batch = Batch::default();
        for _ in 0..most {
            let is_over = |(_, _, at): &mut (FlowKey, u64, u64)| now.saturating_sub(*at) >= linger;
            let Some((key, started_ns, _)) = self.reported.pop_front_if(is_over) else { break };
            batch.push(tools, ReapEntry { key, verb: REAP_RECLAIM, started_ns })?;
        }
        batch.flush(tools)?;
        Ok(batch.freed)
    }

    /// Goes on with the look through the table, if there is one: gives up the dead.
    fn sweep_on(&mut self, tools: &mut Tools<'_>, now: u64) -> Result<(), Error> {
        // One that fails is begun anew in a second.
        let Some(mut sweep) = self.sweep.take() else { return Ok(()) };
        let began = Instant::now();
        let mut entries = Vec::with_capacity(PORTION);
        let more = sweep.walk.go_on(tools.flows, &mut entries)?;
        let mut dead = Batch::default();
        for (key, slot) in entries {
            if let Some(verb) = verb(&slot, now, false) {
                dead.push(tools, ReapEntry { key, verb, started_ns: slot.flow.started_ns })?;
            }
        }
        dead.flush(tools)?;
        sweep.took += began.elapsed();
        if more {
            self.sweep = Some(sweep);
        } else {
            self.swept(sweep.took, now);
        }
        Ok(())
    }

    /// Looks at every entry at once: gives up the dead ones, and if that makes no room those of the
    /// least worth, the longest silent among them.
    fn make_room(&mut self, tools: &mut Tools<'_>, in_use: u64, now: u64) -> Result<(), Error> {
        let began = Instant::now();
        let mut live = Vec::new();
        let mut dead = Batch::default();
        for (key, slot) in batch::entries::<FlowKey, Slot>(tools.flows, self.capacity)? {
            let started_ns = slot.flow.started_ns;
            match verb(&slot, now, true) {
                Some(verb) => dead.push(tools, ReapEntry { key, verb, started_ns })?,
                None => {
                    let entry = ReapEntry { key, verb: REAP_EVICT, started_ns };
                    live.push((worth(&slot), slot.flow.last_ns, entry));
                }
            }
        }
        dead.flush(tools)?;
        if is_nearly_full(in_use.saturating_sub(dead.freed), self.capacity) {
            // An eighth of the table.
            live.sort_unstable_by_key(|(worth, last, _)| (*worth, *last));
            let mut oldest = Batch::default();
            for (_, _, entry) in live.into_iter().take((self.capacity / 8) as usize) {
                oldest.push(tools, entry)?;
            }
            oldest.flush(tools)?;
        }
        self.swept(began.elapsed(), now);
        Ok(())
    }

    /// A look through the table is over: the next one makes it at most a thousandth of one
    /// processor.
    fn swept(&mut self, took: Duration, now: u64) {
        self.sweep = None;
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.next_sweep = now + SWEEP_NS.max(took.saturating_mul(1000));
    }
}

/// What a look through the table asks for an entry, if it is not to stay; `pressed`: room is short.
fn verb(slot: &Slot, now: u64, pressed: bool) -> Option<u32> {
    if slot.reported != 0 {
        // Not on the list if its record was lost, the ring being full.
        let is_old = now.saturating_sub(slot.flow.last_ns) > 2 * LINGER_NS;
        (pressed || is_old).then_some(REAP_RECLAIM)
    } else {
        is_dead(&slot.flow, now).then_some(REAP_EXPIRE)
    }
}

/// What would be lost with an entry: with a connection of a socket on this host, or that the proxy has
/// said something of, also what rules go by; nothing yet with an attempt, as a flood of SYNs makes.
fn worth(slot: &Slot) -> u8 {
    if slot.acts.class != 0 || slot.flow.ends.iter().any(|end| end.has(TRACKED)) {
        2
    } else {
        u8::from(!is_attempt(&slot.flow))
    }
}

/// A SYN, and nothing from the other end.
fn is_attempt(flow: &Flow) -> bool {
    flow.has(STARTED) && !flow.ends.iter().all(|end| end.has(SEEN))
}

/// Whether the next second may bring more than there is room for.
const fn is_nearly_full(in_use: u64, capacity: u64) -> bool {
    in_use * 8 > capacity * 7
}

/// Whether nothing more can be expected of a flow that was not reported.
fn is_dead(flow: &Flow, now: u64) -> bool {
    let silent = now.saturating_sub(flow.last_ns);
    flow::stale(flow, now) || (is_attempt(flow) && silent > ATTEMPT_NS)
}

/// Entries on their way to the program.
#[derive(Default)]
struct Batch {
    entries: Vec<ReapEntry>,
    /// Entries of the table that it freed so far.
    freed: u64,
}

impl Batch {
    fn push(&mut self, tools: &mut Tools<'_>, entry: ReapEntry) -> Result<(), Error> {
        self.entries.push(entry);
        if self.entries.len() == REAP_BATCH { self.flush(tools) } else { Ok(()) }
    }

    fn flush(&mut self, tools: &mut Tools<'_>) -> Result<(), Error> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut list = Raw(Reap::zeroed());
        list.0.entries[..self.entries.len()].copy_from_slice(&self.entries);
        self.entries.clear();
        tools.list.set(0, list, 0).map_err(Error::map("REAP"))?;
        // The kernel wants a frame to run a classifier on, if only an Ethernet header.
        let options = TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::new() };
        let ran = tools.program.test_run(options).map_err(Error::program("running td_reap"))?;
        self.freed += u64::from(ran.return_value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_goes_before_a_connection_and_that_before_a_sockets_own() {
        let mut attempt = Slot::zeroed();
        attempt.flow.marks |= STARTED;
        attempt.flow.ends[0].bits |= SEEN;
        let mut answered = attempt;
        answered.flow.ends[1].bits |= SEEN;
        let mut tracked = attempt;
        tracked.flow.ends[0].bits |= TRACKED;
        let mut stated = answered;
        stated.acts.class = proxy_common::abi::CLASS_TRAFFIC;
        assert_eq!([attempt, answered, tracked, stated].map(|slot| worth(&slot)), [0, 1, 2, 2]);
    }
}
