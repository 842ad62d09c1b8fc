//! A small reader of classic pcap files, written for the tests alone: what it says of a packet
//! must not depend on teardown's own parser.

use std::net::{IpAddr, SocketAddr};

/// FIN, SYN, RST and ACK in the flags byte.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// One TCP packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
    pub(crate) source: SocketAddr,
    pub(crate) target: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// The shift of the window scale option.
    pub(crate) window_scale: Option<u8>,
    /// Whether it has the timestamps option (RFC 7323).
    pub(crate) timestamps: bool,
    /// TSval and TSecr, where it has.
    pub(crate) stamps: [u32; 2],
    /// Whether it has SACK blocks (RFC 2018).
    pub(crate) sack: bool,
    /// Bytes of data by the IP header's length, also where the capture was cut.
    pub(crate) payload: u32,
}

impl Packet {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The sequence number after it.
    pub(crate) fn end(&self) -> u32 {
        let phantom = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.seq.wrapping_add(self.payload).wrapping_add(phantom)
    }
}

/// The TCP packets of a pcap file; a record that is not whole yet ends the reading.
pub(crate) fn read(file: &[u8]) -> Vec<Packet> {
    let Some((header, mut rest)) = file.split_at_checked(24) else { return Vec::new() };
    let (swapped, nanoseconds) = match header[..4] {
        [0xd4, 0xc3, 0xb2, 0xa1] => (false, false),
        [0x4d, 0x3c, 0xb2, 0xa1] => (false, true),
        [0xa1, 0xb2, 0xc3, 0xd4] => (true, false),
        [0xa1, 0xb2, 0x3c, 0x4d] => (true, true),
        _ => panic!("not a classic pcap file: {:02x?}", &header[..4]),
    };
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("four bytes");
        if swapped { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let link = word(&header[20..24]) & 0xffff;
    let mut packets = Vec::new();
    while let Some((record, after)) = rest.split_at_checked(16) {
        let captured = word(&record[8..12]) as usize;
        let Some((frame, after)) = after.split_at_checked(captured) else { break };
        rest = after;
        let scale = if nanoseconds { 1 } else { 1000 };
        let fraction = u64::from(word(&record[4..8])) * scale;
        let time = u64::from(word(&record[..4])) * 1_000_000_000 + fraction;
        packets.extend(network_layer(link, frame).and_then(|packet| of_ip(time, packet)));
    }
    packets
}

/// What the link layer carries, from the IP header on.
fn network_layer(link: u32, frame: &[u8]) -> Option<&[u8]> {
    match link {
        0 => frame.get(4..),
        1 => {
            let mut at = 12;
            while matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
                at += 4;
            }
            matches!(frame.get(at..at + 2)?, [0x08, 0x00] | [0x86, 0xdd]).then(|| &frame[at + 2..])
        }
        12 | 101 | 228 | 229 => Some(frame),
        113 => frame.get(16..),
        276 => frame.get(20..),
        _ => panic!("link type {link} is not for these tests"),
    }
}

/// The TCP packet in an IP packet.
pub(crate) fn of_ip(time: u64, packet: &[u8]) -> Option<Packet> {
    match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 15) * 4;
            let fixed = packet.get(..20)?;
            let fragment_offset = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff;
            if fixed[9] != 6 || fragment_offset != 0 {
                return None;
            }
            let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
            // Big TCP: a length of 0 means that the buffer itself says it.
            let total = if total == 0 { packet.len() } else { total };
            let source: [u8; 4] = fixed[12..16].try_into().ok()?;
            let target: [u8; 4] = fixed[16..20].try_into().ok()?;
            let length = total.checked_sub(header)?;
            tcp(time, source.into(), target.into(), packet.get(header..)?, length)
        }
        6 => {
            let fixed = packet.get(..40)?;
            let source: [u8; 16] = fixed[8..24].try_into().ok()?;
            let target: [u8; 16] = fixed[24..40].try_into().ok()?;
            let mut length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
            let (mut next, mut at) = (fixed[6], 40);
            // Hop-by-hop, routing and destination options (RFC 8200, 4).
            while matches!(next, 0 | 43 | 60) {
                let option = packet.get(at..at + 2)?;
                let size = (usize::from(option[1]) + 1) * 8;
                next = option[0];
                at += size;
                length = length.checked_sub(size)?;
            }
            (next == 6)
                .then(|| tcp(time, source.into(), target.into(), packet.get(at..)?, length))?
        }
        _ => None,
    }
}

fn tcp(time: u64, source: IpAddr, target: IpAddr, segment: &[u8], length: usize) -> Option<Packet> {
    let fixed = segment.get(..20)?;
    let header = usize::from(fixed[12] >> 4) * 4;
    let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| fixed[at + byte]));
    let port = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let options = segment.get(20..header).unwrap_or_default();
    Some(Packet {
        time,
        source: SocketAddr::new(source, port(0)),
        target: SocketAddr::new(target, port(2)),
        seq: number(4),
        ack: number(8),
        flags: fixed[13],
        window: port(14),
        window_scale: option(options, 3).and_then(|value| value.first().copied()),
        timestamps: option(options, 8).is_some(),
        stamps: option(options, 8).map_or([0; 2], |value| {
            let stamp = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| value[at + byte]));
            [stamp(0), stamp(4)]
        }),
        sack: option(options, 5).is_some(),
        payload: u32::try_from(length.checked_sub(header)?).ok()?,
    })
}

/// The value of the first option of this kind.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [] | [0, ..] => return None,
            [1, rest @ ..] => options = rest,
            [kind, length, ..] if *length >= 2 => {
                let whole = options.get(..usize::from(*length))?;
                if *kind == wanted {
                    return Some(&whole[2..]);
                }
                options = &options[whole.len()..];
            }
            _ => return None,
        }
    }
}
