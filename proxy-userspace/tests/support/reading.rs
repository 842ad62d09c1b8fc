//! What a capture says of each connection, read the way a person with tcpdump would.

use super::packets::{ACK, FIN, Packet, RST, SYN};
use super::zeek;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Longer than any packet is on its way between two namespaces, in nanoseconds.
const ON_ITS_WAY: u64 = 3_000_000;

/// An end of a connection: who sent the SYN, or who answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Orig,
    Resp,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Orig => Self::Resp,
            Self::Resp => Self::Orig,
        }
    }

    /// teardown's word in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Orig => "orig",
            Self::Resp => "resp",
        }
    }
}

/// How an end closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Fin,
    Rst,
    RstAck,
}

impl Sign {
    fn of(packet: &Packet) -> Option<Self> {
        if packet.has(RST) {
            Some(if packet.has(ACK) { Self::RstAck } else { Self::Rst })
        } else {
            packet.has(FIN).then_some(Self::Fin)
        }
    }

    /// teardown's word in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::RstAck => "rst_ack",
        }
    }
}

/// A connection with all its packets in the order of the capture.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) orig: SocketAddr,
    pub(crate) resp: SocketAddr,
    pub(crate) packets: Vec<(End, Packet)>,
}

/// Splits a capture into connections, in the order in which they began.
///
/// A SYN begins a new one on a tuple that is in use if its number is another, or if the old
/// connection is over; as Zeek does, packets more than 5 s after the end begin a new one too.
pub(crate) fn connections(packets: &[Packet]) -> Vec<Connection> {
    const CLOSE_DELAY: u64 = 5_000_000_000;
    let mut all: Vec<Connection> = Vec::new();
    let mut current: HashMap<(SocketAddr, SocketAddr), usize> = HashMap::new();
    for packet in packets {
        let (source, target) = (packet.source, packet.target);
        let place = current
            .get(&(source, target))
            .or_else(|| current.get(&(target, source)))
            .copied()
            .filter(|&index| {
                let known: &Connection = &all[index];
                let begins = packet.has(SYN) && !packet.has(ACK);
                let another = begins && known.packets[0].1.seq != packet.seq;
                let long_ago =
                    known.over_at().is_some_and(|over| begins || packet.time > over + CLOSE_DELAY);
                let simultaneous = begins && known.orig == target && known.syn(End::Resp).is_none();
                simultaneous || !(another || long_ago)
            });
        let index = place.unwrap_or_else(|| {
            // A SYN+ACK without its SYN comes from the one who answers.
            let (orig, resp) = if packet.has(SYN) && packet.has(ACK) {
                (target, source)
            } else {
                (source, target)
            };
            current.remove(&(target, source));
            current.remove(&(source, target));
            current.insert((orig, resp), all.len());
            all.push(Connection { orig, resp, packets: Vec::new() });
            all.len() - 1
        });
        let end = if all[index].orig == source { End::Orig } else { End::Resp };
        all[index].packets.push((end, packet.clone()));
    }
    all
}

impl Connection {
    fn first(&self, end: End, flag: u8) -> Option<&Packet> {
        self.packets.iter().find(|(from, p)| *from == end && p.has(flag)).map(|(_, p)| p)
    }

    /// The SYN (or SYN+ACK) that `end` sent.
    pub(crate) fn syn(&self, end: End) -> Option<&Packet> {
        self.first(end, SYN)
    }

    /// Whether its SYN was seen.
    pub(crate) fn has_begun(&self) -> bool {
        self.syn(End::Orig).is_some_and(|syn| !syn.has(ACK))
    }

    /// Every FIN and RST in order; a retransmitted FIN is not counted again, and a RST far from
    /// the numbers of its sender (the answer to a stray segment of another connection) not at all.
    pub(crate) fn signs(&self) -> Vec<(End, Sign, &Packet)> {
        let mut signs: Vec<(End, Sign, &Packet)> = Vec::new();
        for (at, (end, packet)) in self.packets.iter().enumerate() {
            let Some(sign) = Sign::of(packet) else { continue };
            if sign != Sign::Fin && self.is_stray(at) {
                continue;
            }
            let again =
                signs.iter().any(|(by, what, _)| (by, *what, sign) == (end, Sign::Fin, Sign::Fin));
            if !again {
                signs.push((*end, sign, packet));
            }
        }
        signs
    }

    /// Whether the number of a packet is more than a large window away from all that its sender
    /// sent before.
    fn is_stray(&self, at: usize) -> bool {
        const FAR: u32 = 1 << 20;
        let (end, packet) = &self.packets[at];
        let mut before = self.packets[..at].iter().filter(|(from, _)| from == end).peekable();
        let distance = |known: u32| (packet.seq.wrapping_sub(known) as i32).unsigned_abs();
        before.peek().is_some() && before.all(|(_, known)| distance(known.end()) > FAR)
    }

