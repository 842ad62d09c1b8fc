//! Sequence numbers as tcpdump prints them, made absolute again.
//!
//! Without `-S`, tcpdump prints the first segment of a conversation that has the ACK flag with
//! absolute numbers, and the others relative to it; segments without ACK are always absolute. A
//! text may begin in the middle, so that the first line is relative already. Which of the two a
//! conversation's numbers are is told by how well they continue what came before.

use super::printed::Line;
use proxy_common::key::{FlowKey, Side};
use proxy_common::segment::{ACK, FIN, HAS_TIMESTAMP, PAYLOAD_UNKNOWN, SYN, Segment};
use proxy_common::seq;
use rustc_hash::FxHashMap;

/// Conversations held in each of two generations: idle ones are forgotten first.
const GENERATION: usize = 1 << 16;
/// A number further off than this continues nothing.
const FAR: u32 = 1 << 26;

/// What is known of the numbers of one conversation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conversation {
    /// What relative numbers count from, by side.
    base: [u32; 2],
    /// The next number expected from each side, absolute.
    pub(super) next: [u32; 2],
    /// Whether `next` is known.
    pub(super) known: [bool; 2],
    /// A handshake was seen, so that `base` is sure.
    handshake: bool,
    stage: Stage,
    /// The connection before on these ports: until the next SYN+ACK tcpdump counts from its numbers.
    older: Option<Older>,
}

#[derive(Clone, Copy, Debug)]
struct Older {
    base: [u32; 2],
    next: [u32; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No segment with ACK yet.
    #[default]
    Open,
    /// One, whose numbers the others may be relative to.
    First,
    Absolute,
    Relative,
}

impl Conversation {
    /// Whether numbers may be relative, absolute, or either.
    fn readings(&self) -> &'static [bool] {
        match self.stage {
            Stage::Open | Stage::Absolute => &[false],
            Stage::Relative => &[true],
            // Where both are as good, the text is taken as it stands.
            Stage::First => &[false, true],
        }
    }

    /// The line's sequence and acknowledgment numbers, absolute, if its numbers are `relative`.
    fn absolute(&self, sender: Side, line: &Line<'_>, relative: bool) -> (Option<u32>, u32) {
        // tcpdump counts only segments with ACK, and prints a handshake's as they are.
        let relative = relative && line.flags & ACK != 0 && line.flags & SYN == 0;
        let base = |side: Side| if relative { self.base[side.index()] } else { 0 };
        let seq = line.seq.map(|seq| seq.wrapping_add(base(sender)));
        (seq, line.ack.unwrap_or(0).wrapping_add(base(sender.other())))
    }

    /// How far the numbers are from those expected; 0 where nothing is known of them.
    fn distance(&self, sender: Side, seq: Option<u32>, ack: Option<u32>) -> u64 {
        let off = |side: Side, number: Option<u32>| match number {
            Some(number) if self.known[side.index()] => {
                u64::from(number.wrapping_sub(self.next[side.index()]).cast_signed().unsigned_abs())
            }
            _ => 0,
        };
        off(sender, seq) + off(sender.other(), ack)
    }

    /// The numbers of the line in the reading that continues best, and how far off they are.
    pub(super) fn best(&self, sender: Side, line: &Line<'_>) -> (Option<u32>, u32, u64) {
        let mut best = (None, 0, u64::MAX);
        for &relative in self.readings() {
            let (seq, ack) = self.absolute(sender, line, relative);
            let distance = self.distance(sender, seq, line.ack.map(|_| ack));
            if distance < best.2 {
                best = (seq, ack, distance);
            }
        }
        best
    }

