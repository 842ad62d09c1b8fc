//! Zeek's reading of a segment: sequence numbers, letters, windows and acknowledgments.
//!
//! The order of the steps within a packet is Zeek's (`TCPSessionAdapter::Process`), as letters
//! depend on it; the steps are named after what they decide.

use super::{
    DID_CLOSE, End, EndpointState, Flow, HAS_WINDOW, Mode, PARTIAL, RST_REFUSED, SEEN, SYN_SEEN,
    gap, history, states,
};
use crate::key::Side;
use crate::segment::{ACK, FIN, NO_WINDOW_SCALE, PAYLOAD_CUT, RST, SYN, Segment};
use crate::seq::{after, before};

/// A jump of sequence numbers that a SYN or RST is not believed (Zeek's `TOO_LARGE_SEQ_DELTA`).
const TOO_LARGE_JUMP: i32 = 1_048_576;

/// RFC 7323, 2.3: larger shifts count as this one.
const MAX_WINDOW_SCALE: u8 = 14;

/// Moves the endpoint states, numbers and history by one segment.
#[inline(always)]
pub(super) fn process(flow: &mut Flow, segment: &Segment, mode: Mode, now_ns: u64) {
    let from = Side(segment.sender.0 & 1);
    let peer = from.other();
    let is_orig = from.index() == flow.orig.index();

    note_partial(flow, from, segment, is_orig);
    start_numbers(flow.end_mut(from), segment);
    if mode.is_full() {
        take_data(flow, from, segment);
    }
    write_letters(flow, from, segment);
    take_window(flow, from, segment);
    if !(flow.end(from).has(DID_CLOSE) && flow.end(peer).has(DID_CLOSE)) {
        flow.last_ns = now_ns;
    }
    if segment.has(SYN) {
        take_window_scale(flow, from, segment);
        let end = flow.end_mut(from);
        end.syns = end.syns.saturating_add(1);
        end.bits |= SYN_SEEN;
    }
    if segment.has(FIN) {
        let end = flow.end_mut(from);
        end.fins = end.fins.saturating_add(1);
    }
    if segment.has(RST) {
        let end = flow.end_mut(from);
        end.rsts = end.rsts.saturating_add(1);
    }
    take_ack(flow, from, segment);
    advance(flow, from, segment);
    if states::move_state(flow, from, segment) {
        states::settle(flow, from, now_ns);
    }
    if mode.is_full() && segment.has(ACK) {
        gap::acknowledged(flow, peer);
    }
    flow.end_mut(from).bits |= SEEN;
}

/// The segment's data, for the search for gaps. Numbers before the first are not believed.
#[inline(always)]
fn take_data(flow: &mut Flow, from: Side, segment: &Segment) {
    let end = flow.end(from);
    let at = segment.seq.wrapping_sub(end.isn);
    if segment.payload != 0
        && !segment.has(RST)
        && segment.marks & PAYLOAD_CUT == 0
        && !is_underflow(end, segment.seq, end.next, false)
    {
        let first = if segment.has(SYN) { at } else { at.wrapping_sub(1) };
        gap::received(flow, from, first, segment.payload);
    }
}

/// Whether a SYN on this flow's tuple begins another connection.
///
/// Zeek's `IsReuse`, but for a bare SYN that crosses the other end's (RFC 9293, 3.5), which is the
/// simultaneous open of this connection, and for the first SYN shown again after the close. Zeek
/// begins another connection with both.
#[inline(always)]
pub(super) fn is_reuse(flow: &Flow, segment: &Segment) -> bool {
    let (orig, resp) = (flow.end(flow.orig), flow.end(flow.orig.other()));
    let is_syn_ack = segment.has(ACK);
    if is_syn_ack && orig.state != EndpointState::INACTIVE {
        return false;
    }
    let (began, isn) = if is_syn_ack { (resp.state, resp.isn) } else { (orig.state, orig.isn) };
    if segment.seq == isn {
        return false;
    }
    if orig.has(DID_CLOSE) && resp.has(DID_CLOSE) {
        return true;
    }
    if is_syn_ack || resp.state != EndpointState::INACTIVE {
        // Both ends of a simultaneous open repeat their SYNs.
        return !(resp.has(SYN_SEEN) && orig.has(SYN_SEEN) && segment.seq == resp.isn);
    }
    let reversed = began == EndpointState::SYN_ACK_SENT && segment.seq == resp.isn;
    let crossed = began == EndpointState::SYN_SENT
        && segment.sender.index() != flow.orig.index()
        && orig.has(SYN_SEEN);
    !(reversed || crossed)
}

