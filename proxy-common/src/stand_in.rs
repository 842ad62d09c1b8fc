//! A stand-in: what speaks for a socket that aborted, once its RST went out as a FIN.
//!
//! It answers as a closed socket in FIN_WAIT1, FIN_WAIT2, CLOSING, TIME_WAIT and LAST_ACK would (RFC
//! 9293, 3.6 and 3.10.7), and throws away what the peer still sends. Pure: the kernel program asks
//! [`StandIn::answer`] for every segment of the peer's, and the daemon [`StandIn::due`] for what
//! the passing of time asks for.

mod header;

pub use header::{
    Header, Ipv4, Ipv6, LINK_LEN, LONGEST_FRAME, TCP_LEN, TCP_LEN_WITH_TIMESTAMPS, checksum,
};

use crate::key::Side;
use crate::segment::{ACK, FIN, HAS_TIMESTAMP, RST, SYN, Segment};
use crate::seq::{after, before};
use crate::socket::tcp_state::{CLOSING, FIN_WAIT1, FIN_WAIT2, LAST_ACK, TIME_WAIT};
use bytemuck::{Pod, Zeroable};

/// `StandIn::bits`: segments carry timestamps (RFC 7323).
pub const TIMESTAMPS: u32 = 0x01;
/// `StandIn::bits`: the interface has an Ethernet header.
pub const ETHERNET: u32 = 0x02;
/// `StandIn::bits`: the peer acknowledged the FIN.
pub const FIN_ACKED: u32 = 0x04;
/// `StandIn::bits`: the peer's FIN came.
pub const PEER_FIN: u32 = 0x08;
/// `StandIn::bits`: segments without a control flag matter, and this is counted.
pub const WAITS: u32 = 0x10;
/// `StandIn::bits`: the entry is being removed.
pub const GONE: u32 = 0x20;
/// `StandIn::bits`: our FIN answers the peer's, so that nothing is awaited once it is acknowledged.
pub const ANSWERS: u32 = 0x40;

/// Bytes of the peer's that a stand-in acknowledges and throws away; for more it resets. What was
/// on its way when the application gave up is less.
pub const MOST_TAKEN: u32 = 1 << 20;
/// How often a FIN is sent before the stand-in gives up: as `tcp_orphan_retries` has it.
pub const MOST_FINS: u8 = 8;
/// How long the peer may take to close after it acknowledged the FIN, then RST: as
/// `tcp_fin_timeout` has it. In milliseconds.
pub const LINGER_MS: u32 = 60_000;
/// How long retransmissions are answered after both ends closed: as TIME_WAIT in Linux.
pub const TIME_WAIT_NS: u64 = 60_000_000_000;
/// The shortest time before a FIN is sent again, in milliseconds: TCP_RTO_MIN.
pub const LEAST_RTO_MS: u32 = 200;

/// A daemon that has not looked for so long is taken for dead.
pub const UNTENDED_NS: u64 = 5_000_000_000;

/// No window is larger (RFC 7323, 2.3).
const MOST_WINDOW: u32 = 1 << 30;

/// What stands in for one vanished socket, 88 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct StandIn {
    /// When the FIN went out in the RST's place; CLOCK_MONOTONIC, as all times.
    pub made_ns: u64,
    /// When the FIN was last sent.
    pub fin_ns: u64,
    /// Since when both ends have closed, as each knows; 0 before.
    pub settled_ns: u64,
    /// The sequence number after the FIN.
    pub next: u32,
    /// The next sequence number that is expected of the peer.
    pub expected: u32,
    /// TSval of the FIN, at `made_ns`.
    pub timestamp: u32,
    /// The peer's TSval to echo (TS.Recent).
    pub echo: u32,
    /// Bytes acknowledged and thrown away.
    pub taken: u32,
    /// The rule that it serves.
    pub rule: u32,
    /// The interface over which the peer is reached.
    pub interface: u32,
    /// How long the peer may take to close; milliseconds.
    pub linger_ms: u32,
    /// [`TIMESTAMPS`], [`ETHERNET`] and so on.
    pub bits: u32,
    /// The time before the FIN is sent again for the first time; milliseconds.
    pub rto_ms: u32,
    /// The window field to offer, unscaled.
    pub window: u16,
    /// How often the FIN was sent.
    pub fins: u8,
    /// The side whose socket vanished.
    pub local: Side,
    /// Destination and source of the Ethernet header towards the peer.
    pub link: [u8; 12],
    /// IPv4's time to live, IPv6's hop limit.
    pub hop_limit: u8,
    /// IPv4's type of service, IPv6's traffic class.
    pub traffic_class: u8,
    /// Always 0.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<StandIn>() == 88);

/// What becomes of a segment of the peer's.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply(pub u32);

impl Reply {
    /// It is taken in; nothing is sent.
    pub const NOTHING: Self = Self(0);
    /// It is answered with an ACK.
    pub const ACK: Self = Self(1);
    /// It is answered with a RST, and the stand-in is done.
    pub const RESET: Self = Self(2);
    /// The stand-in is done, and the segment goes to the local stack.
    pub const ASIDE: Self = Self(3);
    /// It is refused, and has no effect: a RST that is not where one is due (RFC 5961).
    pub const IGNORE: Self = Self(4);
    /// It is refused and answered with an ACK (RFC 5961's challenge).
    pub const CHALLENGE: Self = Self(5);
}

/// What the passing of time asks for.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due(pub u32);

impl Due {
    /// Nothing yet.
    pub const NOTHING: Self = Self(0);
    /// The FIN is sent again.
    pub const FIN: Self = Self(1);
    /// A RST is sent, and the stand-in is done.
    pub const RESET: Self = Self(2);
    /// The stand-in is done.
    pub const FORGET: Self = Self(3);
}

