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
mod end;
mod expiry;
mod gap;
mod history;
mod input;
mod ports;
mod rst;
mod socket;
mod sparse;
mod states;
mod vantage;
mod zeek;

pub use close::{closes_crossed, first_closer, is_over, wire_is_over};
pub use end::*;
pub use expiry::{expired, stale};
pub use input::{Input, Mode, Outcome};
pub use ports::is_likely_server_port;
pub use socket::learn;
pub use vantage::shows_again;

use crate::key::{FlowKey, Side};
use crate::segment::{ACK, BAD_CHECKSUM, RST, SYN, Segment};
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
/// `Flow::marks`: [`Outcome::FIRST_CLOSE`] was said.
pub(crate) const FIRST_CLOSE_SAID: u32 = 0x200;
/// `Flow::marks`: [`Outcome::ANSWERED`] was said.
pub(crate) const ANSWER_SAID: u32 = 0x400;

/// All that is known of one connection, 472 bytes. All zeros is a connection not begun.
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
    /// Zeek's history: letters, upper case for the originator.
    pub history: [u8; HISTORY_LEN],
    /// Both ends, indexed by [`Side`].
    pub ends: [End; 2],
}

const _: () = assert!(size_of::<Flow>() == 472);

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
    if shows_again(flow, segment) {
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
    if mode.is_full() {
        rst::learn(flow, segment);
    } else {
        flow.marks |= INFERRED;
        sparse::infer(flow, segment);
    }
    if segment.has(RST) {
        rst::note(flow, segment, mode, now_ns);
    } else if segment.has(SYN) {
        rst::open_on(flow, segment);
    }
    zeek::process(flow, segment, mode, now_ns);
    close::note(flow, segment, now_ns);
    close::conclude(flow, now_ns)
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
    if is_likely_responder(key, from, !segment.has(SYN)) {
        flow.orig = from.other();
        history::push(flow, b'^');
    }
}

/// Whether `side` is likely the one who answered, by the ports; of two that servers use the lower
/// one's tells only if `lower_answers`.
#[inline(always)]
fn is_likely_responder(key: &FlowKey, side: Side, lower_answers: bool) -> bool {
    let (own, other) = (key.end(side).port, key.end(side.other()).port);
    is_likely_server_port(own) && (!is_likely_server_port(other) || (lower_answers && own < other))
}

/// Begins the flow of a connection that `by` had closed by FIN before anybody looked: a socket at
/// one of its ends tells so (FIN-WAIT, CLOSE-WAIT). Nobody saw when; it counts from now.
pub fn begin_half_closed(flow: &mut Flow, key: &FlowKey, by: Side, mode: Mode, now_ns: u64) {
    let by = Side(by.0 & 1);
    let responds = is_likely_responder(key, by, true);
    flow.orig = if responds { by.other() } else { by };
    flow.marks |= STARTED | MIDSTREAM | if mode.is_full() { 0 } else { INFERRED };
    (flow.started_ns, flow.last_ns) = (now_ns, now_ns);
    socket::witness_fin(flow, by, now_ns);
    close::conclude(flow, now_ns);
}

/// Whether `input` belongs to a new connection on `flow`'s tuple (Zeek's `IsReuse`).
///
/// A SYN is new unless it repeats the one that the flow began with, as a retransmitted one does,
/// or meets a socket that is alive.
#[inline(always)]
#[must_use]
pub fn begins_anew(flow: &Flow, input: Input<'_>) -> bool {
    match input {
        Input::Segment(segment) => {
            flow.has(STARTED)
                && segment.has(SYN)
                && segment.marks & BAD_CHECKSUM == 0
                && !shows_again(flow, segment)
                && !socket::is_alive(flow, segment.sender.other())
                && zeek::is_reuse(flow, segment)
        }
        // A socket says that it will send a SYN before the SYN is on the wire.
        Input::Socket(event) => {
            let begun = flow.has(STARTED) || flow.ends[0].has(TRACKED) || flow.ends[1].has(TRACKED);
            begun
                && event.knows(crate::socket::KNOWS_STATE)
                && event.new_state == SYN_SENT
                && event.old_state != SYN_SENT
        }
    }
}
