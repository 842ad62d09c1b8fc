//! Zeek's history: one letter for each kind of thing that an end did, in order.

use super::{Flow, HISTORY_CUT, HISTORY_LEN};
use crate::key::Side;

/// `Flow::letters`: the end has sent a SYN.
pub(super) const SYN_LETTER: u16 = 0x01;
/// `Flow::letters`: a FIN.
pub(super) const FIN_LETTER: u16 = 0x02;
/// `Flow::letters`: a RST.
pub(super) const RST_LETTER: u16 = 0x04;
/// `Flow::letters`: FIN and RST in one segment.
pub(super) const FIN_RST_LETTER: u16 = 0x08;
/// `Flow::letters`: data.
pub(super) const DATA_LETTER: u16 = 0x10;
/// `Flow::letters`: a bare acknowledgment.
pub(super) const ACK_LETTER: u16 = 0x20;
/// `Flow::letters`: SYN with FIN or RST.
pub(super) const MULTI_FLAG_LETTER: u16 = 0x40;

/// Adds `letter` as it is.
#[inline(always)]
pub(super) fn push(flow: &mut Flow, letter: u8) {
    let at = flow.history_len as usize;
    if at < HISTORY_LEN {
        flow.history[at] = letter;
        flow.history_len = (at + 1) as u8;
    } else {
        flow.marks |= HISTORY_CUT;
    }
}

/// Adds the upper-case `letter` of the end at `side`: lower case for the responder.
#[inline(always)]
pub(super) fn add(flow: &mut Flow, side: Side, letter: u8) {
    let lower = if side.index() == flow.orig.index() { 0 } else { 0x20 };
    push(flow, letter | lower);
}

/// Adds `letter` unless the end has it already; says whether it had (Zeek's `CheckHistory`).
#[inline(always)]
pub(super) fn add_once(flow: &mut Flow, side: Side, mask: u16, letter: u8) -> bool {
    if flow.letters[side.index()] & mask != 0 {
        return true;
    }
    flow.letters[side.index()] |= mask;
    add(flow, side, letter);
    false
}

/// Whether the `count`th of a kind has a letter: the first, tenth, hundredth...
#[inline(always)]
pub(super) const fn is_power_of_ten(count: u32) -> bool {
    count == 1
        || count == 10
        || count == 100
        || count == 1_000
        || count == 10_000
        || count == 100_000
        || count == 1_000_000
        || count == 10_000_000
        || count == 100_000_000
        || count == 1_000_000_000
}

/// A segment with a wrong checksum.
#[inline(always)]
pub(super) fn count_bad_checksum(flow: &mut Flow, side: Side) {
    let count = flow.end(side).bad_checksums.saturating_add(1);
    flow.end_mut(side).bad_checksums = count;
    if is_power_of_ten(count) {
        add(flow, side, b'C');
    }
}

/// A segment whose data was seen before.
#[inline(always)]
pub(super) fn count_retransmission(flow: &mut Flow, side: Side) {
    let count = flow.end(side).retransmissions.saturating_add(1);
    flow.end_mut(side).retransmissions = count;
    if is_power_of_ten(count) {
        add(flow, side, b'T');
    }
}

/// A segment that offers a window of zero.
#[inline(always)]
pub(super) fn count_zero_window(flow: &mut Flow, side: Side) {
    let count = flow.end(side).zero_windows.saturating_add(1);
    flow.end_mut(side).zero_windows = count;
    if is_power_of_ten(count) {
        add(flow, side, b'W');
    }
}

/// A stretch of this end's bytes that was acknowledged and never seen.
#[inline(always)]
pub(super) fn count_gap(flow: &mut Flow, side: Side) {
    let count = flow.end(side).gaps.saturating_add(1);
    flow.end_mut(side).gaps = count;
    if is_power_of_ten(count) {
        add(flow, side, b'G');
    }
}
