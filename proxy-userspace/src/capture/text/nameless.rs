//! Lines whose addresses were removed: which connection they belong to, and who sent them.
//!
//! A SYN begins a connection, and who sends it is its client. After that a line belongs to the
//! connection and the direction that it continues: by its timestamps, which differ from
//! connection to connection (RFC 7323, 5.4), or else by its sequence numbers. Where it may
//! continue several connections alike, nothing is guessed: it is left out, and the connections
//! that it may belong to are reported as doubtful.

use super::super::Sink;
use super::names::Name;
use super::numbers::Conversation;
use super::printed::Line;
use proxy_common::key::{FlowKey, Side};
use proxy_common::segment::{ACK, FIN, RST, SYN, Segment};

/// Connections that a line may belong to; older ones are taken for over.
const OPEN: usize = 64;
/// How far a number may be from the expected one: a window, with lines missing.
const WINDOW: u64 = 1 << 20;
/// How far a timestamp's clock may have run on beyond a tick each millisecond.
const TICKS: u32 = 10_000;

/// The client, in a [`Conversation`] whose ends have no addresses.
const CLIENT: Side = Side::LOW;
const SERVER: Side = Side::HIGH;

/// A connection without addresses.
#[derive(Debug)]
struct Connection {
    key: FlowKey,
    /// The side of `key` that the client is.
    client: Side,
    numbers: Conversation,
    /// TSval, window and time of each side's last segment.
    last: [Last; 2],
    /// The server has accepted, and the client has not spoken since.
    accepted: bool,
    fins: u8,
    over: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    timestamp: Option<u32>,
    window: Option<u16>,
    time_ns: u64,
}

/// How well a line continues a connection in a direction; the better is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// The connection is not over.
    open: bool,
    /// Both timestamps continue those before.
    by_clock: bool,
    /// Its numbers are the very next ones.
    exact: bool,
}

/// The connections of a text without addresses.
#[derive(Debug, Default)]
pub(super) struct Nameless {
    connections: Vec<Connection>,
    begun: u32,
    lines: u64,
    by_window: u64,
    ambiguous: u64,
    first_ambiguous: u64,
    doubtful: u64,
}

impl Nameless {
    /// The connection and segment of a line; `None` where several may have sent it.
    pub(super) fn segment(
        &mut self,
        line: &Line<'_>,
        number: u64,
        time_ns: u64,
        sink: &mut impl Sink,
    ) -> Option<(FlowKey, Segment)> {
        self.lines += 1;
        let (index, sender) = if line.flags & (SYN | ACK) == SYN {
            (self.opened_by(line).unwrap_or_else(|| self.begin(sink)), CLIENT)
        } else if line.flags & (SYN | ACK | RST) == SYN | ACK {
            (self.accepted_by(line).unwrap_or_else(|| self.begin(sink)), SERVER)
        } else {
            match self.continued_by(line, time_ns) {
                Found::One(index, sender) => (index, sender),
                Found::None => (self.begin(sink), CLIENT),
                Found::Several(candidates) => {
                    self.give_up(&candidates, number, sink);
                    return None;
                }
            }
        };
        let connection = &mut self.connections[index];
        let mut segment = connection.numbers.take(sender, line);
        connection.note(sender, line, time_ns);
        segment.sender =
            if sender == CLIENT { connection.client } else { connection.client.other() };
        Some((connection.key, segment))
    }