#[inline(always)]
fn note_partial(flow: &mut Flow, from: Side, segment: &Segment, is_orig: bool) {
    if flow.end(from).has(SEEN) {
        return;
    }
    if is_orig {
        if segment.flags & (SYN | ACK) == SYN {
            flow.marks &= !PARTIAL;
        } else {
            flow.marks |= PARTIAL;
        }
    } else if flow.marks & PARTIAL == 0 && !segment.has(SYN) {
        flow.marks |= PARTIAL;
    }
}

/// The sequence number after the segment. A RST's data is no part of the stream.
#[inline(always)]
fn end_of(segment: &Segment) -> u32 {
    if segment.has(RST) { segment.end().wrapping_sub(segment.payload) } else { segment.end() }
}

/// Where numbering starts. Without a SYN, as if one had stood before the first byte. A SYN with
/// another number begins anew; Zeek lets a repeated one begin anew too, and forgets the bytes.
#[inline(always)]
fn start_numbers(end: &mut End, segment: &Segment) {
    let syn = segment.has(SYN);
    let state = end.state;
    if state == EndpointState::INACTIVE {
        end.isn = if syn { segment.seq } else { segment.seq.wrapping_sub(1) };
        end.acked = end.isn;
        end.next = if syn { end_of(segment) } else { segment.seq };
        return;
    }
    let guess_wrong = segment.seq != end.isn
        && (state.0 <= EndpointState::ESTABLISHED.0
            || (state == EndpointState::RESET && end.prev_state == EndpointState::INACTIVE));
    if syn && guess_wrong {
        end.isn = segment.seq;
        end.acked = segment.seq;
        end.next = end_of(segment);
    }
}

/// Whether `number` lies before the start of the end's numbering, as `last` and the count of
/// wraps tell.
#[inline(always)]
fn is_underflow(end: &End, number: u32, last: u32, of_acks: bool) -> bool {
    let wraps = if of_acks { end.ack_wraps } else { end.wraps };
    let delta = number.wrapping_sub(last) as i32;
    let behind = delta < 0 && wraps != 0 && number > last;
    let ahead = delta > 0 && number < last;
    let wraps = if behind { wraps - 1 } else { wraps };
    wraps == 0 && !ahead && (number.wrapping_sub(end.isn) as i32) < 0
}

#[inline(always)]
fn write_letters(flow: &mut Flow, from: Side, segment: &Segment) {
    let at = segment.seq.wrapping_sub(flow.end(from).isn);
    let control = segment.flags & (SYN | FIN | RST);
    if control == 0 {
        if segment.payload != 0 {
            history::add_once(flow, from, history::DATA_LETTER, b'D');
        } else if segment.has(ACK) {
            history::add_once(flow, from, history::ACK_LETTER, b'A');
        }
    } else if control == SYN {
        let letter = if segment.has(ACK) { b'H' } else { b'S' };
        if history::add_once(flow, from, history::SYN_LETTER, letter)
            && at != flow.end(from).last_syn
        {
            history::add(flow, from, letter);
        }
        flow.end_mut(from).last_syn = at;
    } else if control == FIN {
        // A FIN stands after its segment's data.
        let at = at.wrapping_add(segment.payload);
        let seen = history::add_once(flow, from, history::FIN_LETTER, b'F');
        if seen && flow.end(from).fins != 0 && at != flow.end(from).last_fin {
            history::add(flow, from, b'F');
        }
        flow.end_mut(from).last_fin = at;
    } else if control == RST {
        let seen = history::add_once(flow, from, history::RST_LETTER, b'R');
        if seen && flow.end(from).rsts != 0 && at != flow.end(from).last_rst {
            history::add(flow, from, b'R');
        }
        note_rst(flow.end_mut(from), at);
    } else if control & (FIN | RST) == FIN | RST {
        history::add_once(flow, from, history::FIN_RST_LETTER, b'I');
    } else {
        history::add_once(flow, from, history::MULTI_FLAG_LETTER, b'Q');
    }
}

