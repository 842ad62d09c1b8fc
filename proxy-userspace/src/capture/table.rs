//! The connections of a capture: each segment steps its own, and each is given out when over.

mod connection;
mod gone;
mod observer;

pub use connection::Connection;
pub use observer::{Moved, Observer};

use super::Seen;
use gone::Gone;
use proxy_common::flow::{
    CLOSED, EXPIRED, Flow, Input, Mode, Outcome, SEEN, UNFINISHED, begins_anew, expired, step,
};
use proxy_common::key::FlowKey;
use proxy_common::segment::{BAD_CHECKSUM, SYN};
use proxy_common::seq::after;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::ops::ControlFlow;

const SECOND: u64 = 1_000_000_000;
/// How often a connection is looked at, whether it is over.
const CHECK: u64 = 5 * SECOND;
/// How long a SYN is taken to be waiting for its answer; Linux gives up after about two minutes.
const ATTEMPT: u64 = 130 * SECOND;
/// How long a connection that is over stays in the table, as its ends may say more: Zeek's
/// `tcp_close_delay`.
const LINGER: u64 = 5 * SECOND;
/// Connections at most that are over and stay; of more, those that have been over for longest go.
/// Thus memory does not grow with how many close in a second.
const LINGERING: usize = 1 << 15;
/// How far times go back because packets of several interfaces or CPUs were captured out of order.
/// A clock that goes back further was set, or another capture begins. In nanoseconds.
pub const DISORDER: u64 = SECOND;
/// How often that is followed. A table of two clocks by turns would look at all it holds each time.
const RUNS: usize = 1024;
/// Connections in a piece of the table's memory.
const PIECE: usize = 256;

/// When a connection that shows no end is taken to be another from its next segment on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// Half closed and idle connections stay the same for as long as the capture lasts.
    #[default]
    Long,
    /// Zeek's timers: five minutes of silence end a connection.
    Zeek,
}

/// The table.
#[derive(Debug)]
pub struct Table<O: Observer> {
    /// Whom to tell.
    pub observer: O,
    patience: Patience,
    mode: Mode,
    index: FxHashMap<FlowKey, u32>,
    pieces: Vec<Vec<Connection<O::Kept>>>,
    free: Vec<u32>,
    /// Every connection once, in the order in which they are to be looked at.
    checks: VecDeque<(u64, u32, u32)>,
    /// Those that are over, in the order in which they closed: when, their places and numbers.
    lingering: VecDeque<(u64, u32, u64)>,
    gone: Gone<O::Kept>,
    now_ns: u64,
    /// Where the clock stood each time that it was set back.
    set_back_ns: Vec<u64>,
    begun: u64,
}

impl<O: Observer> Table<O> {
    /// An empty table.
    pub fn new(observer: O, patience: Patience) -> Self {
        Self {
            observer,
            patience,
            mode: Mode::OFFLINE,
            index: FxHashMap::default(),
            pieces: Vec::new(),
            free: Vec::new(),
            checks: VecDeque::new(),
            lingering: VecDeque::new(),
            gone: Gone::default(),
            now_ns: 0,
            set_back_ns: Vec::new(),
            begun: 0,
        }
    }

    /// From now on every segment comes, or only those with SYN, FIN or RST.
    pub fn section(&mut self, is_sparse: bool) {
        self.mode = if is_sparse { Mode::SPARSE } else { Mode::OFFLINE };
    }

    /// Connections begun so far.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Connections open or lately closed.
    #[must_use]
    pub fn open(&self) -> usize {
        self.index.len()
    }

    /// Steps the connection of a segment.
    #[inline]
    pub fn segment(&mut self, seen: &Seen<'_>) -> ControlFlow<()> {
        self.tick(seen.time_ns);
        self.check()?;
        let input = Input::Segment(&seen.segment);
        let place = match self.index.get(&seen.key) {
            Some(&place) => {
                let connection = get(&mut self.pieces, place);
                let another = begins_anew(&connection.flow, input)
                    || is_past(connection, self.patience, self.now_ns);
                if another {
                    let now_ns = run_end(&self.set_back_ns, connection, self.now_ns);
                    let flow = over(&mut self.observer, connection, self.patience, now_ns);
                    self.begun += 1;
                    connection.renew(self.begun, &seen.key);
                    flow?;
                }
                place
            }
            None if seen.segment.has(SYN) => self.begin(&seen.key),
            None => match self.gone.find(&seen.key, self.now_ns) {
                Some(held) => {
                    if let Some((connection, _)) = held.as_deref_mut() {
                        self.observer.late(connection, seen);
                    }
                    return ControlFlow::Continue(());
                }
                None => self.begin(&seen.key),
            },
        };
        let connection = get(&mut self.pieces, place);
        if connection.told {
            return ControlFlow::Continue(());
        }
        let was_over = connection.flow.has(CLOSED);
        let now_ns = connection.now_ns.max(seen.time_ns);
        (connection.now_ns, connection.run) = (now_ns, self.set_back_ns.len());
        let sender = seen.segment.sender;
        let end = connection.flow.end(sender);
        let before = end.has(SEEN).then_some(end.next);
        let outcome = step(&mut connection.flow, &seen.key, input, self.mode, now_ns);
        let next = connection.flow.end(sender).next;
        let is_further = before.is_none_or(|before| after(next, before));
        let is_wrong = seen.segment.marks & BAD_CHECKSUM != 0;
        let moved = Moved {
            counts: !outcome.has(Outcome::IGNORED) && !is_wrong,
            brings_data: seen.segment.payload > 0 && is_further,
        };
        if !was_over && connection.flow.has(CLOSED) {
            self.lingering.push_back((self.now_ns, place, connection.number));
        }
        // The observer's clock does not go back either.
        self.observer.moved(connection, &Seen { time_ns: now_ns, ..*seen }, moved);
        ControlFlow::Continue(())
    }

