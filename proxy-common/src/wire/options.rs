//! TCP's options: where one stands (RFC 9293, 3.2), the window scale and the timestamps (RFC 7323).

use super::{Bytes, Packet};
use crate::segment::{HAS_TIMESTAMP, NO_WINDOW_SCALE};

/// TCP options looked at; 40 bytes of options hold few that are not padding.
const MAX_OPTIONS: usize = 20;

/// The shift of the window scale option (kind 3) between `at` and `end`.
#[inline(always)]
pub(super) fn window_scale<B: Bytes>(bytes: &B, at: u32, end: u32) -> u8 {
    match option(bytes, at, end, 3) {
        Some(found) => bytes.load::<1>(found + 2).map_or(NO_WINDOW_SCALE, |[shift]| shift),
        None => NO_WINDOW_SCALE,
    }
}

/// Where the option of `kind` stands between `at` and `end` (RFC 9293, 3.2).
#[inline(always)]
fn option<B: Bytes>(bytes: &B, mut at: u32, end: u32, kind: u8) -> Option<u32> {
    for _ in 0..MAX_OPTIONS {
        if at >= end {
            return None;
        }
        let [this] = bytes.load::<1>(at).ok()?;
        if this == 0 {
            return None;
        }
        if this == 1 {
            at += 1;
            continue;
        }
        let [len] = bytes.load::<1>(at + 1).ok()?;
        if len < 2 || at + u32::from(len) > end {
            return None;
        }
        if this == kind {
            return Some(at);
        }
        at += u32::from(len);
    }
    None
}

/// Reads the timestamps option (kind 8, RFC 7323) of a packet into its segment.
///
/// Apart from [`parse`](super::parse), as only few segments need it and each byte costs a helper
/// call in the kernel. Returns the offset of TSval in the frame.
#[inline(always)]
pub fn timestamps<B: Bytes>(bytes: &B, packet: &mut Packet) -> Option<u32> {
    let start = u32::from(packet.tcp_offset);
    let end = start + u32::from(packet.tcp_header_len);
    let found = option(bytes, start + 20, end, 8)?;
    let values: [u8; 8] = bytes.load(found + 2).ok()?;
    let [a, b, c, d, e, f, g, h] = values;
    packet.segment.timestamp = u32::from_be_bytes([a, b, c, d]);
    packet.segment.timestamp_echo = u32::from_be_bytes([e, f, g, h]);
    packet.segment.marks |= HAS_TIMESTAMP;
    Some(found + 2)
}