    /// When it was over: a RST, or the later of both FINs.
    pub(crate) fn over_at(&self) -> Option<u64> {
        let signs = self.signs();
        let reset = signs.iter().find(|(_, sign, _)| *sign != Sign::Fin);
        let both = signs.iter().skip(1).find(|(end, _, _)| *end != signs[0].0);
        [reset, both].into_iter().flatten().map(|(_, _, packet)| packet.time).min()
    }

    /// Every reading that another vantage may have had of the same packets.
    ///
    /// Packets of the two ends that crossed on the wire stand in another order at the other end:
    /// neighbours change places here if neither end can have seen the other's packet first. And
    /// an observer tells a close once it is over: what was still on its way may be in its answer
    /// or not.
    pub(crate) fn other_readings(&self) -> Vec<Self> {
        let mut orders = vec![self.clone()];
        orders.extend(self.without_a_refused_reset());
        let mut next = 0;
        // A close has few packets; the limit is for a broken capture.
        while next < orders.len() && orders.len() < 500 {
            let known = &orders[next];
            let swapped: Vec<Self> = (1..known.packets.len())
                .filter(|at| may_have_crossed(&known.packets[at - 1], &known.packets[*at]))
                .map(|at| {
                    let mut order = known.clone();
                    order.packets.swap(at - 1, at);
                    order
                })
                .collect();
            for order in swapped {
                if !orders.iter().any(|known| known.packets == order.packets) {
                    orders.push(order);
                }
            }
            next += 1;
        }
        let mut readings: Vec<Self> = orders.iter().flat_map(Self::ends).collect();
        // An application that gives up its SYN ends the connection there and then; its host
        // answers the SYN+ACK that comes all the same by a RST without ACK.
        if matches!(self.signs().first(), Some((End::Orig, Sign::Rst, _))) {
            let opening = self.packets.iter().take_while(|(_, packet)| packet.has(SYN)).count();
            readings.extend((1..=opening).map(|length| self.cut(length)));
        }
        readings
    }

    /// The connection without its first RST, where the other end lived on: the RST was refused
    /// there, or lost behind the capture, and closed nothing. Or where it was challenged: the other
    /// end still expected another number, said so, and got a RST with that one (RFC 5961, 3.2).
    fn without_a_refused_reset(&self) -> Option<Self> {
        let at = self.packets.iter().position(|(_, packet)| packet.has(RST))?;
        let (by, reset) = &self.packets[at];
        let lived_on = self.packets[at..].iter().any(|(end, packet)| {
            end != by && !packet.has(RST) && packet.time > reset.time + ON_ITS_WAY
        });
        let challenged = self.packets[at..].iter().any(|(end, again)| {
            let expected = |(end, packet): &(End, Packet)| {
                end != by && !packet.has(RST) && packet.ack == again.seq
            };
            end == by
                && again.has(RST)
                && again.seq != reset.seq
                && self.packets[at..].iter().any(expected)
        });
        (lived_on || challenged).then(|| {
            let mut rest = self.clone();
            rest.packets.remove(at);
            rest
        })
    }

    /// The connection as it stood when it was over, and after each packet that still came.
    fn ends(&self) -> Vec<Self> {
        let over = (1..=self.packets.len()).find(|length| self.cut(*length).over_at().is_some());
        over.map_or(Vec::new(), |over| {
            (over..=self.packets.len()).map(|length| self.cut(length)).collect()
        })
    }

    fn cut(&self, length: usize) -> Self {
        Self { packets: self.packets[..length].to_vec(), ..*self }
    }

    /// Who closed first, and with what.
    pub(crate) fn first_close(&self) -> Option<(End, Sign)> {
        self.signs().first().map(|(end, sign, _)| (*end, *sign))
    }

    /// Whether `end` reset twice at one number, with ACK and without: on loopback the two may
    /// pass each other, sent by two CPUs.
    pub(crate) fn reset_both_ways(&self, end: End) -> bool {
        let signs = self.signs();
        let number = |wanted: Sign| {
            let found = signs.iter().find(|(by, sign, _)| (*by, *sign) == (end, wanted));
            found.map(|(_, _, packet)| packet.seq)
        };
        number(Sign::Rst).is_some() && number(Sign::Rst) == number(Sign::RstAck)
    }

    /// With what the other end answered the first FIN or RST, if it did.
    pub(crate) fn answer(&self) -> Option<Sign> {
        let signs = self.signs();
        let first = signs.first()?.0;
        signs.iter().find(|(end, _, _)| *end != first).map(|(_, sign, _)| *sign)
    }

    /// From the first FIN to the other end's FIN or anybody's RST; zero if a RST was first.
    pub(crate) fn half_closed(&self) -> Option<Duration> {
        let signs = self.signs();
        let (end, sign, first) = signs.first()?;
        if *sign != Sign::Fin {
            return Some(Duration::ZERO);
        }
        let over = signs.iter().skip(1).find(|(by, what, _)| by != end || *what != Sign::Fin)?;
        Some(Duration::from_nanos(over.2.time.saturating_sub(first.time)))
    }

    /// Bytes of data that `end` sent, by sequence numbers, as Zeek counts them.
    pub(crate) fn bytes(&self, end: End) -> u64 {
        zeek::replay(self).bytes(end)
    }

