//! A RST that looks exactly as a local socket's own would, as bytes: no socket sends it.

use proxy_common::key::{Endpoint, FlowKey, Side, V4_MAPPED};
use proxy_common::segment::{ACK, RST};

/// TCP options: padding, and timestamps (RFC 7323, 3.2).
const NOP: u8 = 1;
const TIMESTAMPS: u8 = 8;

/// Numbers of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    /// Its sequence number.
    pub seq: u32,
    /// What it acknowledges.
    pub ack: u32,
    /// TSval and TSecr, where the connection uses timestamps.
    pub timestamps: Option<[u32; 2]>,
}

/// The frame of a RST+ACK from the end at `from` to the other. `link` is its link header's
/// destination and source; a device without link headers takes it off again.
#[must_use]
pub(super) fn reset(key: &FlowKey, from: Side, link: [u8; 12], numbers: Numbers) -> Vec<u8> {
    let (source, target) = (key.end(from), key.end(from.other()));
    let segment = segment(source, target, numbers);
    let length = segment.len() as u16;
    let mut frame = link.to_vec();
    if source.addr[..12] == V4_MAPPED {
        frame.extend([0x08, 0x00]);
        let mut header = vec![0x45, 0];
        header.extend((20 + length).to_be_bytes());
        // No identification: it is never fragmented (RFC 6864).
        header.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        header.extend(&source.addr[12..]);
        header.extend(&target.addr[12..]);
        let sum = !ones(0, &header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(header);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([6, 64]);
        frame.extend(source.addr);
        frame.extend(target.addr);
    }
    frame.extend(segment);
    frame
}

fn segment(source: &Endpoint, target: &Endpoint, numbers: Numbers) -> Vec<u8> {
    let mut segment = Vec::with_capacity(32);
    segment.extend(source.port.to_be_bytes());
    segment.extend(target.port.to_be_bytes());
    segment.extend(numbers.seq.to_be_bytes());
    segment.extend(numbers.ack.to_be_bytes());
    let words = if numbers.timestamps.is_some() { 8 } else { 5 };
    segment.extend([words << 4, RST | ACK]);
    // Window, checksum, urgent pointer.
    segment.extend([0; 6]);
    if let Some([value, echo]) = numbers.timestamps {
        segment.extend([NOP, NOP, TIMESTAMPS, 10]);
        segment.extend(value.to_be_bytes());
        segment.extend(echo.to_be_bytes());
    }
    // The pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1). The first twelve bytes of a mapped IPv4
    // address are left out: they belong to no header.
    let from = if source.addr[..12] == V4_MAPPED { 12 } else { 0 };
    let mut sum = ones(6, &(segment.len() as u16).to_be_bytes());
    sum = ones(sum, &source.addr[from..]);
    sum = ones(sum, &target.addr[from..]);
    let sum = !ones(sum, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// The one's complement sum of `bytes`, on top of `sum` (RFC 1071).
fn ones(sum: u16, bytes: &[u8]) -> u16 {
    let mut sum = u32::from(sum);
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_common::wire::{self, Bytes, Link, Packet};

    struct Slice<'a>(&'a [u8]);

    impl Bytes for Slice<'_> {
        fn copy<const N: usize>(&self, offset: u32, to: &mut [u8; N]) -> bool {
            let at = offset as usize;
            self.0.get(at..at + N).is_some_and(|bytes| {
                to.copy_from_slice(bytes);
                true
            })
        }

        fn frame_len(&self) -> u32 {
            self.0.len() as u32
        }
    }

    #[test]
    fn what_is_built_reads_back() {
        let v4 = (Endpoint::v4([10, 0, 0, 1], 40_000), Endpoint::v4([10, 0, 0, 2], 80));
        let address = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        let v6 = (Endpoint::v6(address(9), 443), Endpoint::v6(address(1), 5));
        for (source, target) in [v4, v6] {
            for timestamps in [None, Some([7, 8])] {
                let (key, from) = FlowKey::new(source, target);
                let numbers = Numbers { seq: 0xffff_ffff, ack: 2, timestamps };
                let frame = reset(&key, from, [1; 12], numbers);
                let mut packet: Packet = bytemuck::Zeroable::zeroed();
                wire::parse(&Slice(&frame), Link::Ethernet, &mut packet).expect("TCP");
                assert_eq!((packet.key, packet.segment.sender), (key, from));
                assert_eq!((packet.segment.seq, packet.segment.ack), (0xffff_ffff, 2));
                assert_eq!((packet.segment.flags, packet.segment.payload), (RST | ACK, 0));
                if timestamps.is_some() {
                    assert_eq!(frame[frame.len() - 8..], [0, 0, 0, 7, 0, 0, 0, 8]);
                }
                // A checksum over itself and all that it covers is zero.
                let tcp = usize::from(packet.tcp_offset);
                let ip = usize::from(packet.ip_offset);
                let (first, last) = if tcp == 34 { (12, 20) } else { (8, 40) };
                let mut sum = ones(6, &((frame.len() - tcp) as u16).to_be_bytes());
                sum = ones(sum, &frame[ip + first..ip + last]);
                assert_eq!(ones(sum, &frame[tcp..]), 0xffff);
                if tcp == 34 {
                    assert_eq!(ones(0, &frame[14..34]), 0xffff);
                }
            }
        }
    }
}
