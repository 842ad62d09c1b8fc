//! Gaps: bytes that the peer acknowledged and that were never seen (letters g and G).
//!
//! Zeek keeps the bytes and notices the holes. Here the bytes in order are counted, and for each
//! end two ranges ahead of order are kept. Where that is too few, a hole between two ranges is
//! forgotten: a gap may be missed, and none is made up. Numbers are distances from the end's
//! first byte.

use super::{End, EndpointState, Flow, GAPS_OFF, PARTIAL, history};
use crate::key::Side;
use crate::seq::before;

/// Unacknowledged bytes ahead of a hole after which gaps are no longer looked for (Zeek's
/// `tcp_max_above_hole_without_any_acks`): the peer's packets are not seen.
const MAX_AHEAD_UNACKED: u32 = 16_384;

/// The end at `from` sent `len` bytes, the first of them at distance `first`.
#[inline(always)]
pub(super) fn received(flow: &mut Flow, from: Side, first: u32, len: u32) {
    let end = flow.end_mut(from);
    let last = first.wrapping_add(len);
    if end.has(GAPS_OFF) || !before(end.in_order, last) {
        return;
    }
    if before(end.in_order, first) {
        keep_ahead(end, first, last);
        let acked = end.acked.wrapping_sub(end.isn);
        if acked <= 1 && last.wrapping_sub(end.in_order) > MAX_AHEAD_UNACKED {
            end.ahead = [[0; 2]; 2];
            end.bits |= GAPS_OFF;
        }
    } else {
        end.in_order = last;
        join(end);
    }
}

/// The peer acknowledged this end's bytes up to `acked`.
#[inline(always)]
pub(super) fn acknowledged(flow: &mut Flow, of: Side) {
    let counts = is_clean(flow.end(of)) && is_clean(flow.end(of.other()));
    let partial = flow.has(PARTIAL);
    let end = flow.end_mut(of);
    // A FIN has no byte of its own.
    let at = end.acked.wrapping_sub(end.isn);
    let fin = end.last_fin.wrapping_add(1);
    let at = if end.fins != 0 && !before(at, fin) { end.last_fin } else { at };
    let to = at.wrapping_sub(1);
    if !before(end.in_order, to) {
        return;
    }
    if partial && at <= 2 {
        // Numbering was a guess; the first acknowledgment may well be off by one.
        return;
    }
    // One gap before each range ahead, and one more up to the acknowledgment.
    leap(flow, of, to, counts);
    leap(flow, of, to, counts);
    let end = flow.end_mut(of);
    if before(end.in_order, to) {
        end.in_order = to;
        count(flow, of, counts);
    }
    join(flow.end_mut(of));
}

#[inline(always)]
fn count(flow: &mut Flow, of: Side, counts: bool) {
    if counts && !flow.end(of).has(GAPS_OFF) {
        history::count_gap(flow, of);
    }
}

/// Zeek looks for gaps only where both ends are established, or closed by FIN from there.
#[inline(always)]
fn is_clean(end: &End) -> bool {
    end.state == EndpointState::ESTABLISHED
        || (end.state == EndpointState::CLOSED && end.prev_state == EndpointState::ESTABLISHED)
}

/// Goes over one gap, to the lowest range that begins before `to`.
#[inline(always)]
fn leap(flow: &mut Flow, of: Side, to: u32, counts: bool) {
    let end = flow.end_mut(of);
    let [a, b] = end.ahead;
    let first = if is_lower(a, b) { a } else { b };
    if first[0] != first[1] && before(first[0], to) && before(end.in_order, first[0]) {
        end.in_order = first[0];
        join(end);
        count(flow, of, counts);
    }
}

/// Whether the range `a` is the one to come first.
#[inline(always)]
const fn is_lower(a: [u32; 2], b: [u32; 2]) -> bool {
    b[0] == b[1] || (a[0] != a[1] && before(a[0], b[0]))
}

/// Takes up the ranges that the bytes in order have reached.
#[inline(always)]
fn join(end: &mut End) {
    join_one(end, 0);
    join_one(end, 1);
    join_one(end, 0);
}

#[inline(always)]
fn join_one(end: &mut End, index: usize) {
    let [first, last] = end.ahead[index & 1];
    if before(end.in_order, first) {
        return;
    }
    if first != last && before(end.in_order, last) {
        end.in_order = last;
    }
    end.ahead[index & 1] = [0; 2];
}

/// Keeps a range ahead of order: with one that it touches, in a free place, or with the later
/// one, and then a hole between the two is forgotten.
#[inline(always)]
fn keep_ahead(end: &mut End, first: u32, last: u32) {
    let [a, b] = end.ahead;
    let new = [first, last];
    if touches(a, new) {
        end.ahead[0] = hull(a, new);
    } else if touches(b, new) {
        end.ahead[1] = hull(b, new);
    } else if a[0] == a[1] {
        end.ahead[0] = new;
    } else if b[0] == b[1] {
        end.ahead[1] = new;
    } else if is_lower(a, b) {
        end.ahead[1] = hull(b, new);
    } else {
        end.ahead[0] = hull(a, new);
    }
    let [a, b] = end.ahead;
    if a[0] != a[1] && touches(b, a) {
        end.ahead = [hull(a, b), [0; 2]];
    }
}

/// Whether the range `a` holds anything, and no hole lies between it and `b`.
#[inline(always)]
const fn touches(a: [u32; 2], b: [u32; 2]) -> bool {
    a[0] != a[1] && !before(a[1], b[0]) && !before(b[1], a[0])
}

/// The range from the lower to the upper end of both.
#[inline(always)]
const fn hull(a: [u32; 2], b: [u32; 2]) -> [u32; 2] {
    [if before(b[0], a[0]) { b[0] } else { a[0] }, if before(a[1], b[1]) { b[1] } else { a[1] }]
}
