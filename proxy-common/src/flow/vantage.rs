//! One connection seen at several places counts once.
//!
//! On a proxy host a segment may pass two hooks (loopback's egress and ingress, both ends of a
//! veth pair, a bridge and its port). The first place that showed a direction is its vantage;
//! from there a repeat is a retransmission. From elsewhere a segment counts only if it brings
//! something that the vantage has not shown.

use super::{CLOSED, Flow, SEEN};
use crate::key::Side;
use crate::segment::{ACK, FIN, RST, SYN, Segment};
use crate::seq::{after, before};

/// Whether `segment` only repeats, from elsewhere, what was seen.
#[inline(always)]
#[must_use]
pub fn shows_again(flow: &Flow, segment: &Segment) -> bool {
    let from = Side(segment.sender.0 & 1);
    let end = flow.end(from);
    if !end.has(SEEN) || end.vantage == segment.vantage {
        return false;
    }
    let at = segment.seq.wrapping_sub(end.isn);
    if segment.has(SYN) {
        return end.syns != 0 && at == end.last_syn;
    }
    if segment.has(RST) {
        // A burst of them may pass one place whole before the first reaches the next.
        let [lowest, highest] = end.rst_span;
        return end.rsts != 0 && !before(at, lowest) && !after(at, highest);
    }
    if segment.has(FIN) {
        return end.fins != 0 && at.wrapping_add(segment.payload) == end.last_fin;
    }
    let acks_more = segment.has(ACK) && after(segment.ack, flow.end(from.other()).acked);
    flow.has(CLOSED) || !(after(segment.end(), end.next) || acks_more)
}

/// Keeps the place where this direction was first seen.
#[inline(always)]
pub(super) fn remember(flow: &mut Flow, segment: &Segment) {
    let end = flow.end_mut(Side(segment.sender.0 & 1));
    if !end.has(SEEN) {
        end.vantage = segment.vantage;
    }
}
