//! The usual headers read in one go: IPv4 without options or IPv6 without extension headers, and
//! a TCP segment that is no SYN.
//!
//! [`super::parse`] reads every form, and piece by piece, which is a helper call for each in the
//! kernel. What is not usual is left to it, and so is what is wrong: both always say the same.

use super::{NO_WINDOW_SCALE, PROTOCOL_TCP, Packet};
use crate::key::Endpoint;
use crate::segment::{ACK, SYN};

/// An IPv4 header and a TCP header, at `ip_offset` of the frame. Returns false, and leaves nothing
/// of use in `packet`, where [`super::parse`] has to look.
#[inline(always)]
#[must_use]
pub fn plain_v4(header: &[u8; 40], ip_offset: u16, packet: &mut Packet) -> bool {
    let fragment = (header[6] & 0x3f) | header[7];
    if header[0] != 0x45 || header[9] != PROTOCOL_TCP || fragment != 0 {
        return false;
    }
    packet.key.ends[0] = Endpoint::v4([header[12], header[13], header[14], header[15]], 0);
    packet.key.ends[1] = Endpoint::v4([header[16], header[17], header[18], header[19]], 0);
    packet.ip_offset = ip_offset;
    tcp(header, 20, u32::from(half(header, 2)).saturating_sub(20), packet)
}

/// An IPv6 header and a TCP header, as [`plain_v4`].
#[inline(always)]
#[must_use]
pub fn plain_v6(header: &[u8; 60], ip_offset: u16, packet: &mut Packet) -> bool {
    if header[0] >> 4 != 6 || header[6] != PROTOCOL_TCP {
        return false;
    }
    let [low, high] = &mut packet.key.ends;
    low.addr.copy_from_slice(&header[8..24]);
    high.addr.copy_from_slice(&header[24..40]);
    packet.ip_offset = ip_offset;
    tcp(header, 40, u32::from(half(header, 4)), packet)
}

/// The TCP header at `at`, of a segment of `len` bytes with its header. A length of 0 means that
/// the frame's own counts, which is not known here.
#[inline(always)]
fn tcp<const N: usize>(header: &[u8; N], at: usize, len: u32, packet: &mut Packet) -> bool {
    let header_len = u32::from(header[at + 12] >> 4) * 4;
    let flags = header[at + 13];
    if flags & SYN != 0 || header_len < 20 || header_len > len {
        return false;
    }
    packet.key.ends[0].port = half(header, at);
    packet.key.ends[1].port = half(header, at + 2);
    let segment = &mut packet.segment;
    segment.sender = packet.key.put_in_order();
    segment.seq = word(header, at + 4);
    segment.ack = if flags & ACK != 0 { word(header, at + 8) } else { 0 };
    segment.payload = len - header_len;
    segment.timestamp = 0;
    segment.timestamp_echo = 0;
    segment.window = half(header, at + 14);
    segment.flags = flags;
    segment.window_scale = NO_WINDOW_SCALE;
    segment.marks = 0;
    segment.reserved = 0;
    packet.tcp_offset = packet.ip_offset + at as u16;
    packet.tcp_header_len = header_len as u16;
    packet.reserved = 0;
    true
}

#[inline(always)]
const fn half<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

#[inline(always)]
const fn word<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
