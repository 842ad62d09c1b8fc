//! The teardown machine: what is known of one connection, and how it moves.
//!
//! A source (tc, XDP, a capture file, tcpdump's text, a socket's callback) hands each thing that
//! it saw to [`step`]; nothing else changes a [`Flow`]. When the [`Outcome`] says that the
//! connection is over, [`crate::verdict::close`] reads the answer off the flow.
//!
//! The kernel keeps a `Flow` in a map and steps it under a `bpf_spin_lock`. So `step` is one
//! inlined piece without calls, panics, divisions or loops that the verifier cannot count, and
//! works through `&mut` as a flow would not fit on the BPF stack.

mod close;
mod expiry;
mod gap;
mod history;
mod ports;
mod rst;
mod socket;
mod sparse;
mod vantage;
mod zeek;

pub use close::{first_closer, is_over, wire_is_over};
pub use expiry::{expired, stale};
pub use ports::is_likely_server_port;
pub use socket::learn;

use crate::key::{FlowKey, Side};
use crate::segment::{ACK, BAD_CHECKSUM, SYN, Segment};
use crate::socket::SocketEvent;
use crate::socket::tcp_state::SYN_SENT;
use bytemuck::{Pod, Zeroable};

/// Letters that a history holds; further ones are lost and [`HISTORY_CUT`] is set.
pub const HISTORY_LEN: usize = 40;

/// `Flow::marks`: a segment was stepped; before that only sockets spoke.
pub const STARTED: u32 = 0x001;
/// `Flow::marks`: the first segment seen was not a SYN.
pub const MIDSTREAM: u32 = 0x002;
/// `Flow::marks`: the connection is over; [`Outcome::CLOSED`] was said.
pub const CLOSED: u32 = 0x004;
/// `Flow::marks`: data segments were not stepped, so that letters and counts are inferred.
pub const INFERRED: u32 = 0x008;
/// `Flow::marks`: more letters than the history holds.
pub const HISTORY_CUT: u32 = 0x010;
/// `Flow::marks`, set by the owner of the table: removed to make room, not because it ended.
pub const EVICTED: u32 = 0x020;
/// `Flow::marks`, set by the owner of the table: given up after silence.
pub const EXPIRED: u32 = 0x040;
/// `Flow::marks`, set by the owner of the table: still open when the observer stopped.
pub const UNFINISHED: u32 = 0x080;
/// `Flow::marks`: Zeek's "partial": not begun by a SYN of the originator's.
pub(crate) const PARTIAL: u32 = 0x100;

/// `End::bits`: Zeek's `did_close`: this end's FIN or RST was taken for a close.
pub const DID_CLOSE: u16 = 0x001;
/// `End::bits`: a segment of this end was seen.
pub const SEEN: u16 = 0x002;
/// `End::bits`: this end's SYN was seen, so that `isn` is not a guess.
pub const SYN_SEEN: u16 = 0x004;
/// `End::bits`: a local socket answers for this end.
pub const TRACKED: u16 = 0x008;
/// `End::bits`: the local socket's end is an end of the connection, whatever the wire shows.
pub const SOCKET_ENDED: u16 = 0x010;
/// `End::bits`: the local socket gave up waiting (ETIMEDOUT, or no route to the peer).
pub const TIMED_OUT: u16 = 0x020;
/// `End::bits`: whether this end's last RST was accepted is not certain yet.
pub const RST_DOUBTED: u16 = 0x040;
/// `End::bits`: the peer lived on after this end's last RST (RFC 5961): it closed nothing.
pub const RST_REFUSED: u16 = 0x080;
/// `End::bits`: the RST that counts carried an ACK.
pub const RST_WITH_ACK: u16 = 0x100;
/// `End::bits`: `signal_ack` holds a number.
pub const HAS_SIGNAL_ACK: u16 = 0x200;
/// `End::bits`: `window` is usable: its scale is known.
pub const HAS_WINDOW: u16 = 0x400;
/// `End::bits`: gaps are no longer looked for, as this end's data was never acknowledged.
pub(crate) const GAPS_OFF: u16 = 0x800;
/// `End::bits`: the socket will read no more (`RCV_SHUTDOWN`).
pub const SHUT_READ: u16 = 0x1000;
/// `End::bits`: the socket will write no more (`SEND_SHUTDOWN`).
pub const SHUT_WRITE: u16 = 0x2000;

