//! Which RST closes a connection (RFC 9293, 3.5.2; RFC 5961, 3).
//!
//! A receiver accepts a RST only at exactly the number it expects next; elsewhere in its window
//! it answers with a challenge ACK, and outside it keeps silent. Where the receiver's socket is
//! on this host, the socket's next word decides. Else the numbers do, and what a passive reader
//! cannot know counts for the RST. One whose sender has not been answered yet, and that stands where
//! no SYN of its own put it, is for an earlier connection on these ports (RFC 9293, 3.5.1).

use super::{
    End, EndpointState, Flow, HAS_WINDOW, Mode, RST_BEYOND, RST_DOUBTED, RST_REFUSED, RST_WITH_ACK,
    SYN_SEEN, TRACKED, close,
};
use crate::key::Side;
use crate::segment::{ACK, RST, SYN, Segment};
use crate::seq::after;
use crate::socket::tcp_state::CLOSE;

/// Judges and notes the RST `segment`, before its numbers are taken into `flow`.
#[inline(always)]
pub(super) fn note(flow: &mut Flow, segment: &Segment, mode: Mode, now_ns: u64) {
    let from = Side(segment.sender.0 & 1);
    let (sender, receiver) = (flow.end(from), flow.end(from.other()));
    if sender.has_reset() && !sender.has(RST_DOUBTED) {
        return;
    }
    let mut doubt = RST_DOUBTED;
    let socket_decides = receiver.has(TRACKED) && receiver.socket_state != CLOSE;
    if !socket_decides && !answers_another(flow, segment) {
        // The receiver expects something between what it acknowledged and what was sent to it.
        let expected = segment.seq == sender.acked
            || (after(segment.seq, sender.acked) && !after(segment.seq, sender.next));
        // Linux takes the FIN's own number too (`tcp_reset_check`): it may be in flight.
        let at_fin = sender.fin_ns != 0 && segment.seq.wrapping_add(1) == sender.acked;
        if !mode.is_full() || !numbers_are_known(sender, receiver) || expected || at_fin {
            doubt = 0;
        } else if segment.seq.wrapping_sub(sender.acked) >= receiver.window {
            flow.challenges = flow.challenges.saturating_add(1);
            return;
        }
    }
    // A closed socket answers what crosses its RST by another one with the same number: whatever
    // becomes of the two, the first closed.
    if flow.end(from).rst_ns != 0 && segment.seq == rst_at(flow, from) {
        accept(flow, from);
        flow.end_mut(from).bits |= doubt;
        return;
    }
    let with_ack = if segment.has(ACK) { RST_WITH_ACK } else { 0 };
    let end = flow.end_mut(from);
    // Without data segments the number itself was taken for their end (`sparse::infer`).
    let is_beyond = !mode.is_full() || after(segment.seq, end.next);
    let beyond = if is_beyond { RST_BEYOND } else { 0 };
    let said = RST_DOUBTED | RST_REFUSED | RST_WITH_ACK | RST_BEYOND;
    end.rst_ns = if now_ns == 0 { 1 } else { now_ns };
    end.bits = (end.bits & !said) | doubt | with_ack | beyond;
    close::note_signal(flow, segment);
}

/// Whether the end at `side` waits for the answer to its SYN.
#[inline(always)]
fn is_opening(flow: &Flow, side: Side) -> bool {
    flow.end(side).has(SYN_SEEN) && !flow.end(side.other()).has(SYN_SEEN)
}

/// Whether this RST may answer an acknowledgment that its sender's SYN cannot have caused: the peer
/// still has an earlier connection. Such a RST has that acknowledgment's number and none of its own.
#[inline(always)]
fn answers_another(flow: &Flow, segment: &Segment) -> bool {
    let sender = flow.end(segment.sender);
    let own = segment.seq.wrapping_sub(sender.isn) <= sender.next.wrapping_sub(sender.isn);
    is_opening(flow, Side(segment.sender.0 & 1)) && !segment.has(ACK) && !own
}

/// A SYN: where one end waits for an answer to its own, a RST that it sent before was none of this
/// connection's. Its numbers begin with the SYN again.
#[inline(always)]
pub(super) fn open_on(flow: &mut Flow, segment: &Segment) {
    let from = Side(segment.sender.0 & 1);
    let opener = if segment.has(ACK) { from.other() } else { from };
    if !is_opening(flow, opener) || !flow.end(opener).has(RST_DOUBTED) {
        return;
    }
    disprove(flow, opener);
    let end = flow.end_mut(opener);
    (end.acked, end.next) = (end.isn, end.isn.wrapping_add(1));
    (end.ack_wraps, end.wraps) = (0, 0);
}

/// Whether the receiver's expectations can be told at all.
#[inline(always)]
const fn numbers_are_known(sender: &End, receiver: &End) -> bool {
    sender.state.0 >= EndpointState::ESTABLISHED.0
        && receiver.state.0 >= EndpointState::ESTABLISHED.0
        && receiver.has(HAS_WINDOW)
}

/// What a segment tells of a RST that was seen before it and did not stand where one was due.
///
/// A receiver that sends on, and does not expect the RST's number, has refused it: that was a
/// challenge ACK, or more. A sender whose bytes end just there was in order, and only captured
/// out of it. Where the receiver has a socket here, the socket decides instead.
#[inline(always)]
pub(super) fn learn(flow: &mut Flow, segment: &Segment) {
    let from = Side(segment.sender.0 & 1);
    let peer = from.other();
    if segment.has(RST | SYN) {
        return;
    }
    let was_in_order = segment.seq != segment.end() && segment.end() == rst_at(flow, from);
    if was_in_order && !flow.end(peer).has(TRACKED) {
        accept(flow, from);
    }
    if is_opening(flow, peer) {
        // Of what the peer had before, and no word on this connection.
        return;
    }
    if flow.end(peer).has(RST_DOUBTED) && !flow.end(from).has(TRACKED) {
        if segment.has(ACK) && segment.ack == rst_at(flow, peer) {
            accept(flow, peer);
        } else {
            disprove(flow, peer);
        }
    }
}

/// The sequence number of the last RST of the end at `side`.
#[inline(always)]
fn rst_at(flow: &Flow, side: Side) -> u32 {
    flow.end(side).isn.wrapping_add(flow.end(side).last_rst)
}

/// The RST of the end at `sender` counts after all.
#[inline(always)]
pub(super) fn accept(flow: &mut Flow, sender: Side) {
    if flow.end(sender).has(RST_REFUSED) {
        flow.challenges = flow.challenges.saturating_sub(1);
    }
    flow.end_mut(sender).bits &= !(RST_DOUBTED | RST_REFUSED);
}

/// The doubted RST of the end at `sender` closed nothing.
#[inline(always)]
pub(super) fn disprove(flow: &mut Flow, sender: Side) {
    let number = rst_at(flow, sender);
    let end = flow.end_mut(sender);
    if end.has(RST_DOUBTED) {
        end.bits = (end.bits & !RST_DOUBTED) | RST_REFUSED;
        if end.has(RST_BEYOND) && end.next == number {
            // It may have come from anywhere: nothing was sent up to its number.
            end.next = if end.fins != 0 { end.fin_end() } else { end.acked };
        }
        flow.challenges = flow.challenges.saturating_add(1);
    }
}
