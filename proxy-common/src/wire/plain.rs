//! The usual headers read in one go: IPv4 without options or IPv6 without extension headers, and
//! a TCP segment; a SYN with its options in one of the usual orders.
//!
//! [`super::parse`] reads every form, and piece by piece, which is a helper call for each in the
//! kernel. What is not usual is left to it, and so is what is wrong: both always say the same.

use super::{NO_WINDOW_SCALE, PROTOCOL_TCP, Packet};
use crate::key::Endpoint;
use crate::segment::{ACK, SYN};

/// Bytes of options in a SYN whose window scale is found here.
pub const SYN_OPTIONS: usize = 20;

/// An IPv4 header and a TCP header, at `ip_offset` of the frame; for a SYN [`SYN_OPTIONS`] bytes
/// more. Returns false, and leaves nothing of use in `packet`, where [`super::parse`] has to look.
#[inline(always)]
#[must_use]
pub fn plain_v4<const N: usize>(header: &[u8; N], ip_offset: u16, packet: &mut Packet) -> bool {
    const { assert!(N >= 40) };
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
pub fn plain_v6<const N: usize>(header: &[u8; N], ip_offset: u16, packet: &mut Packet) -> bool {
    const { assert!(N >= 60) };
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
    if header_len < 20 || header_len > len {
        return false;
    }
    let mut window_scale = NO_WINDOW_SCALE;
    if flags & SYN != 0 {
        if N < at + 20 + SYN_OPTIONS {
            return false;
        }
        window_scale = usual_window_scale(header, at + 20, header_len - 20);
        if window_scale == NO_WINDOW_SCALE {
            return false;
        }
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
    segment.window_scale = window_scale;
    segment.marks = 0;
    segment.reserved = 0;
    packet.tcp_offset = packet.ip_offset + at as u16;
    packet.tcp_header_len = header_len as u16;
    packet.reserved = 0;
    true
}

/// The window scale of a SYN's `len` bytes of options at `at`, where they stand as Linux or Windows
/// write them: the first is always MSS. [`NO_WINDOW_SCALE`] where they do not.
#[inline(always)]
const fn usual_window_scale<const N: usize>(header: &[u8; N], at: usize, len: u32) -> u8 {
    if half(header, at) != MSS {
        return NO_WINDOW_SCALE;
    }
    let next = word(header, at + 4);
    if len == 20 && next == SACK_PERMITTED_TIMESTAMPS && triple(header, at + 16) == NOP_WINDOW_SCALE
    {
        return header[at + 19];
    }
    if len == 12 && next == NOP_NOP_SACK_PERMITTED && triple(header, at + 8) == NOP_WINDOW_SCALE {
        return header[at + 11];
    }
    if len == 12 && triple(header, at + 4) == NOP_WINDOW_SCALE {
        let rest = word(header, at + 8);
        return if rest == NOP_NOP_SACK_PERMITTED { header[at + 7] } else { NO_WINDOW_SCALE };
    }
    NO_WINDOW_SCALE
}

/// MSS (kind 2, RFC 9293) and its length.
const MSS: u16 = 0x0204;
/// SACK-permitted (kind 4, RFC 2018), then the kind and length of timestamps (8, RFC 7323).
const SACK_PERMITTED_TIMESTAMPS: u32 = 0x0402_080a;
/// Two NOPs (kind 1), then SACK-permitted.
const NOP_NOP_SACK_PERMITTED: u32 = 0x0101_0402;
/// A NOP, then the kind and length of window scale (3, RFC 7323).
const NOP_WINDOW_SCALE: u32 = 0x01_0303;

/// Three bytes, in network order.
#[inline(always)]
const fn triple<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]])
}

#[inline(always)]
const fn half<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

#[inline(always)]
const fn word<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SYN;
    use crate::wire::{Link, parse_slice};
    use bytemuck::Zeroable as _;
    use proptest::prelude::*;

    /// An IPv4 packet: a TCP header with these flags and options, and some payload.
    fn ipv4(flags: u8, options: &[u8], payload: usize) -> Vec<u8> {
        let header_len = 20 + options.len();
        let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, PROTOCOL_TCP, 0, 0];
        packet.extend([10, 0, 0, 2, 10, 0, 0, 1]);
        packet.extend([0x1f, 0x90, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8]);
        packet.extend([(header_len as u8 / 4) << 4, flags, 1, 0, 0, 0, 0, 0]);
        packet.extend(options);
        packet.resize(packet.len() + payload, 0);
        let len = u16::try_from(packet.len()).expect("a short packet");
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet
    }

    /// What is read at once, of a packet that is long enough for it.
    fn at_once(packet: &[u8]) -> Option<Packet> {
        let mut read = Packet::zeroed();
        let is_read = if packet[33] & SYN == 0 {
            plain_v4::<40>(packet.first_chunk()?, 0, &mut read)
        } else {
            plain_v4::<60>(packet.first_chunk()?, 0, &mut read)
        };
        is_read.then_some(read)
    }

    const LINUX: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 1, 1, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    const LINUX_PLAIN: [u8; 12] = [2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 9];
    const WINDOWS: [u8; 12] = [2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2];

    #[test]
    fn the_usual_syns_are_read_at_once() {
        for (options, scale) in [(&LINUX[..], 7), (&LINUX_PLAIN, 9), (&WINDOWS, 8)] {
            let packet = ipv4(SYN, options, 20 - options.len());
            let read = at_once(&packet).expect("read at once");
            assert_eq!(read.segment.window_scale, scale);
        }
    }

    proptest! {
        /// Options of few kinds, so that many packets are nearly usual ones.
        #[test]
        fn at_once_or_piece_by_piece_is_the_same(
            flags: u8,
            base in prop::sample::select(vec![LINUX.to_vec(), LINUX_PLAIN.to_vec(), WINDOWS.to_vec()]),
            changes in prop::collection::vec((0_usize..20, 0_u8..12), 0..4),
            payload in 0_usize..40,
        ) {
            let mut options = base;
            for (at, byte) in changes {
                let at = at % options.len();
                options[at] = byte;
            }
            let packet = ipv4(flags, &options, payload);
            if let Some(read) = at_once(&packet) {
                let frame_len = packet.len() as u32;
                prop_assert_eq!(Ok(read), parse_slice(&packet, Link::Ip, frame_len, 0));
            }
        }
    }
}