/// What is known of one end of a connection, 176 bytes: what it sent, and what its socket said.
///
/// All zeros is an end of which nothing is known.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct End {
    /// When its first FIN was seen; 0 if never.
    pub fin_ns: u64,
    /// When the RST that counts was seen; 0 if never. See [`End::has_reset`].
    pub rst_ns: u64,
    /// The socket's count of bytes that the peer acknowledged.
    pub bytes_acked: u64,
    /// The socket's count of bytes received.
    pub bytes_received: u64,
    /// The owner's cgroup id.
    pub cgroup: u64,
    /// Initial sequence number, the SYN's; without a SYN the first byte's minus one.
    pub isn: u32,
    /// The highest sequence number sent, plus one (Zeek's `last_seq`).
    pub next: u32,
    /// The highest acknowledgment that the peer sent for this end's bytes (Zeek's `ack_seq`).
    pub acked: u32,
    /// Where its last SYN stood, as a distance from `isn`.
    pub last_syn: u32,
    /// Where its last FIN stood (after the segment's data), as a distance from `isn`.
    pub last_fin: u32,
    /// Where its last RST stood, as a distance from `isn`.
    pub last_rst: u32,
    /// The lowest acknowledgment that a FIN or RST of this end carried: what it had seen of the
    /// peer when it closed.
    pub signal_ack: u32,
    /// Bytes seen in order (full mode).
    pub in_order: u32,
    /// Up to two ranges of bytes seen ahead of order, as distances from the first byte.
    pub ahead: [[u32; 2]; 2],
    /// The receive window that it last offered, in bytes.
    pub window: u32,
    /// Segments stepped.
    pub segments: u32,
    /// Segments with data that repeated sequence numbers.
    pub retransmissions: u32,
    /// Segments that offered a window of zero.
    pub zero_windows: u32,
    /// Segments whose checksum was wrong.
    pub bad_checksums: u32,
    /// Stretches of its bytes that the peer acknowledged and that were never seen.
    pub gaps: u32,
    /// Where its segments were first seen: [`Segment::vantage`].
    pub vantage: u32,
    /// Bytes that the socket held unread when it last spoke.
    pub unread: u32,
    /// Bytes that the socket held unacknowledged when it last spoke.
    pub unacked: u32,
    /// The socket's smoothed round-trip time, in microseconds.
    pub srtt_us: u32,
    /// The socket's count of retransmitted segments.
    pub socket_retransmissions: u32,
    /// The owner's process id.
    pub pid: u32,
    /// The kernel's reason for the RST that this end sent or received, in its own numbers.
    pub rst_reason: u32,
    /// The owner's name, padded with zeros.
    pub comm: [u8; 16],
    /// [`DID_CLOSE`], [`SEEN`], [`TRACKED`] and so on.
    pub bits: u16,
    /// The `KNOWS_*` bits of [`crate::socket`]: which of the socket's facts are known.
    pub known: u16,
    /// How often `next` passed 2^32.
    pub wraps: u16,
    /// How often `acked` passed 2^32.
    pub ack_wraps: u16,
    /// SYNs stepped.
    pub syns: u16,
    /// FINs stepped.
    pub fins: u16,
    /// RSTs stepped.
    pub rsts: u16,
    /// Zeek's state of this endpoint: see [`EndpointState`].
    pub state: EndpointState,
    /// The state before that one.
    pub prev_state: EndpointState,
    /// The window scale that applies to `window`.
    pub window_scale: u8,
    /// The socket's state, as in [`crate::socket::tcp_state`]; 0 without a socket.
    pub socket_state: u8,
    /// The socket's last error, an errno.
    pub err: u8,
    /// Always 0.
    pub reserved: u8,
}

const _: () = assert!(size_of::<End>() == 176);

impl End {
    /// Whether any of `bits` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, bits: u16) -> bool {
        self.bits & bits != 0
    }

    /// Whether it reset the connection, as far as can be told: a RST that was refused is none.
    #[inline(always)]
    #[must_use]
    pub const fn has_reset(&self) -> bool {
        self.rst_ns != 0 && !self.has(RST_REFUSED)
    }

    /// Whether it closed at all, by FIN or RST.
    #[inline(always)]
    #[must_use]
    pub const fn has_closed(&self) -> bool {
        self.fin_ns != 0 || self.has_reset()
    }

    /// Whether the first of its closes was a FIN.
    #[inline(always)]
    #[must_use]
    pub const fn closed_by_fin(&self) -> bool {
        self.fin_ns != 0 && (!self.has_reset() || self.fin_ns <= self.rst_ns)
    }

    /// When it first closed; 0 if it did not.
    #[inline(always)]
    #[must_use]
    pub const fn closed_at(&self) -> u64 {
        if self.closed_by_fin() {
            self.fin_ns
        } else if self.has_reset() {
            self.rst_ns
        } else {
            0
        }
    }

    /// The sequence number after its FIN. Meaningless before one was seen.
    #[inline(always)]
    #[must_use]
    pub const fn fin_end(&self) -> u32 {
        self.isn.wrapping_add(self.last_fin).wrapping_add(1)
    }
}

