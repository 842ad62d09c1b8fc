//! A segment back into the bytes of a packet: what the kernel side kept of it is its headers.

use proxy_common::key::FlowKey;
use proxy_common::segment::{ACK, HAS_TIMESTAMP, NO_WINDOW_SCALE, Segment};

/// Bytes of data that are kept at most with a segment.
pub const MOST_PAYLOAD: usize = 9_000;

/// Puts an IP packet with the segment into `out`, with the first bytes of its data; returns the
/// length that the packet had on the wire.
pub fn put(out: &mut Vec<u8>, key: &FlowKey, segment: &Segment, payload: &[u8]) -> u32 {
    let payload = &payload[..payload.len().min(segment.payload as usize).min(MOST_PAYLOAD)];
    let mut options = Vec::with_capacity(16);
    if segment.window_scale != NO_WINDOW_SCALE {
        options.extend([1, 3, 3, segment.window_scale]);
    }
    if segment.marks & HAS_TIMESTAMP != 0 {
        options.extend([1, 1, 8, 10]);
        options.extend(segment.timestamp.to_be_bytes());
        options.extend(segment.timestamp_echo.to_be_bytes());
    }
    let tcp_len = 20 + options.len() as u32 + segment.payload;
    let start = out.len();
    let ip_len = put_ip(out, key, segment, tcp_len);
    let (source, destination) = (key.end(segment.sender), key.end(segment.sender.other()));
    let tcp = out.len();
    out.extend(source.port.to_be_bytes());
    out.extend(destination.port.to_be_bytes());
    out.extend(segment.seq.to_be_bytes());
    out.extend(if segment.flags & ACK != 0 { segment.ack } else { 0 }.to_be_bytes());
    out.extend([((20 + options.len()) << 2) as u8, segment.flags]);
    out.extend(segment.window.to_be_bytes());
    out.extend([0; 4]);
    out.extend(&options);
    out.extend(payload);
    // Of data that is not here no sum can be made: it stays 0, as with offloading.
    if payload.len() == segment.payload as usize {
        let addresses = if is_v4(key) { start + 12..start + 20 } else { start + 8..start + 40 };
        let sum = 6 + tcp_len + sum(&out[addresses]) + sum(&out[tcp..]);
        out[tcp + 16..tcp + 18].copy_from_slice(&folded(sum).to_be_bytes());
    }
    ip_len
}

fn is_v4(key: &FlowKey) -> bool {
    key.ends.iter().all(|end| end.is_ipv4())
}

/// The IP header; returns the packet's length on the wire.
fn put_ip(out: &mut Vec<u8>, key: &FlowKey, segment: &Segment, tcp_len: u32) -> u32 {
    let (source, destination) = (key.end(segment.sender), key.end(segment.sender.other()));
    if is_v4(key) {
        let start = out.len();
        let len = 20 + tcp_len;
        // A length that 16 bits cannot hold is 0, as the kernel has it before segmentation.
        let stated = u16::try_from(len).unwrap_or(0);
        out.extend([0x45, 0]);
        out.extend(stated.to_be_bytes());
        out.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        out.extend(&source.addr[12..]);
        out.extend(&destination.addr[12..]);
        let sum = folded(sum(&out[start..]));
        out[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
        len
    } else {
        out.extend([0x60, 0, 0, 0]);
        out.extend(u16::try_from(tcp_len).unwrap_or(0).to_be_bytes());
        out.extend([6, 64]);
        out.extend(source.addr);
        out.extend(destination.addr);
        40 + tcp_len
    }
}

/// The sum of 16-bit words (RFC 1071), not yet folded.
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)))
        .sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::link::{self, LinkType};
    use proxy_common::key::Endpoint;
    use proxy_common::segment::{FIN, SYN};

    fn segment(flags: u8, payload: u32) -> Segment {
        Segment {
            seq: 7,
            ack: 9,
            payload,
            timestamp: 1,
            timestamp_echo: 2,
            vantage: 0,
            window: 500,
            flags,
            window_scale: if flags & SYN != 0 { 10 } else { NO_WINDOW_SCALE },
            sender: proxy_common::key::Side::LOW,
            marks: HAS_TIMESTAMP,
            reserved: 0,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let v4 = (Endpoint::v4([192, 0, 2, 1], 4000), Endpoint::v4([192, 0, 2, 2], 80));
        let v6 = (Endpoint::v6([0x20; 16], 4000), Endpoint::v6([0x30; 16], 80));
        for (client, server) in [v4, v6] {
            let (key, _) = FlowKey::new(client, server);
            for (flags, payload) in [(SYN | ACK, 0), (FIN | ACK, 3), (FIN | ACK, 70_000)] {
                let written = segment(flags, payload);
                let mut bytes = Vec::new();
                let len = put(&mut bytes, &key, &written, b"abcdef");
                let (read, rest) = link::segment(LinkType::Ip, &bytes, len, 0).unwrap();
                assert_eq!((read.key, read.segment), (key, written));
                assert!(link::checksum_is_right(&read, rest));
            }
        }
    }
}
