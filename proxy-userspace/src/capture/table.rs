//! The connections of a capture: each segment steps its own, and each is given out when over.

use super::Seen;
use proxy_common::flow::{CLOSED, Flow, Input, Mode, UNFINISHED, begins_anew, expired, step};
use proxy_common::key::FlowKey;
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

/// A connection, as far as it was seen.
#[derive(Clone, Debug)]
pub struct Connection<T> {
    /// In the order of their first segments, from 1.
    pub number: u64,
    /// Its ends.
    pub key: FlowKey,
    /// What is known of it.
    pub flow: Flow,
    /// What its observer keeps.
    pub kept: T,
    /// The flow was told, and moves no more.
    told: bool,
    /// How often its place in the table was used before.
    generation: u32,
}

/// Who wants to know of connections.
pub trait Observer {
    /// What is kept for each connection.
    type Kept: Default;

    /// A segment has moved a connection.
    fn moved(&mut self, connection: &mut Connection<Self::Kept>, seen: &Seen<'_>);

    /// A connection is over, or the capture is; nothing more comes of it. `now_ns` is the
    /// capture's time.
    fn over(&mut self, connection: &Connection<Self::Kept>, now_ns: u64) -> ControlFlow<()>;
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
    now_ns: u64,
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
            now_ns: 0,
            begun: 0,
        }
    }

    /// From now on only segments with SYN, FIN or RST come.
    pub fn sparse(&mut self) {
        self.mode = Mode::SPARSE;
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
        // Clocks of several interfaces may go back by a little; the machine's never does.
        self.now_ns = self.now_ns.max(seen.time_ns);
        self.check()?;
        let input = Input::Segment(&seen.segment);
        let place = match self.index.get(&seen.key) {
            Some(&place) => {
                let connection = get(&mut self.pieces, place);
                let another = begins_anew(&connection.flow, input)
                    || is_past(connection, self.patience, self.now_ns);
                if another {
                    let flow = self.observer.over(connection, self.now_ns);
                    let kept = O::Kept::default();
                    self.begun += 1;
                    connection.number = self.begun;
                    connection.flow = Flow::new();
                    connection.kept = kept;
                    connection.told = false;
                    flow?;
                }
                place
            }
            None => self.begin(&seen.key),
        };
        let connection = get(&mut self.pieces, place);
        if connection.told {
            return ControlFlow::Continue(());
        }
        let was_over = connection.flow.has(CLOSED);
        step(&mut connection.flow, &seen.key, input, self.mode, self.now_ns);
        if !was_over && connection.flow.has(CLOSED) {
            self.lingering.push_back((self.now_ns, place, connection.number));
        }
        // The observer's clock does not go back either.
        self.observer.moved(connection, &Seen { time_ns: self.now_ns, ..*seen });
        ControlFlow::Continue(())
    }

    /// Takes what was known of a connection when it was over, by somebody who knew more than its
    /// segments tell.
    pub fn tell(&mut self, key: &FlowKey, flow: &Flow) -> &mut Connection<O::Kept> {
        self.now_ns = self.now_ns.max(flow.last_ns).max(flow.closed_ns);
        let place = match self.index.get(key) {
            Some(&place) => place,
            None => self.begin(key),
        };
        let connection = get(&mut self.pieces, place);
        connection.flow = *flow;
        connection.told = true;
        connection
    }

    /// Whatever is known of a connection that is in the table.
    pub fn find(&mut self, key: &FlowKey) -> Option<&mut Connection<O::Kept>> {
        let place = *self.index.get(key)?;
        Some(get(&mut self.pieces, place))
    }

    /// The capture is over: gives out what is left, in the order in which they began.
    pub fn finish(&mut self) -> ControlFlow<()> {
        let mut left: Vec<u32> = self.index.values().copied().collect();
        left.sort_by_key(|&place| get(&mut self.pieces, place).number);
        for place in left {
            let connection = get(&mut self.pieces, place);
            if !connection.told && !connection.flow.has(CLOSED) {
                connection.flow.marks |= UNFINISHED;
            }
            self.observer.over(connection, self.now_ns)?;
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
        let (number, flow) = (self.begun, Flow::new());
        let place = match self.free.pop() {
            Some(place) => {
                let connection = get(&mut self.pieces, place);
                connection.number = number;
                connection.key = *key;
                connection.flow = flow;
                connection.told = false;
                place
            }
            None => {
                if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
                    self.pieces.push(Vec::with_capacity(PIECE));
                }
                let place = (self.pieces.len() - 1) * PIECE;
                let piece = self.pieces.last_mut().expect("a piece was just pushed");
                let kept = O::Kept::default();
                piece.push(Connection {
                    number,
                    key: *key,
                    flow,
                    kept,
                    told: false,
                    generation: 0,
                });
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
            && (self.now_ns - since > LINGER || self.lingering.len() > LINGERING)
        {
            self.release_first()?;
        }
        while let Some(&(since, ..)) = self.checks.front()
            && self.now_ns - since > CHECK
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

    /// Gives a connection out, and its place to another.
    fn release(&mut self, place: u32) -> ControlFlow<()> {
        let connection = get(&mut self.pieces, place);
        self.index.remove(&connection.key);
        let flow = self.observer.over(connection, self.now_ns);
        connection.kept = O::Kept::default();
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
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use proxy_common::key::Endpoint;
    use proxy_common::segment::{ACK, RST, SYN, Segment};

    #[derive(Default)]
    struct Count(u64);

    impl Observer for Count {
        type Kept = ();

        fn moved(&mut self, _: &mut Connection<()>, _: &Seen<'_>) {}

        fn over(&mut self, connection: &Connection<()>, _: u64) -> ControlFlow<()> {
            assert!(connection.flow.has(CLOSED));
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }

    fn see(table: &mut Table<Count>, number: u32, flags: u8, seq: u32, ack: u32, time_ns: u64) {
        let [_, a, b, c] = number.to_be_bytes();
        let (client, server) = (Endpoint::v4([10, a, b, c], 1), Endpoint::v4([192, 0, 2, 1], 80));
        let (key, sender) = match flags & SYN != 0 && ack == 0 || flags & RST != 0 {
            true => FlowKey::new(client, server),
            false => FlowKey::new(server, client),
        };
        let segment = Segment { seq, ack, flags, sender, window: 500, ..Segment::zeroed() };
        let seen =
            Seen { number: 1, time_ns, key, segment, ip_len: 40, payload: &[], comment: None };
        assert!(table.segment(&seen).is_continue());
    }

    /// Opened, answered, and reset.
    fn play(table: &mut Table<Count>, number: u32, time_ns: u64) {
        see(table, number, SYN, 100, 0, time_ns);
        see(table, number, SYN | ACK, 900, 101, time_ns);
        see(table, number, RST | ACK, 101, 901, time_ns);
    }

    #[test]
    fn closed_connections_stay_for_a_while_but_not_too_many() {
        let mut table = Table::new(Count::default(), Patience::Long);
        for number in 0..10 {
            play(&mut table, number, SECOND);
        }
        assert_eq!((table.open(), table.observer.0), (10, 0));
        play(&mut table, 10, SECOND + LINGER + 1);
        assert_eq!((table.open(), table.observer.0), (1, 10));
        let many = 3 * LINGERING as u32;
        for number in 100..100 + many {
            play(&mut table, number, 10 * SECOND);
        }
        assert!(table.open() <= LINGERING + 1, "{}", table.open());
        assert!(table.pieces.len() <= LINGERING / PIECE + 2);
        assert!(table.checks.len() <= 4 * table.open() + 1);
        assert!(table.finish().is_continue());
        assert_eq!(table.observer.0, u64::from(many) + 11);
    }
}