    /// Takes the line as sent by `sender`, and gives the segment.
    pub(super) fn take(&mut self, sender: Side, line: &Line<'_>) -> Segment {
        // A SYN that was answered already was captured out of order, or is repeated.
        let is_answered = self.handshake && line.seq == Some(self.base[sender.index()]);
        if line.flags & (SYN | ACK) == SYN && !is_answered {
            self.begin(sender, line);
        }
        let has_ack = line.flags & ACK != 0;
        if let Some(older) = self.older.filter(|_| has_ack && line.flags & SYN == 0) {
            // A challenge ACK: it tells nothing of the new connection's numbers.
            let (ours, theirs) = (sender.index(), sender.other().index());
            let seq = line.seq.map_or(older.next[ours], |seq| seq.wrapping_add(older.base[ours]));
            let ack = line.ack.unwrap_or(0).wrapping_add(older.base[theirs]);
            return segment(line, sender, seq, ack);
        }
        let (seq, ack, distance) = self.best(sender, line);
        if has_ack && self.stage == Stage::First && line.flags & SYN == 0 {
            let (absolute, printed) = self.absolute(sender, line, false);
            let as_printed = self.distance(sender, absolute, line.ack.map(|_| printed));
            self.stage = if as_printed == distance { Stage::Absolute } else { Stage::Relative };
        }
        let expected = self.next[sender.index()];
        let mut seq = seq.unwrap_or(expected);
        if !has_ack && !self.handshake && distance > u64::from(FAR) {
            // An absolute number among relative ones whose origin the text does not hold.
            seq = expected;
        }
        let segment = segment(line, sender, seq, ack);
        self.advance(sender, &segment);
        if has_ack && (self.stage == Stage::Open || line.flags & SYN != 0) {
            self.stage = Stage::First;
            self.base[sender.index()] = seq;
            self.base[sender.other().index()] = ack.wrapping_sub(1);
            self.handshake |= line.flags & SYN != 0;
            self.older = None;
        }
        segment
    }

    /// A SYN begins anew.
    fn begin(&mut self, sender: Side, line: &Line<'_>) {
        let is_relative = self.stage == Stage::Relative;
        let older =
            is_relative.then_some(Older { base: self.base, next: self.next }).or(self.older);
        *self = Self { handshake: true, older, ..Self::default() };
        self.base[sender.index()] = line.seq.unwrap_or(0);
    }

    /// Moves what is expected behind a segment.
    fn advance(&mut self, sender: Side, segment: &Segment) {
        let (ours, theirs) = (sender.index(), sender.other().index());
        let end = segment.end();
        if !self.known[ours] || segment.has(SYN) || seq::after(end, self.next[ours]) {
            self.next[ours] = end;
            self.known[ours] = true;
        }
        if segment.has(ACK) && !self.known[theirs] {
            self.next[theirs] = segment.ack;
            self.known[theirs] = true;
        }
    }
}

/// The segment of a line, with its numbers absolute.
fn segment(line: &Line<'_>, sender: Side, seq: u32, ack: u32) -> Segment {
    let span = line.seq.zip(line.seq_end).map(|(start, end)| end.wrapping_sub(start));
    let fin = u32::from(line.flags & FIN != 0);
    let (payload, mut marks) = match (line.length, span) {
        (Some(length), _) => (length, 0),
        (None, Some(span)) => (span.saturating_sub(fin), PAYLOAD_UNKNOWN),
        (None, None) => (0, PAYLOAD_UNKNOWN),
    };
    let (timestamp, timestamp_echo) = line.timestamps.unwrap_or_default();
    if line.timestamps.is_some() {
        marks |= HAS_TIMESTAMP;
    }
    Segment {
        seq,
        ack: if line.flags & ACK != 0 { ack } else { 0 },
        payload,
        timestamp,
        timestamp_echo,
        vantage: 0,
        window: line.window,
        flags: line.flags,
        window_scale: line.window_scale,
        sender,
        marks,
        reserved: 0,
    }
}

/// The conversations of a text with addresses.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    young: FxHashMap<FlowKey, Conversation>,
    old: FxHashMap<FlowKey, Conversation>,
}

