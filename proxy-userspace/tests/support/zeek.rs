//! Zeek's `conn_state` and `history`, written for the tests from Zeek's documentation of
//! `conn.log` and the behaviour of its TCP analysis; checked against Zeek's own answers in
//! `tests/witness.rs`. Content gaps are left out: a witness that lost packets fails anyway.

use super::packets::{ACK, FIN, Packet, RST, SYN};
use super::reading::{Connection, End};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Inactive,
    Partial,
    SynSent,
    SynAckSent,
    Established,
    Closed,
    Reset,
}

/// What is known of one end.
#[derive(Default)]
struct Side {
    state: State,
    before: State,
    start: u32,
    last: u32,
    acked: u32,
    fins: u32,
    scale: u8,
    retransmissions: u32,
    zero_windows: u32,
    last_syn: u32,
    last_fin: u32,
    last_rst: u32,
    letters: Vec<char>,
}

/// A connection as Zeek would log it.
#[derive(Default)]
pub(crate) struct Replay {
    sides: [Side; 2],
    history: String,
}

/// Steps through all packets of a connection.
pub(crate) fn replay(connection: &Connection) -> Replay {
    let mut replay = Replay::default();
    let first = &connection.packets[0];
    if first.1.has(SYN) && first.1.has(ACK) {
        replay.history.push('^');
    }
    for (end, packet) in &connection.packets {
        replay.step(*end, packet);
    }
    replay
}

const fn index(end: End) -> usize {
    match end {
        End::Orig => 0,
        End::Resp => 1,
    }
}