    /// Takes what was known of a connection when it was over, by somebody who knew more than its
    /// segments tell.
    pub fn tell(&mut self, key: &FlowKey, flow: &Flow) -> &mut Connection<O::Kept> {
        // An evicted connection may have been silent for long: that sets no clock back.
        self.now_ns = self.now_ns.max(flow.last_ns).max(flow.closed_ns);
        let place = match self.index.get(key) {
            Some(&place) => place,
            None => self.begin(key),
        };
        let connection = get(&mut self.pieces, place);
        connection.flow = *flow;
        connection.told = true;
        connection.run = self.set_back_ns.len();
        connection
    }

    /// Moves the table's clock. Where it is set back, what waits does so from then on.
    #[inline]
    fn tick(&mut self, time_ns: u64) {
        let is_set_back = self.now_ns.saturating_sub(time_ns) > DISORDER;
        if !is_set_back || self.set_back_ns.len() == RUNS {
            self.now_ns = self.now_ns.max(time_ns);
            return;
        }
        self.set_back_ns.push(self.now_ns);
        self.now_ns = time_ns;
        let checks = self.checks.iter_mut().map(|(since, ..)| since);
        for since in checks.chain(self.lingering.iter_mut().map(|(since, ..)| since)) {
            *since = time_ns.min(*since);
        }
    }

    /// For `silence_ns` nothing has come, and what comes next is later than that: gives out what is
    /// over by then. The clock itself follows what comes.
    pub fn pass(&mut self, silence_ns: u64) -> ControlFlow<()> {
        self.release_gone()?;
        let now_ns = self.now_ns;
        self.now_ns = now_ns.saturating_add(silence_ns);
        let flow = self.check();
        self.now_ns = now_ns;
        flow
    }

    /// Whatever is known of a connection that is in the table.
    pub fn find(&mut self, key: &FlowKey) -> Option<&mut Connection<O::Kept>> {
        let place = *self.index.get(key)?;
        Some(get(&mut self.pieces, place))
    }

    /// The capture is over: gives out what is left, in the order in which they began.
    pub fn finish(&mut self) -> ControlFlow<()> {
        self.release_gone()?;
        let mut left: Vec<u32> = self.index.values().copied().collect();
        left.sort_by_key(|&place| get(&mut self.pieces, place).number);
        for place in left {
            let connection = get(&mut self.pieces, place);
            let now_ns = run_end(&self.set_back_ns, connection, self.now_ns);
            let is_past = is_past(connection, self.patience, now_ns);
            if !connection.told && !connection.flow.has(CLOSED) && !is_past {
                connection.flow.marks |= UNFINISHED;
            }
            over(&mut self.observer, connection, self.patience, now_ns)?;
        }
        self.index.clear();
        self.pieces.clear();
        self.free.clear();
        self.checks.clear();
        self.lingering.clear();
        ControlFlow::Continue(())
    }

