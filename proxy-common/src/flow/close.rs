//! Who closed first, with what, and whether the connection is over.

use super::{
    ANSWER_SAID, CLOSED, End, FIRST_CLOSE_SAID, Flow, HAS_SIGNAL_ACK, Outcome, RST_DOUBTED,
    SOCKET_ENDED, TIMED_OUT, TRACKED,
};
use crate::key::Side;
use crate::segment::{ACK, FIN, RST, Segment};
use crate::seq::before;
use crate::socket::tcp_state::CLOSE;

/// Notes the FIN of a segment that [`super::zeek::process`] has taken in.
#[inline(always)]
pub(super) fn note(flow: &mut Flow, segment: &Segment, now_ns: u64) {
    if segment.has(FIN) && !segment.has(RST) {
        note_fin(flow.end_mut(segment.sender), now_ns);
        note_signal(flow, segment);
    }
}

/// Keeps what the sender of a FIN or RST had seen of the peer.
#[inline(always)]
pub(super) fn note_signal(flow: &mut Flow, segment: &Segment) {
    mark_first(flow, segment.sender);
    let end = flow.end_mut(segment.sender);
    if segment.has(ACK) && (!end.has(HAS_SIGNAL_ACK) || before(segment.ack, end.signal_ack)) {
        end.signal_ack = segment.ack;
        end.bits |= HAS_SIGNAL_ACK;
    }
}

/// Keeps whose close was seen first, if none was.
#[inline(always)]
pub(super) fn mark_first(flow: &mut Flow, side: Side) {
    if flow.first_seen == 0 {
        flow.first_seen = 1 + (side.0 & 1);
    }
}

#[inline(always)]
pub(super) fn note_fin(end: &mut End, now_ns: u64) {
    if end.fin_ns != 0 {
        return;
    }
    end.fin_ns = if now_ns == 0 { 1 } else { now_ns };
    let rst_at = end.isn.wrapping_add(end.last_rst);
    if end.has_reset() && end.rsts != 0 && !before(rst_at, end.fin_end()) {
        // The RST stands behind the FIN: the two were only seen in the wrong order.
        end.fin_ns = end.rst_ns;
    }
}

/// Closes the books on a step: what is new since the last one, and whether all is over now.
///
/// What was said stands in the flow, not in a variable: the verifier follows every path with
/// every value that is carried along.
#[inline(always)]
pub(super) fn conclude(flow: &mut Flow, now_ns: u64) -> Outcome {
    let mut outcome = 0;
    let [low, high] = [flow.ends[0].has_closed(), flow.ends[1].has_closed()];
    if (low || high) && !flow.has(FIRST_CLOSE_SAID) {
        flow.marks |= FIRST_CLOSE_SAID;
        outcome = Outcome::FIRST_CLOSE;
    }
    if low && high && !flow.has(ANSWER_SAID) {
        flow.marks |= ANSWER_SAID;
        outcome |= Outcome::ANSWERED;
    }
    if !flow.has(CLOSED) && is_over(flow) {
        flow.marks |= CLOSED;
        flow.closed_ns = now_ns;
        outcome |= Outcome::CLOSED;
    }
    Outcome(outcome)
}

/// Whether both ends sent their FIN, or one an accepted RST.
#[inline(always)]
#[must_use]
pub const fn wire_is_over(flow: &Flow) -> bool {
    let [low, high] = &flow.ends;
    (low.fin_ns != 0 && high.fin_ns != 0)
        || (low.has_reset() && !low.has(RST_DOUBTED))
        || (high.has_reset() && !high.has(RST_DOUBTED))
}

/// Whether the connection is over: on the wire, and for every local socket that takes part.
///
/// A socket that lingers in LAST_ACK or FIN_WAIT1 may still see its FIN refused, and one that
/// got a RST it did not believe lives on.
#[inline(always)]
#[must_use]
pub const fn is_over(flow: &Flow) -> bool {
    let [low, high] = &flow.ends;
    (wire_is_over(flow) || low.has(SOCKET_ENDED) || high.has(SOCKET_ENDED))
        && !is_open_here(low)
        && !is_open_here(high)
}

#[inline(always)]
const fn is_open_here(end: &End) -> bool {
    end.has(TRACKED) && end.socket_state != CLOSE
}

/// The end that closed first.
///
/// An end whose FIN or RST acknowledges the other's FIN came second, however the two were
/// captured. Where neither saw the other's, both closed at once, and the one seen first counts.
#[inline(always)]
#[must_use]
pub const fn first_closer(flow: &Flow) -> Option<Side> {
    let [low, high] = &flow.ends;
    if low.has_closed() != high.has_closed() {
        return Some(if low.has_closed() { Side::LOW } else { Side::HIGH });
    }
    let seen_first = if flow.first_seen == 2 { Side::HIGH } else { Side::LOW };
    if !low.has_closed() {
        return if low.has(TIMED_OUT) && high.has(TIMED_OUT) {
            Some(seen_first)
        } else if low.has(TIMED_OUT) {
            Some(Side::LOW)
        } else if high.has(TIMED_OUT) {
            Some(Side::HIGH)
        } else {
            None
        };
    }
    let low_answers = saw_fin_of(low, high);
    let high_answers = saw_fin_of(high, low);
    if low_answers != high_answers {
        Some(if low_answers { Side::HIGH } else { Side::LOW })
    } else if low.closed_at() != high.closed_at() {
        Some(if low.closed_at() < high.closed_at() { Side::LOW } else { Side::HIGH })
    } else {
        Some(seen_first)
    }
}

/// Whether both ends closed and neither had the other's FIN when it did, as their numbers tell.
#[inline(always)]
#[must_use]
pub const fn closes_crossed(flow: &Flow) -> bool {
    let [low, high] = &flow.ends;
    let are_closed = low.has_closed() && high.has_closed();
    are_closed && missed_fin_of(low, high) && missed_fin_of(high, low)
}

/// Whether `end` closed without `peer`'s FIN, which it may not have sent.
#[inline(always)]
const fn missed_fin_of(end: &End, peer: &End) -> bool {
    peer.fin_ns == 0 || end.has(HAS_SIGNAL_ACK) && !saw_fin_of(end, peer)
}

/// Whether `end` had seen `peer`'s FIN when it closed.
#[inline(always)]
const fn saw_fin_of(end: &End, peer: &End) -> bool {
    peer.fin_ns != 0 && end.has(HAS_SIGNAL_ACK) && !before(end.signal_ack, peer.fin_end())
}