/// `a - b` in sequence space.
const fn delta(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl Replay {
    pub(crate) fn history(&self) -> &str {
        &self.history
    }

    /// Payload bytes by sequence numbers; what was acknowledged counts even if it was not seen.
    pub(crate) fn bytes(&self, end: End) -> u64 {
        let (side, peer) = (&self.sides[index(end)], &self.sides[index(end.other())]);
        let aborted_attempt = side.before == State::SynSent
            && side.state == State::Reset
            && peer.state == State::Inactive;
        if aborted_attempt {
            return 0;
        }
        let last = if delta(side.last, side.acked) > 0 { side.last } else { side.acked };
        let size = u64::from(last.wrapping_sub(side.start));
        size.saturating_sub(1).saturating_sub(u64::from(side.fins > 0))
    }

    pub(crate) fn conn_state(&self) -> &'static str {
        use State::{Closed, Established, Inactive, Partial, Reset, SynAckSent, SynSent};
        let [orig, resp] = [self.sides[0].state, self.sides[1].state];
        let silent = |state| matches!(state, Inactive | Partial);
        let empty = self.bytes(End::Orig) == 0 && self.bytes(End::Resp) == 0;
        match (orig, resp) {
            (SynSent | SynAckSent, Reset) => "REJ",
            (Reset, Reset) if empty => "REJ",
            (orig, Reset) if silent(orig) => "RSTRH",
            (_, Reset) => "RSTR",
            (Reset, resp) if silent(resp) => {
                // A SYN, then a RST, and nothing else that would be an answer in between.
                let before_rst = self.history.split('R').next().unwrap_or_default();
                let letters = before_rst.trim_start_matches('^');
                let alone = letters.starts_with('S') && !letters.contains(['H', 'A', 'F', 'G']);
                if alone && self.history.contains('R') { "RSTOS0" } else { "OTH" }
            }
            (Reset, _) => "RSTO",
            (Closed, Closed) => "SF",
            (Closed, resp) => {
                if silent(resp) {
                    "SH"
                } else {
                    "S2"
                }
            }
            (orig, Closed) => {
                if silent(orig) {
                    "SHR"
                } else {
                    "S3"
                }
            }
            (SynSent, Inactive) => "S0",
            (Established, Established) => "S1",
            _ => "OTH",
        }
    }

    fn step(&mut self, end: End, packet: &Packet) {
        let (own, other) = (index(end), index(end.other()));
        let length = if packet.has(RST) {
            0
        } else {
            packet.payload + u32::from(packet.has(SYN)) + u32::from(packet.has(FIN))
        };
        let past = packet.seq.wrapping_add(length);
        self.begin(own, packet, past);
        self.letters(end, packet);
        self.window(own, other, end, packet);
        if packet.has(SYN) {
            match packet.window_scale {
                Some(scale) => self.sides[own].scale = scale.min(14),
                None if packet.has(ACK) => self.sides.iter_mut().for_each(|side| side.scale = 0),
                None => self.sides[own].scale = 0,
            }
        }
        self.sides[own].fins += u32::from(packet.has(FIN));
        if packet.has(ACK) {
            let peer = &mut self.sides[other];
            if peer.state == State::Inactive {
                peer.start = packet.ack.wrapping_sub(1);
                (peer.last, peer.acked) = (peer.start, peer.start);
            } else if !packet.has(RST)
                && delta(packet.ack, peer.acked) > 0
                && delta(packet.ack, peer.start) >= 0
            {
                peer.acked = packet.ack;
            }
        }
        self.advance(end, packet, past);
        self.transit(end, packet);
    }

    /// The numbers of an end that is heard for the first time, or says SYN again.
    fn begin(&mut self, own: usize, packet: &Packet, past: u32) {
        let side = &mut self.sides[own];
        let syn = packet.has(SYN);
        let anew = match side.state {
            State::Inactive => true,
            State::SynSent | State::SynAckSent => syn && packet.seq != side.start,
            State::Established | State::Partial => syn,
            State::Reset => syn && side.before == State::Inactive,
            State::Closed => false,
        };
        if !anew {
            return;
        }
        side.start = if syn { packet.seq } else { packet.seq.wrapping_sub(1) };
        side.acked = side.start;
        side.last = if syn || side.state != State::Inactive { past } else { packet.seq };
    }

    fn letters(&mut self, end: End, packet: &Packet) {
        let side = &self.sides[index(end)];
        let at = packet.seq.wrapping_sub(side.start);
        let control = [SYN, FIN, RST].iter().filter(|flag| packet.has(**flag)).count();
        if control > 1 {
            let code = if packet.has(FIN) && packet.has(RST) { 'I' } else { 'Q' };
            self.once(end, code);
        } else if packet.has(SYN) {
            let again = side.last_syn != at;
            self.repeated(end, 'S', if packet.has(ACK) { 'H' } else { 'S' }, again);
            self.sides[index(end)].last_syn = at;
        } else if packet.has(FIN) {
            let at = at.wrapping_add(packet.payload);
            let again = side.last_fin != at;
            self.repeated(end, 'F', 'F', again);
            self.sides[index(end)].last_fin = at;
        } else if packet.has(RST) {
            let again = side.last_rst != at;
            self.repeated(end, 'R', 'R', again);
            self.sides[index(end)].last_rst = at;
        } else if packet.payload > 0 {
            self.once(end, 'D');
        } else if packet.has(ACK) {
            self.once(end, 'A');
        }
    }

    fn push(&mut self, end: End, code: char) {
        self.history.push(if end == End::Orig { code } else { code.to_ascii_lowercase() });
    }

    fn once(&mut self, end: End, code: char) {
        self.repeated(end, code, code, false);
    }

    /// Adds `code` the first time that `kind` is seen from `end`, and later if `again`.
    fn repeated(&mut self, end: End, kind: char, code: char, again: bool) {
        let seen = &mut self.sides[index(end)].letters;
        let first = !seen.contains(&kind);
        if first {
            seen.push(kind);
        }
        if first || again {
            self.push(end, code);
        }
    }

    /// The letter for an event that is noted the 1st, 10th, 100th ... time.
    fn scaled(&mut self, end: End, code: char, count: u32) {
        if count == 10_u32.pow(count.ilog10()) {
            self.push(end, code);
        }
    }

    fn window(&mut self, own: usize, other: usize, end: End, packet: &Packet) {
        let boring = packet.has(RST)
            || self.sides[other].state == State::Closed
            || self.sides[own].state == State::Reset;
        if packet.window == 0 && !boring {
            self.sides[own].zero_windows += 1;
            self.scaled(end, 'W', self.sides[own].zero_windows);
        }
    }

    fn advance(&mut self, end: End, packet: &Packet, past: u32) {
        const TOO_LARGE: i32 = 1 << 20;
        let side = &mut self.sides[index(end)];
        let step = delta(past, side.last);
        let wild = packet.has(SYN) || packet.has(RST);
        if wild && !(-TOO_LARGE..=TOO_LARGE).contains(&step) {
            return;
        }
        let lone_fin = packet.has(FIN) && side.last == side.start.wrapping_add(1);
        if lone_fin || (side.state != State::Reset && step > 0) {
            side.last = past;
        } else if side.state != State::Reset && packet.payload > 0 {
            side.retransmissions += 1;
            self.scaled(end, 'T', self.sides[index(end)].retransmissions);
        }
    }

    fn set(&mut self, side: usize, state: State) {
        let side = &mut self.sides[side];
        if side.state != state {
            (side.before, side.state) = (side.state, state);
        }
    }

    fn transit(&mut self, end: End, packet: &Packet) {
        let (own, other) = (index(end), index(end.other()));
        match self.sides[own].state {
            State::Inactive => self.wake(end, packet),
            State::SynSent | State::SynAckSent => {
                if packet.has(FIN) {
                    self.set(own, State::Closed);
                }
                if packet.has(RST) {
                    self.set(own, State::Reset);
                }
            }
            State::Established | State::Partial => {
                if packet.has(FIN) && !packet.has(RST) {
                    self.set(own, State::Closed);
                    let peer = &self.sides[other];
                    if (peer.before, peer.state) == (State::Closed, State::Reset) {
                        self.set(other, State::Closed);
                    }
                }
                if packet.has(RST) {
                    self.set(own, State::Reset);
                }
            }
            State::Closed => {
                if packet.has(RST) && self.sides[other].state != State::Closed {
                    self.set(own, State::Reset);
                }
            }
            State::Reset => {}
        }
    }

    /// The first packet that changes the state of an end.
    fn wake(&mut self, end: End, packet: &Packet) {
        let (own, other) = (index(end), index(end.other()));
        let peer = self.sides[other].state;
        if packet.has(SYN) && end == End::Orig {
            self.set(own, if packet.has(ACK) { State::SynAckSent } else { State::SynSent });
        } else if packet.has(SYN) {
            if peer == State::SynSent {
                self.set(other, State::Established);
            }
            self.set(own, State::Established);
        }
        if packet.has(FIN) {
            self.set(own, State::Closed);
        }
        if packet.has(RST) {
            self.set(own, State::Reset);
        }
        if self.sides[own].state != State::Inactive {
            return;
        }
        let bare = end == End::Resp && packet.payload == 0 && peer == State::SynSent;
        if bare {
            // Some answer the SYN with an ACK before their own SYN.
        } else if packet.has(ACK) && peer == State::Established {
            self.set(own, State::Established);
        } else {
            self.set(own, State::Partial);
        }
    }
}