impl Numbers {
    /// The segment of a line between the ends of `key`.
    pub(super) fn segment(&mut self, key: &FlowKey, sender: Side, line: &Line<'_>) -> Segment {
        if let Some(conversation) = self.young.get_mut(key) {
            return conversation.take(sender, line);
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        let known = self.old.remove(key).unwrap_or_default();
        self.young.entry(*key).or_insert(known).take(sender, line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet;
    use super::*;
    use proxy_common::key::Endpoint;

    /// The (seq, ack) of each line, the sender told by the port 80.
    fn numbers(text: &str) -> Vec<(u32, u32)> {
        let mut numbers = Numbers::default();
        let client = Endpoint::v4([192, 0, 2, 1], 4000);
        let server = Endpoint::v4([192, 0, 2, 2], 80);
        let (key, from_client) = FlowKey::new(client, server);
        text.lines()
            .map(|line| {
                let line = packet::parse(line.trim().as_bytes()).unwrap();
                let sender =
                    if line.source == Some(b"c") { from_client } else { from_client.other() };
                let segment = numbers.segment(&key, sender, &line);
                (segment.seq, segment.ack)
            })
            .collect()
    }

    const ABSOLUTE: &str = "c > s: Flags [S], seq 1000, win 1, length 0
        s > c: Flags [S.], seq 5000, ack 1001, win 1, length 0
        c > s: Flags [.], ack 5001, win 1, length 0
        c > s: Flags [P.], seq 1001:1078, ack 5001, win 1, length 77
        s > c: Flags [F.], seq 5001, ack 1078, win 1, length 0
        c > s: Flags [R], seq 1078, win 0, length 0";
    const RELATIVE: &str = "c > s: Flags [S], seq 1000, win 1, length 0
        s > c: Flags [S.], seq 5000, ack 1001, win 1, length 0
        c > s: Flags [.], ack 1, win 1, length 0
        c > s: Flags [P.], seq 1:78, ack 1, win 1, length 77
        s > c: Flags [F.], seq 1, ack 78, win 1, length 0
        c > s: Flags [R], seq 1078, win 0, length 0";

    #[test]
    fn relative_numbers_come_to_the_absolute_ones() {
        let expected =
            [(1000, 0), (5000, 1001), (1001, 5001), (1001, 5001), (5001, 1078), (1078, 0)];
        assert_eq!(numbers(ABSOLUTE), expected);
        assert_eq!(numbers(RELATIVE), expected);
    }

    #[test]
    fn a_text_that_begins_in_the_middle() {
        let midstream = "c > s: Flags [P.], seq 7001:7101, ack 900001, win 1, length 100
            s > c: Flags [.], ack 100, win 1, length 0
            s > c: Flags [F.], seq 1, ack 100, win 1, length 0";
        assert_eq!(numbers(midstream), [(7001, 900_001), (900_001, 7101), (900_001, 7101)]);
        let cut = "c > s: Flags [P.], seq 1:78, ack 1, win 1, length 77
            s > c: Flags [.], ack 78, win 1, length 0
            s > c: Flags [F.], seq 1, ack 78, win 1, length 0
            c > s: Flags [R], seq 3118574545, win 0, length 0";
        assert_eq!(numbers(cut), [(1, 1), (1, 78), (1, 78), (78, 0)]);
    }

    #[test]
    fn a_refused_connection() {
        let refused = "c > s: Flags [S], seq 2027612265, win 1, length 0
            s > c: Flags [R.], seq 0, ack 2027612266, win 0, length 0";
        assert_eq!(numbers(refused), [(2_027_612_265, 0), (0, 2_027_612_266)]);
    }

    #[test]
    fn a_syn_behind_its_answer_begins_nothing() {
        let mut lines: Vec<&str> = RELATIVE.lines().collect();
        let expected = [(5000, 1001), (1000, 0), (1001, 5001), (1001, 5001), (5001, 1078)];
        lines.swap(0, 1);
        assert_eq!(numbers(&lines.join("\n"))[..5], expected);
        // Nor does one that is repeated.
        lines.insert(0, lines[1]);
        assert_eq!(numbers(&lines.join("\n"))[1..6], expected);
    }

    #[test]
    fn a_challenge_has_the_numbers_of_the_connection_before() {
        let before: Vec<&str> = RELATIVE.lines().take(4).collect();
        let again = "c > s: Flags [S], seq 90000, win 1, length 0
            s > c: Flags [.], ack 78, win 1, length 0
            c > s: Flags [R], seq 1078, win 0, length 0
            c > s: Flags [S], seq 90000, win 1, length 0
            s > c: Flags [S.], seq 7000, ack 90001, win 1, length 0
            c > s: Flags [.], ack 1, win 1, length 0";
        let found = numbers(&format!("{}\n{again}", before.join("\n")));
        let expected =
            [(90000, 0), (5001, 1078), (1078, 0), (90000, 0), (7000, 90001), (90001, 7001)];
        assert_eq!(found[4..], expected);
    }

    #[test]
    fn a_tuple_is_used_again() {
        let twice =
            format!("{RELATIVE}\n{}", RELATIVE.replace("1000", "9000").replace("1001", "9001"));
        assert_eq!(numbers(&twice)[9], (9001, 5001));
    }
}