impl StandIn {
    /// Whether any of `bits` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, bits: u32) -> bool {
        self.bits & bits != 0
    }

    /// The state of RFC 9293 that a socket in its place would be in, as in
    /// [`crate::socket::tcp_state`].
    #[must_use]
    pub const fn state(&self) -> u8 {
        match (self.has(PEER_FIN), self.has(FIN_ACKED)) {
            (false, false) => FIN_WAIT1,
            (false, true) => FIN_WAIT2,
            (true, _) if self.has(ANSWERS) => LAST_ACK,
            (true, false) => CLOSING,
            (true, true) => TIME_WAIT,
        }
    }

    /// Takes in a segment of the peer's.
    #[inline(always)]
    #[must_use]
    pub fn answer(&mut self, segment: &Segment, now_ns: u64) -> Reply {
        if segment.has(RST) {
            return self.judge_rst(segment.seq);
        }
        if segment.has(SYN) {
            // The peer begins anew, as it may after TIME_WAIT or a restart.
            return if segment.has(ACK) { Reply::IGNORE } else { Reply::ASIDE };
        }
        if !segment.has(ACK) {
            return Reply::IGNORE;
        }
        if after(segment.ack, self.next) {
            return Reply::CHALLENGE;
        }
        if segment.ack == self.next {
            self.bits |= FIN_ACKED;
        }
        if segment.marks & HAS_TIMESTAMP != 0
            && !after(segment.seq, self.expected)
            && !before(segment.timestamp, self.echo)
        {
            self.echo = segment.timestamp;
        }
        let reply = self.take(segment, now_ns);
        if self.settled_ns == 0 && self.bits & (FIN_ACKED | PEER_FIN) == FIN_ACKED | PEER_FIN {
            self.settled_ns = now_ns;
        }
        reply
    }

    /// RFC 5961, 3.2.
    #[inline(always)]
    fn judge_rst(&self, seq: u32) -> Reply {
        if seq == self.expected {
            Reply::ASIDE
        } else if seq.wrapping_sub(self.expected) < MOST_WINDOW && !self.has(PEER_FIN) {
            Reply::CHALLENGE
        } else {
            Reply::IGNORE
        }
    }

    /// Takes in sequence numbers: data, to be thrown away, and the FIN.
    #[inline(always)]
    fn take(&mut self, segment: &Segment, now_ns: u64) -> Reply {
        let end = segment.end();
        if end == segment.seq {
            // An acknowledgment, or from before: a keep-alive or a probe, which wants an answer. Once
            // the peer has closed it sends neither: its FIN has overtaken an acknowledgment, and an
            // answer might meet no socket any more, and be answered with a RST.
            let asks = before(segment.seq, self.expected) && !self.has(PEER_FIN);
            return if asks { Reply::ACK } else { Reply::NOTHING };
        }
        let in_order = !after(segment.seq, self.expected) && after(end, self.expected);
        if in_order && !self.has(PEER_FIN) {
            let fin = u32::from(segment.flags & FIN);
            let new = end.wrapping_sub(self.expected);
            self.taken = self.taken.saturating_add(new.saturating_sub(fin));
            if self.taken > MOST_TAKEN {
                return Reply::RESET;
            }
            self.expected = end;
            if fin != 0 {
                self.bits |= PEER_FIN;
            }
        } else if segment.has(FIN) && self.settled_ns != 0 {
            // The acknowledgment of its FIN was lost: the wait begins anew.
            self.settled_ns = now_ns;
        }
        Reply::ACK
    }

    /// What is due at `now_ns`, where the peer's retransmissions are answered for `time_wait_ns`.
    #[inline(always)]
    #[must_use]
    pub const fn due(&self, now_ns: u64, time_wait_ns: u64) -> Due {
        if self.settled_ns != 0 {
            let over = now_ns.saturating_sub(self.settled_ns) >= time_wait_ns;
            return if over || self.has(ANSWERS) { Due::FORGET } else { Due::NOTHING };
        }
        let over = now_ns.saturating_sub(self.made_ns) >= self.linger_ms as u64 * 1_000_000;
        if self.has(FIN_ACKED) {
            return if over { Due::RESET } else { Due::NOTHING };
        }
        if now_ns.saturating_sub(self.fin_ns) < self.rto_ns() {
            return if over { Due::RESET } else { Due::NOTHING };
        }
        if over || self.fins >= MOST_FINS { Due::RESET } else { Due::FIN }
    }

    /// The time before the FIN is sent again: doubled with each time.
    #[inline(always)]
    const fn rto_ns(&self) -> u64 {
        let times = if self.fins == 0 { 0 } else { (self.fins - 1) as u32 & 15 };
        (self.rto_ms as u64 * 1_000_000) << times
    }

    /// The FIN was sent again.
    #[inline(always)]
    pub const fn sent_fin(&mut self, now_ns: u64) {
        self.fins = self.fins.saturating_add(1);
        self.fin_ns = now_ns;
    }

    /// TSval for a segment that is sent now: the vanished socket's clock, in milliseconds.
    #[inline(always)]
    #[must_use]
    pub const fn timestamp_at(&self, now_ns: u64) -> u32 {
        let elapsed = now_ns.saturating_sub(self.made_ns) / 1_000_000;
        self.timestamp.wrapping_add(elapsed as u32)
    }

    /// The sequence number of a segment with these flags.
    #[inline(always)]
    #[must_use]
    pub const fn seq_of(&self, flags: u8) -> u32 {
        self.next.wrapping_sub((flags & FIN) as u32)
    }
}

#[cfg(test)]
mod tests;
