//! Gaps: bytes that the peer acknowledged and that were never seen (letters g and G).
//!
//! Zeek keeps the bytes and notices the holes; here two ranges ahead of order are kept for each
//! end. Numbers are distances from the end's first byte.

use super::{End, EndpointState, Flow, GAPS_OFF, PARTIAL, history, paths};
use crate::key::Side;

/// Unacknowledged bytes ahead of a hole after which gaps are no longer looked for (Zeek's
/// `tcp_max_above_hole_without_any_acks`): the peer's packets are not seen.
const MAX_AHEAD_UNACKED: u32 = 16_384;

#[inline(always)]
const fn is_before(a: u32, b: u32) -> bool {
    crate::seq::before(a, b)
}

/// The end at `from` sent `len` bytes, the first of them at distance `first`.
#[inline(always)]
pub(super) fn received(flow: &mut Flow, from: Side, first: u32, len: u32) {
    let end = flow.end_mut(from);
    let last = first.wrapping_add(len);
    if end.has(GAPS_OFF) || !is_before(end.in_order, last) {
        return;
    }
    if is_before(end.in_order, first) {
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

/// The peer acknowledged this end's bytes up to the sequence number at distance `at` from `isn`.
#[inline(always)]
pub(super) fn acknowledged(flow: &mut Flow, of: Side, at: u32) {
    let partial = flow.marks & PARTIAL != 0;
    let end = flow.end_mut(of);
    // A FIN has no byte of its own.
    let fin = end.last_fin.wrapping_add(1);
    let at = if end.fins != 0 && !is_before(at, fin) { end.last_fin } else { at };
    let to = at.wrapping_sub(1);
    if !is_before(end.in_order, to) {
        return;
    }
    if partial && at <= 2 {
        // Numbering was a guess; the first acknowledgment may well be off by one.
        return;
    }
    // Each range kept may end one gap; one more may reach up to the acknowledgment. The letters
    // come one by one, as each may be a tenth.
    leap_range(flow, of, to);
    leap_range(flow, of, to);
    let end = flow.end_mut(of);
    if is_before(end.in_order, to) {
        end.in_order = to;
        let missed = !end.has(GAPS_OFF);
        join(end);
        if missed {
            count(flow, of);
        }
    } else {
        join(end);
    }
}

/// Goes over one gap to the next range, if one begins before `to`.
#[inline(always)]
fn leap_range(flow: &mut Flow, of: Side, to: u32) {
    let end = flow.end_mut(of);
    let leapt = !end.has(GAPS_OFF) && leap(end, to);
    let leapt = paths::blur(flow, leapt);
    paths::forget();
    if leapt {
        count(flow, of);
    }
    paths::forget();
}

#[inline(always)]
fn count(flow: &mut Flow, of: Side) {
    if is_clean(flow.end(of)) && is_clean(flow.end(of.other())) {
        history::count_gap(flow, of);
    }
}

/// Goes over one gap to the lowest range that begins before `to`; says whether there was one.
#[inline(always)]
fn leap(end: &mut End, to: u32) -> bool {
    let [a, b] = end.ahead;
    let (a_set, b_set) = (a[0] != a[1], b[0] != b[1]);
    let first = if a_set && (!b_set || is_before(a[0], b[0])) { a } else { b };
    if first[0] == first[1] || !is_before(first[0], to) {
        return false;
    }
    if is_before(end.in_order, first[0]) {
        end.in_order = first[0];
        join(end);
        return true;
    }
    false
}

/// Takes up the ranges that the bytes in order have reached.
#[inline(always)]
fn join(end: &mut End) {
    paths::forget();
    join_one(end, 0);
    paths::forget();
    join_one(end, 1);
    paths::forget();
    join_one(end, 0);
    paths::forget();
}

#[inline(always)]
fn join_one(end: &mut End, index: usize) {
    let [first, last] = end.ahead[index];
    if first == last || is_before(end.in_order, first) {
        return;
    }
    if is_before(end.in_order, last) {
        end.in_order = last;
    }
    end.ahead[index] = [0; 2];
}

/// Keeps a range ahead of order: with one that it touches, in a free place, or with the nearest
/// one, and then a gap between the two is forgotten.
#[inline(always)]
fn keep_ahead(end: &mut End, first: u32, last: u32) {
    if !(touch(&mut end.ahead[0], first, last) || touch(&mut end.ahead[1], first, last)) {
        let [a, b] = end.ahead;
        if a[0] == a[1] {
            end.ahead[0] = [first, last];
        } else if b[0] == b[1] {
            end.ahead[1] = [first, last];
        } else {
            let later = usize::from(is_before(a[0], b[0]));
            widen(&mut end.ahead[later & 1], first, last);
        }
    }
    let [a, b] = end.ahead;
    if a[0] != a[1] && b[0] != b[1] && !is_before(a[1], b[0]) && !is_before(b[1], a[0]) {
        widen(&mut end.ahead[0], b[0], b[1]);
        end.ahead[1] = [0; 2];
    }
}

#[inline(always)]
fn touch(range: &mut [u32; 2], first: u32, last: u32) -> bool {
    let [low, high] = *range;
    if low == high || is_before(high, first) || is_before(last, low) {
        return false;
    }
    widen(range, first, last);
    true
}

#[inline(always)]
fn widen(range: &mut [u32; 2], first: u32, last: u32) {
    if is_before(first, range[0]) {
        range[0] = first;
    }
    if is_before(range[1], last) {
        range[1] = last;
    }
}

/// Zeek looks for gaps only where both ends are established, or closed by FIN from there.
#[inline(always)]
fn is_clean(end: &End) -> bool {
    end.state == EndpointState::ESTABLISHED
        || (end.state == EndpointState::CLOSED && end.prev_state == EndpointState::ESTABLISHED)
}