/// Zeek's state of an endpoint, by Zeek's numbers (`scripts/base/init-bare.zeek`).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct EndpointState(pub u8);

impl EndpointState {
    /// Nothing seen.
    pub const INACTIVE: Self = Self(0);
    /// A SYN.
    pub const SYN_SENT: Self = Self(1);
    /// A SYN+ACK out of nothing.
    pub const SYN_ACK_SENT: Self = Self(2);
    /// Segments without a SYN.
    pub const PARTIAL: Self = Self(3);
    /// Its SYN was answered, or answers one.
    pub const ESTABLISHED: Self = Self(4);
    /// A FIN.
    pub const CLOSED: Self = Self(5);
    /// A RST.
    pub const RESET: Self = Self(6);
}

/// All that is known of one connection, 448 bytes. All zeros is a connection not begun.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Flow {
    /// When it was first seen.
    pub started_ns: u64,
    /// When it last did anything that mattered: what comes after both ends closed does not count.
    pub last_ns: u64,
    /// When it was over; 0 before.
    pub closed_ns: u64,
    /// When Zeek would begin its wait before it forgets the connection; 0 before.
    pub settled_ns: u64,
    /// Both ends, indexed by [`Side`].
    pub ends: [End; 2],
    /// Zeek's history: letters, upper case for the originator.
    pub history: [u8; HISTORY_LEN],
    /// [`STARTED`], [`MIDSTREAM`], [`CLOSED`] and so on.
    pub marks: u32,
    /// Which letters each end has in the history.
    pub letters: [u16; 2],
    /// Segments seen after the connection was over.
    pub late: u16,
    /// RSTs that closed nothing: out of window, or answered by a challenge ACK (RFC 5961).
    pub challenges: u16,
    /// Letters in `history`.
    pub history_len: u8,
    /// The originator: who sent the SYN, or who is taken for it.
    pub orig: Side,
    /// Whose FIN, RST or timeout was seen first: 0 nobody's, 1 the low end's, 2 the high end's.
    pub first_seen: u8,
    /// Always 0.
    pub reserved: u8,
}

const _: () = assert!(size_of::<Flow>() == 440);

impl Flow {
    /// A connection of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::zeroed()
    }

    /// Whether any of `marks` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, marks: u32) -> bool {
        self.marks & marks != 0
    }

    /// The end at `side`.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self, side: Side) -> &End {
        &self.ends[side.index()]
    }

    #[inline(always)]
    pub(crate) const fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side.index()]
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self::new()
    }
}

/// How closely the machine looks. A compile-time constant in each program.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u8);

impl Mode {
    /// Only SYN, FIN and RST are stepped; data and acknowledgments are inferred from their
    /// numbers. What the kernel does unless asked for more.
    pub const SPARSE: Self = Self(0);
    /// Every segment is stepped: the history is Zeek's to the letter.
    pub const FULL: Self = Self(1);
    /// Every segment, and a flow that is over keeps stepping until [`expired`], as Zeek's does.
    pub const OFFLINE: Self = Self(3);

    /// Whether every segment is stepped.
    #[inline(always)]
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether a flow that is over keeps stepping.
    #[inline(always)]
    #[must_use]
    pub const fn lingers(self) -> bool {
        self.0 & 2 != 0
    }
}

