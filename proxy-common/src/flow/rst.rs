//! Which RST closes a connection (RFC 9293, 3.5.2; RFC 5961, 3).
//!
//! A receiver accepts a RST only at exactly the number it expects next; elsewhere in its window
//! it answers with a challenge ACK, and outside it keeps silent. Where the receiver's socket is
//! on this host, the socket's next word decides. Else the numbers do, and what a passive reader
//! cannot know counts for the RST.

use super::{
    EndpointState, Flow, HAS_WINDOW, Mode, RST_DOUBTED, RST_REFUSED, RST_WITH_ACK, TRACKED,
};
use crate::key::Side;
use crate::segment::{ACK, RST, Segment};
use crate::seq::{after, before};
use crate::socket::tcp_state::CLOSE;

/// What becomes of a RST.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Judgement(u8);

impl Judgement {
    /// It closes the connection.
    const ACCEPTED: Self = Self(0);
    /// The receiver decides: by its next word, or by silence.
    const DOUBTED: Self = Self(1);
    /// The receiver drops it.
    pub(super) const REFUSED: Self = Self(2);
}

/// Judges the RST `segment`, before its numbers are taken into `flow`.
#[inline(always)]
pub(super) fn judge(flow: &Flow, segment: &Segment, mode: Mode) -> Judgement {
    let from = Side(segment.sender.0 & 1);
    let (sender, receiver) = (flow.end(from), flow.end(from.other()));
    if receiver.has(TRACKED) && receiver.socket_state != CLOSE {
        return Judgement::DOUBTED;
    }
    let numbers_known = sender.state.0 >= EndpointState::ESTABLISHED.0
        && receiver.state.0 >= EndpointState::ESTABLISHED.0
        && receiver.has(HAS_WINDOW);
    if !mode.is_full() || !numbers_known || sender.has_reset() {
        return Judgement::ACCEPTED;
    }
    // The receiver expects something between what it acknowledged and what was sent to it.
    let expected = !before(segment.seq, sender.acked) && !after(segment.seq, sender.next);
    // Linux takes the FIN's own number too (`tcp_reset_check`): it may be in flight.
    let at_fin = sender.fin_ns != 0 && segment.seq.wrapping_add(1) == sender.acked;
    if expected || at_fin {
        return Judgement::ACCEPTED;
    }
    if segment.seq.wrapping_sub(sender.acked) < receiver.window {
        return Judgement::DOUBTED;
    }
    Judgement::REFUSED
}

/// Notes the RST `segment` as judged.
#[inline(always)]
pub(super) fn note(flow: &mut Flow, segment: &Segment, judgement: Judgement, now_ns: u64) {
    if judgement == Judgement::REFUSED {
        flow.challenges = flow.challenges.saturating_add(1);
        return;
    }
    let end = flow.end_mut(segment.sender);
    if end.has_reset() && !end.has(RST_DOUBTED) {
        return;
    }
    end.rst_ns = if now_ns == 0 { 1 } else { now_ns };
    end.bits &= !(RST_DOUBTED | RST_REFUSED | RST_WITH_ACK);
    if judgement == Judgement::DOUBTED {
        end.bits |= RST_DOUBTED;
    }
    if segment.has(ACK) {
        end.bits |= RST_WITH_ACK;
    }
}

/// The receiver of a doubted RST sends on: it was a challenge ACK, or more. Where the receiver
/// has a socket here, its socket decides instead, as a segment may have crossed the RST.
#[inline(always)]
pub(super) fn disprove_by_segment(flow: &mut Flow, segment: &Segment) {
    let receiver = Side(segment.sender.0 & 1);
    if !segment.has(RST) && !flow.end(receiver).has(TRACKED) {
        disprove(flow, receiver.other());
    }
}

/// The doubted RST of the end at `sender` closed nothing.
#[inline(always)]
pub(super) fn disprove(flow: &mut Flow, sender: Side) {
    let end = flow.end_mut(sender);
    if end.has(RST_DOUBTED) {
        end.bits = (end.bits & !RST_DOUBTED) | RST_REFUSED;
        flow.challenges = flow.challenges.saturating_add(1);
    }
}