/// Keeps where a RST stood.
#[inline(always)]
fn note_rst(end: &mut End, at: u32) {
    end.last_rst = at;
    let [lowest, highest] = end.rst_span;
    if end.rsts == 0 || before(at, lowest) {
        end.rst_span[0] = at;
    }
    if end.rsts == 0 || after(at, highest) {
        end.rst_span[1] = at;
    }
}

/// Zero windows are worth a letter unless the peer will send nothing more anyway.
#[inline(always)]
fn take_window(flow: &mut Flow, from: Side, segment: &Segment) {
    if segment.has(RST) || flow.end(from).state == EndpointState::RESET {
        return;
    }
    if segment.window == 0 && flow.end(from.other()).state != EndpointState::CLOSED {
        history::count_zero_window(flow, from);
    }
    let end = flow.end_mut(from);
    let scale = if segment.has(SYN) { 0 } else { end.window_scale & 0xf };
    end.window = u32::from(segment.window) << scale;
}

/// The scale holds if both SYNs carry the option (RFC 7323, 2.2).
#[inline(always)]
fn take_window_scale(flow: &mut Flow, from: Side, segment: &Segment) {
    let peer = from.other();
    if segment.window_scale == NO_WINDOW_SCALE {
        flow.end_mut(from).window_scale = 0;
        if segment.has(ACK) {
            flow.end_mut(peer).window_scale = 0;
        }
    } else if segment.window_scale > MAX_WINDOW_SCALE {
        flow.end_mut(from).window_scale = MAX_WINDOW_SCALE;
    } else {
        flow.end_mut(from).window_scale = segment.window_scale;
    }
    flow.end_mut(from).bits |= HAS_WINDOW;
}

/// Moves what the peer has had acknowledged, where the number can be believed.
#[inline(always)]
fn take_ack(flow: &mut Flow, from: Side, segment: &Segment) {
    if !segment.has(ACK) {
        return;
    }
    let peer = flow.end_mut(from.other());
    if peer.state == EndpointState::INACTIVE {
        let isn = segment.ack.wrapping_sub(1);
        peer.isn = isn;
        peer.acked = isn;
        peer.next = isn;
        return;
    }
    // A RST's number is not trusted.
    if segment.has(RST) || is_underflow(peer, segment.ack, peer.acked, true) {
        return;
    }
    let delta = segment.ack.wrapping_sub(peer.acked) as i32;
    // An acknowledgment of 0 from afar is rather a broken one.
    if delta > 0 && !(segment.ack == 0 && delta > TOO_LARGE_JUMP) {
        if segment.ack < peer.acked {
            peer.ack_wraps = peer.ack_wraps.saturating_add(1);
        }
        peer.acked = segment.ack;
    }
}

/// How far the end has sent; a segment with data that does not reach further is a retransmission.
#[inline(always)]
fn advance(flow: &mut Flow, from: Side, segment: &Segment) {
    let end = flow.end_mut(from);
    let to = end_of(segment);
    let delta = to.wrapping_sub(end.next) as i32;
    let too_far = delta.unsigned_abs() > TOO_LARGE_JUMP as u32;
    if segment.has(SYN | RST) && too_far {
        return;
    }
    // Where only the SYN was seen before a FIN, more than 2^31 bytes may lie between.
    let only_syn_seen = end.next == end.isn.wrapping_add(1);
    // One that goes on after its RST sends on, whatever Zeek makes of its state.
    let sends = end.state != EndpointState::RESET || end.has(RST_REFUSED);
    if segment.has(FIN) && only_syn_seen || sends && delta > 0 {
        // A number just before the SYN's is an old one, though, and not 4 GiB ahead.
        if to < end.next && (delta > 0 || too_far) {
            end.wraps = end.wraps.saturating_add(1);
        }
        end.next = to;
    } else if end.state != EndpointState::RESET && segment.payload != 0 {
        history::count_retransmission(flow, from);
    }
}
