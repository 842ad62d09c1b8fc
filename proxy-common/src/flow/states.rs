//! Zeek's endpoint states: what a segment makes of its sender's, and when an end has closed.

use super::{DID_CLOSE, End, EndpointState, Flow, PARTIAL, history};
use crate::key::Side;
use crate::segment::{ACK, FIN, RST, SYN, Segment};

#[inline(always)]
pub(super) fn set_state(end: &mut End, state: EndpointState) {
    if end.state != state {
        end.prev_state = end.state;
        end.state = state;
    }
}

/// Zeek's state machine; says whether the segment may close this end.
#[inline(always)]
pub(super) fn move_state(flow: &mut Flow, from: Side, segment: &Segment) -> bool {
    let state = flow.end(from).state;
    if state == EndpointState::INACTIVE {
        wake(flow, from, segment)
    } else if state == EndpointState::SYN_SENT || state == EndpointState::SYN_ACK_SENT {
        close_in_handshake(flow.end_mut(from), segment)
    } else if state == EndpointState::ESTABLISHED || state == EndpointState::PARTIAL {
        close_established(flow, from, segment)
    } else if state == EndpointState::CLOSED {
        reset_closed(flow, from, segment)
    } else {
        false
    }
}

/// The first segment of an end.
#[inline(always)]
fn wake(flow: &mut Flow, from: Side, segment: &Segment) -> bool {
    let peer = from.other();
    if segment.has(SYN) {
        if from.index() == flow.orig.index() {
            let state = if segment.has(ACK) {
                EndpointState::SYN_ACK_SENT
            } else {
                EndpointState::SYN_SENT
            };
            set_state(flow.end_mut(from), state);
        } else {
            answer_syn(flow, from, segment);
        }
    }
    if segment.has(FIN) {
        set_state(flow.end_mut(from), EndpointState::CLOSED);
    }
    if segment.has(RST) {
        set_state(flow.end_mut(from), EndpointState::RESET);
    }
    if flow.end(from).state == EndpointState::INACTIVE {
        let is_orig = from.index() == flow.orig.index();
        let acks_a_syn =
            !is_orig && segment.payload == 0 && flow.end(peer).state == EndpointState::SYN_SENT;
        if acks_a_syn {
            // Some acknowledge a SYN before they answer it with theirs.
        } else if segment.has(ACK) && flow.end(peer).state == EndpointState::ESTABLISHED {
            // The SYN was missed, and its answer and the acknowledgment of that were not.
            set_state(flow.end_mut(from), EndpointState::ESTABLISHED);
            flow.marks &= !PARTIAL;
        } else {
            set_state(flow.end_mut(from), EndpointState::PARTIAL);
        }
    }
    segment.has(FIN | RST)
}

/// The responder's first SYN: an answer, one that crossed, or the originator's seen too late.
#[inline(always)]
fn answer_syn(flow: &mut Flow, from: Side, segment: &Segment) {
    let peer = from.other();
    let before = flow.end(peer).state;
    if !segment.has(ACK)
        && before == EndpointState::SYN_ACK_SENT
        && segment.seq == flow.end(from).isn
    {
        // SYN and SYN+ACK were seen in the wrong order: the roles flip.
        flow.marks &= !PARTIAL;
        flow.orig = from;
        history::push(flow, b'^');
        set_state(flow.end_mut(peer), EndpointState::ESTABLISHED);
    } else if before == EndpointState::SYN_SENT {
        set_state(flow.end_mut(peer), EndpointState::ESTABLISHED);
    }
    set_state(flow.end_mut(from), EndpointState::ESTABLISHED);
}

#[inline(always)]
fn close_in_handshake(end: &mut End, segment: &Segment) -> bool {
    if segment.has(FIN) {
        set_state(end, EndpointState::CLOSED);
    }
    if segment.has(RST) {
        set_state(end, EndpointState::RESET);
    }
    segment.has(FIN | RST)
}

#[inline(always)]
fn close_established(flow: &mut Flow, from: Side, segment: &Segment) -> bool {
    let peer = from.other();
    if segment.has(SYN)
        && !segment.has(ACK)
        && flow.end(from).state == EndpointState::PARTIAL
        && flow.end(peer).state == EndpointState::INACTIVE
    {
        set_state(flow.end_mut(from), EndpointState::SYN_SENT);
    }
    if segment.has(RST) {
        set_state(flow.end_mut(from), EndpointState::RESET);
    } else if segment.has(FIN) {
        set_state(flow.end_mut(from), EndpointState::CLOSED);
        let peer = flow.end_mut(peer);
        if peer.state == EndpointState::RESET && peer.prev_state == EndpointState::CLOSED {
            // FIN, then RST, then the other's FIN: the close was a normal one after all.
            set_state(peer, EndpointState::CLOSED);
        }
    }
    segment.has(FIN | RST)
}

/// After its FIN only a RST matters, and only while the peer has not sent its FIN.
#[inline(always)]
fn reset_closed(flow: &mut Flow, from: Side, segment: &Segment) -> bool {
    if !segment.has(RST) || flow.end(from.other()).state == EndpointState::CLOSED {
        return false;
    }
    let end = flow.end_mut(from);
    set_state(end, EndpointState::RESET);
    !end.has(DID_CLOSE)
}

/// This end's close is complete; so is the connection's, if the other's is or cannot come.
#[inline(always)]
pub(super) fn settle(flow: &mut Flow, from: Side, now_ns: u64) {
    if flow.end(from).has(DID_CLOSE) {
        return;
    }
    let end = flow.end_mut(from);
    end.bits |= DID_CLOSE;
    let reset = end.state == EndpointState::RESET;
    let peer = flow.end(from.other());
    let complete = reset || peer.has(DID_CLOSE) || peer.state == EndpointState::INACTIVE;
    if complete && flow.settled_ns == 0 {
        flow.settled_ns = now_ns;
    }
}