    /// Makes a place for a new connection.
    fn begin(&mut self, key: &FlowKey) -> u32 {
        self.begun += 1;
        let place = match self.free.pop() {
            Some(place) => {
                get(&mut self.pieces, place).renew(self.begun, key);
                place
            }
            None => {
                if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
                    self.pieces.push(Vec::with_capacity(PIECE));
                }
                let place = (self.pieces.len() - 1) * PIECE;
                let piece = self.pieces.last_mut().expect("a piece was just pushed");
                piece.push(Connection::new(self.begun, key));
                (place + piece.len() - 1) as u32
            }
        };
        self.index.insert(*key, place);
        let generation = get(&mut self.pieces, place).generation;
        self.checks.push_back((self.now_ns, place, generation));
        place
    }

    /// Gives out connections that nothing more will come of.
    #[inline]
    fn check(&mut self) -> ControlFlow<()> {
        while let Some(&(since, ..)) = self.lingering.front()
            && (self.now_ns.saturating_sub(since) > LINGER || self.lingering.len() > LINGERING)
        {
            self.release_first()?;
        }
        while let Some(&(since, ..)) = self.checks.front()
            && self.now_ns.saturating_sub(since) > CHECK
        {
            self.check_first()?;
        }
        ControlFlow::Continue(())
    }

    fn release_first(&mut self) -> ControlFlow<()> {
        let crowded = self.lingering.len() > LINGERING;
        let Some((_, place, number)) = self.lingering.pop_front() else {
            return ControlFlow::Continue(());
        };
        let connection = get(&mut self.pieces, place);
        let same = connection.number == number && !connection.told;
        if same && (crowded || is_past(connection, self.patience, self.now_ns)) {
            return self.release(place);
        }
        // What closed again since is in the queue again, or is found by the checks.
        ControlFlow::Continue(())
    }

    fn check_first(&mut self) -> ControlFlow<()> {
        let Some((_, place, generation)) = self.checks.pop_front() else {
            return ControlFlow::Continue(());
        };
        let connection = get(&mut self.pieces, place);
        if connection.generation != generation {
            return ControlFlow::Continue(());
        }
        if !is_past(connection, self.patience, self.now_ns) {
            self.checks.push_back((self.now_ns, place, generation));
            return ControlFlow::Continue(());
        }
        self.release(place)
    }

    /// Gives out those that waited for what comes late.
    fn release_gone(&mut self) -> ControlFlow<()> {
        let mut held: Vec<_> = self.gone.release().collect();
        held.sort_by_key(|held| held.0.number);
        held.iter().try_for_each(|held| self.observer.over(&held.0, held.1))
    }

    /// Gives a connection out, and its place to another.
    fn release(&mut self, place: u32) -> ControlFlow<()> {
        let connection = get(&mut self.pieces, place);
        self.index.remove(&connection.key);
        let now_ns = run_end(&self.set_back_ns, connection, self.now_ns);
        let mut flow = ControlFlow::Continue(());
        let is_gone = self.patience == Patience::Long && connection.flow.has(CLOSED);
        let is_held = is_gone && self.observer.waits(&connection.kept);
        if !is_held {
            flow = over(&mut self.observer, connection, self.patience, now_ns);
        }
        let kept = std::mem::take(&mut connection.kept);
        if is_gone {
            let held = is_held.then(|| Box::new((connection.with(kept), now_ns)));
            let released = self.gone.add(&connection.key, self.now_ns, held);
            for former in released.into_iter().flatten() {
                if flow.is_continue() {
                    flow = self.observer.over(&former.0, former.1);
                }
            }
        }
        connection.generation = connection.generation.wrapping_add(1);
        // No entry of the place's former connection is taken for it.
        connection.number = 0;
        self.free.push(place);
        if self.checks.len() > 4 * self.index.len().max(PIECE) {
            let pieces = &mut self.pieces;
            self.checks
                .retain(|&(_, place, generation)| get(pieces, place).generation == generation);
        }
        flow
    }
}

fn get<T>(pieces: &mut [Vec<Connection<T>>], place: u32) -> &mut Connection<T> {
    &mut pieces[place as usize / PIECE][place as usize % PIECE]
}

/// Tells the observer that a connection is over, or the capture is. What is given up for its silence
/// is so at the end of that, whatever comes later.
fn over<O: Observer>(
    observer: &mut O,
    connection: &mut Connection<O::Kept>,
    patience: Patience,
    mut now_ns: u64,
) -> ControlFlow<()> {
    let is_past = is_past(connection, patience, now_ns);
    let flow = &mut connection.flow;
    if is_past && !connection.told && !flow.has(CLOSED) {
        flow.marks |= EXPIRED;
        let is_answered = flow.end(flow.orig.other()).segments > 0;
        if !is_answered {
            now_ns = now_ns.min(flow.last_ns + ATTEMPT);
        }
    }
    observer.over(connection, now_ns)
}

/// How far the run of the clock went in which a connection was last seen; `now_ns` is where the
/// clock stands.
fn run_end<T>(set_back_ns: &[u64], connection: &Connection<T>, now_ns: u64) -> u64 {
    set_back_ns.get(connection.run).copied().unwrap_or(now_ns)
}

/// Whether a segment that comes now belongs to another connection.
fn is_past<T>(connection: &Connection<T>, patience: Patience, now_ns: u64) -> bool {
    let flow = &connection.flow;
    if connection.told {
        return now_ns.saturating_sub(flow.last_ns.max(flow.closed_ns)) > CHECK;
    }
    match patience {
        Patience::Zeek => expired(flow, now_ns),
        Patience::Long => {
            let answered = flow.end(flow.orig.other()).segments > 0;
            let silence = now_ns.saturating_sub(flow.last_ns);
            // Without an answer there is nothing that could still be open.
            flow.has(CLOSED) && expired(flow, now_ns) || !answered && silence > ATTEMPT
        }
    }
}

#[cfg(test)]
mod tests;