/// One thing seen of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A segment on the wire.
    Segment(&'a Segment),
    /// A word from a local socket.
    Socket(&'a SocketEvent),
}

/// What a step did: a set of bits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome(pub u8);

impl Outcome {
    /// The connection is over. Said once for each connection.
    pub const CLOSED: u8 = 0x01;
    /// The first close of either end: the connection may be half closed from now on.
    pub const FIRST_CLOSE: u8 = 0x02;
    /// The other end closed too.
    pub const ANSWERED: u8 = 0x04;
    /// Seen before at another vantage: nothing was counted.
    pub const IGNORED: u8 = 0x08;
    /// It came after the end; only [`Flow::late`] counted it.
    pub const LATE: u8 = 0x10;

    /// Whether any of `bits` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }
}

/// Moves `flow` by one input, seen at `now_ns` (any clock that does not go back).
///
/// `key` is the flow's own: its ports tell who is likely the server where no SYN was seen.
/// Where [`begins_anew`] holds, report the old flow and zero it first.
#[inline(always)]
pub fn step(flow: &mut Flow, key: &FlowKey, input: Input<'_>, mode: Mode, now_ns: u64) -> Outcome {
    match input {
        Input::Segment(segment) => step_segment(flow, key, segment, mode, now_ns),
        Input::Socket(event) => socket::step(flow, key, event, now_ns),
    }
}

#[inline(always)]
fn step_segment(
    flow: &mut Flow,
    key: &FlowKey,
    segment: &Segment,
    mode: Mode,
    now_ns: u64,
) -> Outcome {
    let from = Side(segment.sender.0 & 1);
    if vantage::shows_again(flow, segment) {
        return Outcome(Outcome::IGNORED);
    }
    if flow.has(CLOSED) && !mode.lingers() {
        flow.late = flow.late.saturating_add(1);
        return Outcome(Outcome::LATE);
    }
    if segment.has(SYN) && socket::is_alive(flow, from.other()) && is_new_syn(flow, segment) {
        flow.challenges = flow.challenges.saturating_add(1);
        return Outcome(Outcome::IGNORED);
    }
    if !flow.has(STARTED) {
        begin(flow, key, segment, now_ns);
    }
    vantage::remember(flow, segment);
    flow.end_mut(from).segments = flow.end(from).segments.saturating_add(1);
    if segment.marks & BAD_CHECKSUM != 0 {
        // The receiver drops it, so it moves nothing.
        history::count_bad_checksum(flow, from);
        return Outcome(0);
    }
    let before = close::Before::of(flow);
    let judgement = rst::judge(flow, segment, mode);
    if mode.is_full() {
        rst::learn(flow, segment);
    } else {
        flow.marks |= INFERRED;
        sparse::infer(flow, segment);
    }
    zeek::process(flow, segment, mode, now_ns);
    close::note(flow, segment, judgement, now_ns);
    close::conclude(flow, before, now_ns)
}

/// Whether a SYN repeats none that its sender sent before.
#[inline(always)]
fn is_new_syn(flow: &Flow, segment: &Segment) -> bool {
    let end = flow.end(segment.sender);
    end.syns == 0 || segment.seq.wrapping_sub(end.isn) != end.last_syn
}

/// Who is who, by Zeek's rule: the first sender, unless its port is likely a server's.
#[inline(always)]
fn begin(flow: &mut Flow, key: &FlowKey, segment: &Segment, now_ns: u64) {
    let from = Side(segment.sender.0 & 1);
    flow.marks |= STARTED;
    flow.orig = from;
    if flow.started_ns == 0 {
        flow.started_ns = now_ns;
    }
    flow.last_ns = now_ns;
    if segment.flags & (SYN | ACK) == SYN {
        return;
    }
    flow.marks |= MIDSTREAM;
    let (source, destination) = (key.end(from).port, key.end(from.other()).port);
    if is_likely_server_port(source)
        && (!is_likely_server_port(destination) || (!segment.has(SYN) && source < destination))
    {
        flow.orig = from.other();
        history::push(flow, b'^');
    }
}

/// Whether `input` belongs to a new connection on `flow`'s tuple (Zeek's `IsReuse`).
///
/// A SYN is new unless it repeats the one that the flow began with, as a retransmitted one does,
/// or meets a socket that is alive.
#[inline(always)]
#[must_use]
pub fn begins_anew(flow: &Flow, input: Input<'_>) -> bool {
    if !flow.has(STARTED) {
        return false;
    }
    match input {
        Input::Segment(segment) => {
            segment.has(SYN)
                && segment.marks & BAD_CHECKSUM == 0
                && !vantage::shows_again(flow, segment)
                && !socket::is_alive(flow, segment.sender.other())
                && zeek::is_reuse(flow, segment)
        }
        // A socket says that it will send a SYN before the SYN is on the wire.
        Input::Socket(event) => {
            event.knows(crate::socket::KNOWS_STATE)
                && event.new_state == SYN_SENT
                && event.old_state != SYN_SENT
        }
    }
}