    /// Bytes of data that `end` sent and the other one never acknowledged. What a RST carries
    /// acknowledges nothing: its sender has thrown the data away.
    pub(crate) fn unacknowledged(&self, end: End) -> u64 {
        self.unacknowledged_but_for(end, |_| false)
    }

    /// The same, where each ACK sent just before a RST may have been overtaken by it: two CPUs
    /// hand the packets of one sender to a socket in any order.
    pub(crate) fn unacknowledged_at_most(&self, end: End) -> u64 {
        const JUST_BEFORE: u64 = 1_000_000;
        let resets: Vec<u64> =
            self.packets.iter().filter(|(_, p)| p.has(RST)).map(|(_, p)| p.time).collect();
        self.unacknowledged_but_for(end, |ack| {
            resets.iter().any(|reset| reset.saturating_sub(ack.time) < JUST_BEFORE)
        })
    }

    fn unacknowledged_but_for(&self, end: End, overtaken: impl Fn(&Packet) -> bool) -> u64 {
        let ordered = |a: &u32, b: &u32| (a.wrapping_sub(*b) as i32).cmp(&0);
        let sent = self.packets.iter().filter(|(from, p)| *from == end && !p.has(RST));
        let Some(sent) = sent.map(|(_, p)| p.seq.wrapping_add(p.payload)).max_by(ordered) else {
            return 0;
        };
        let acks = self
            .packets
            .iter()
            .filter(|(from, p)| *from != end && p.has(ACK) && !p.has(RST) && !overtaken(p));
        match acks.map(|(_, p)| p.ack).max_by(ordered) {
            Some(ack) => u64::try_from(sent.wrapping_sub(ack) as i32).unwrap_or(0),
            None => self.bytes(end),
        }
    }

    /// Bytes of data that `end` sent beyond the highest number in a SYN, FIN or RST. A RST without
    /// ACK has none for the other end's data, acknowledged or not.
    pub(crate) fn untold_by_control_segments(&self, end: End) -> u64 {
        let control = |(_, packet): &&(End, Packet)| packet.flags & (SYN | FIN | RST) != 0;
        let packets = self.packets.iter().filter(control).cloned().collect();
        self.bytes(end).saturating_sub(Self { packets, ..*self }.bytes(end))
    }

    /// Zeek's `conn_state`.
    pub(crate) fn conn_state(&self) -> &'static str {
        zeek::replay(self).conn_state()
    }

    /// Zeek's `history`.
    pub(crate) fn history(&self) -> String {
        zeek::replay(self).history().to_owned()
    }

    /// From the first packet to the last.
    pub(crate) fn duration(&self) -> Duration {
        let (first, last) = (&self.packets[0].1, &self.packets[self.packets.len() - 1].1);
        Duration::from_nanos(last.time.saturating_sub(first.time))
    }
}

/// Whether the second of two neighbours may have been sent before the first had arrived, or
/// before it was sent.
fn may_have_crossed(first: &(End, Packet), second: &(End, Packet)) -> bool {
    let ((by, first), (then_by, second)) = (first, second);
    let near = second.time.abs_diff(first.time) < ON_ITS_WAY;
    let opening = first.has(SYN) || second.has(SYN);
    // Whoever saw a segment with data or a FIN acknowledges it from then on.
    let seen = second.has(ACK)
        && first.end() != first.seq
        && (second.ack.wrapping_sub(first.end()) as i32) >= 0;
    // Two CPUs carry the packets of one end: one that does not follow on the first's bytes was
    // sent before. And one may be kept between the capture's place and teardown's on the same host
    // while the other goes on: of an acknowledgment alone no number tells.
    let alone = |packet: &Packet| packet.end() == packet.seq && !packet.has(RST);
    let overtaken =
        alone(first) || alone(second) || (second.seq.wrapping_sub(first.end()) as i32) < 0;
    near && !opening && if by == then_by { overtaken } else { !seen }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} > {} {} {}", self.orig, self.resp, self.conn_state(), self.history())?;
        let start = self.packets[0].1.time;
        let base = [End::Orig, End::Resp].map(|end| {
            let first = self.packets.iter().find(|(from, _)| *from == end);
            first.map_or(0, |(_, packet)| packet.seq)
        });
        for (end, packet) in &self.packets {
            let (ours, theirs) = if *end == End::Orig { (0, 1) } else { (1, 0) };
            let names = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (ACK, '.')];
            let flags: String =
                names.iter().filter(|(flag, _)| packet.has(*flag)).map(|(_, name)| name).collect();
            writeln!(
                f,
                "  {:>12.6} {} [{flags}] seq {} ack {} length {} win {}",
                (packet.time.saturating_sub(start)) as f64 / 1e9,
                end.word(),
                packet.seq.wrapping_sub(base[ours]),
                if packet.has(ACK) { packet.ack.wrapping_sub(base[theirs]) } else { 0 },
                packet.payload,
                packet.window,
            )?;
        }
        Ok(())
    }
}