    /// What is to be said of the reading.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.lines == 0 {
            return notes;
        }
        notes.push(format!(
            "the addresses were removed from {} lines: {} connection(s) were rebuilt from \
             handshakes, numbers and timestamps; the client is who sent the SYN",
            self.lines, self.begun
        ));
        if self.by_window > 0 {
            notes.push(format!(
                "the direction of {} line(s) is told by their windows alone",
                self.by_window
            ));
        }
        if self.ambiguous > 0 {
            notes.push(format!(
                "{} line(s), the first is line {}, may belong to more than one connection: they \
                 are left out, and {} connection(s) are not judged",
                self.ambiguous, self.first_ambiguous, self.doubtful
            ));
        }
        notes
    }

    /// The connection whose SYN this line repeats.
    fn opened_by(&self, line: &Line<'_>) -> Option<usize> {
        let isn = line.seq?;
        self.connections.iter().position(|connection| {
            connection.numbers.known == [true, false]
                && connection.numbers.next[0] == isn.wrapping_add(1)
        })
    }

    /// The connection whose SYN this line answers.
    fn accepted_by(&self, line: &Line<'_>) -> Option<usize> {
        let answers = |connection: &Connection| {
            connection.numbers.known[0] && line.ack == Some(connection.numbers.next[0])
        };
        self.connections.iter().rposition(answers).or_else(|| {
            // Its number may have been cut off: then by the only one that waits.
            let waits = |connection: &Connection| connection.numbers.known == [true, false];
            let mut waiting = (0..self.connections.len()).filter(|&i| waits(&self.connections[i]));
            waiting.next().filter(|_| waiting.next().is_none())
        })
    }

    /// The connection and direction that a line continues best.
    fn continued_by(&mut self, line: &Line<'_>, time_ns: u64) -> Found {
        let mut best: Option<Fit> = None;
        let mut candidates = Vec::new();
        for (index, connection) in self.connections.iter().enumerate() {
            for sender in [CLIENT, SERVER] {
                let Some(fit) = connection.fit(sender, line, time_ns) else { continue };
                if best.is_none_or(|best| fit > best) {
                    best = Some(fit);
                    candidates.clear();
                }
                if best == Some(fit) {
                    candidates.push((index, sender));
                }
            }
        }
        match candidates[..] {
            [] => Found::None,
            [(index, sender)] => Found::One(index, sender),
            [(index, _), (other, _)] if index == other => {
                let (sender, sure) = self.connections[index].direction(line);
                self.by_window += u64::from(!sure);
                Found::One(index, sender)
            }
            _ => Found::Several(candidates.into_iter().map(|(index, _)| index).collect()),
        }
    }

    /// A new connection, between ends that are given names.
    fn begin(&mut self, sink: &mut impl Sink) -> usize {
        if self.connections.len() == OPEN {
            let oldest = self.connections.iter().position(|connection| connection.over);
            self.connections.remove(oldest.unwrap_or(0));
        }
        self.begun += 1;
        let (client, server) = (sink.name(Name::Client), sink.name(Name::Server));
        let (key, side) = FlowKey::new(client, server);
        self.connections.push(Connection {
            key,
            client: side,
            numbers: Conversation::default(),
            last: [Last::default(); 2],
            accepted: false,
            fins: 0,
            over: false,
        });
        self.connections.len() - 1
    }

    /// Leaves a line out, and with it the judgement on those that it may belong to.
    fn give_up(&mut self, candidates: &[usize], number: u64, sink: &mut impl Sink) {
        if self.ambiguous == 0 {
            self.first_ambiguous = number;
        }
        self.ambiguous += 1;
        let mut last = None;
        for &index in candidates {
            if last.replace(index) != Some(index) {
                self.doubtful += u64::from(sink.doubt(&self.connections[index].key));
            }
        }
    }
}

/// Whose line it is.
enum Found {
    None,
    One(usize, Side),
    Several(Vec<usize>),
}

impl Connection {
    /// How well the line continues this connection, sent by `sender`; `None` if it does not.
    fn fit(&self, sender: Side, line: &Line<'_>, time_ns: u64) -> Option<Fit> {
        let by_clock = self.clock_fits(sender, line, time_ns)?;
        let (seq, ack, distance) = self.numbers.best(sender, line);
        let (ours, theirs) = (sender.index(), sender.other().index());
        if !self.numbers.known[ours] && !self.numbers.known[theirs] {
            return None;
        }
        if distance > WINDOW * 2 {
            return None;
        }
        let exact = seq
            .is_none_or(|seq| self.numbers.known[ours] && seq == self.numbers.next[ours])
            && (line.ack.is_none()
                || self.numbers.known[theirs] && ack == self.numbers.next[theirs]);
        Some(Fit { open: !self.over, by_clock, exact })
    }

    /// Whether the line's timestamps continue this connection's: `None` where they cannot,
    /// `Some(false)` where nothing can be told.
    fn clock_fits(&self, sender: Side, line: &Line<'_>, time_ns: u64) -> Option<bool> {
        let Some((value, echo)) = line.timestamps else { return Some(false) };
        let (ours, theirs) = (&self.last[sender.index()], &self.last[sender.other().index()]);
        let mut told = false;
        if let Some(last) = ours.timestamp {
            let elapsed_ms = time_ns.saturating_sub(ours.time_ns) / 1_000_000;
            let ticks = u32::try_from(elapsed_ms * 2).unwrap_or(u32::MAX / 4).min(u32::MAX / 4);
            let step = value.wrapping_sub(last).wrapping_add(TICKS);
            if step > ticks + 2 * TICKS {
                return None;
            }
            told = true;
        }
        // A RST may echo nothing.
        if let (Some(last), true) = (theirs.timestamp, echo != 0) {
            let behind = last.wrapping_sub(echo);
            if behind > u32::MAX / 2 || behind > 1 << 24 {
                return None;
            }
            told = true;
        }
        Some(told)
    }

    /// Who sent a line that fits both directions alike, and whether that is sure.
    fn direction(&self, line: &Line<'_>) -> (Side, bool) {
        if self.accepted && line.flags & (FIN | RST) == 0 && line.length == Some(0) {
            // The handshake's third segment.
            return (CLIENT, true);
        }
        let same = |side: Side| self.last[side.index()].window == Some(line.window);
        match (same(CLIENT), same(SERVER)) {
            (false, true) => (SERVER, false),
            // Who connects is who asks.
            _ => (CLIENT, false),
        }
    }

    /// Remembers what the next lines are compared with.
    fn note(&mut self, sender: Side, line: &Line<'_>, time_ns: u64) {
        let last = &mut self.last[sender.index()];
        if let Some((value, _)) = line.timestamps {
            last.timestamp = Some(value);
        }
        // A SYN's window is not scaled, the others are.
        last.window = Some(line.window);
        last.time_ns = time_ns;
        self.accepted = sender == SERVER && line.flags & SYN != 0;
        if line.flags & FIN != 0 {
            self.fins |= 1 << sender.index();
        }
        self.over |= line.flags & RST != 0 || (self.fins == 3 && line.flags & FIN == 0);
    }
}
