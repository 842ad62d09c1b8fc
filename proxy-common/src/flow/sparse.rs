//! Sparse mode: what a SYN, FIN or RST tells of the segments between, which were not stepped.
//!
//! Numbers tell how many bytes went each way, and so that data and acknowledgments were sent;
//! their letters stand before the control letter that tells of them. Their order among
//! themselves is the usual one, `ADad`.

use super::history::{self, ACK_LETTER, DATA_LETTER};
use super::{Flow, RST_REFUSED, SYN_SEEN};
use crate::key::Side;
use crate::segment::{ACK, FIN, SYN, Segment};
use crate::seq::after;

/// Raises the numbers that `segment` tells of, and adds the letters of what must have gone before.
#[inline(always)]
pub(super) fn infer(flow: &mut Flow, segment: &Segment) {
    let from = Side(segment.sender.0 & 1);
    let peer = from.other();
    let begun = flow.end(from).has(SYN_SEEN) && flow.end(peer).has(SYN_SEEN);
    if segment.has(SYN) || !begun {
        return;
    }
    let end = flow.end_mut(from);
    if after(segment.seq, end.next) {
        if segment.seq < end.next {
            end.wraps = end.wraps.saturating_add(1);
        }
        end.next = segment.seq;
    } else if end.has(RST_REFUSED) {
        // The number of a RST that was refused proved nothing.
        end.next = segment.seq;
    }
    let sent = has_data(flow, from);
    let end = flow.end_mut(peer);
    let mut acks = false;
    if segment.has(ACK) {
        acks = after(segment.ack, end.isn.wrapping_add(1));
        if after(segment.ack, end.acked) {
            if segment.ack < end.acked {
                end.ack_wraps = end.ack_wraps.saturating_add(1);
            }
            end.acked = segment.ack;
        }
    }
    let received = has_data(flow, peer);

    let orig = flow.orig;
    let from_orig = from.index() == orig.index();
    let (orig_data, resp_data) = if from_orig { (sent, received) } else { (received, sent) };
    if orig_data || resp_data || segment.has(FIN) {
        history::add_once(flow, orig, ACK_LETTER, b'A');
    }
    if orig_data {
        history::add_once(flow, orig, DATA_LETTER, b'D');
    }
    if orig_data && (resp_data || (acks && !from_orig)) {
        history::add_once(flow, orig.other(), ACK_LETTER, b'A');
    }
    if resp_data {
        history::add_once(flow, orig.other(), DATA_LETTER, b'D');
    }
}

/// Whether numbers show that the end at `side` sent segments of data. Its SYN and FIN are none,
/// and neither is data in the FIN's own segment: after the FIN, what stood before it is known.
#[inline(always)]
fn has_data(flow: &Flow, side: Side) -> bool {
    let end = flow.end(side);
    if end.fin_ns != 0 {
        return flow.letters[side.index()] & DATA_LETTER != 0;
    }
    let reach = if after(end.acked, end.next) { end.acked } else { end.next };
    after(reach, end.isn.wrapping_add(1))
}
