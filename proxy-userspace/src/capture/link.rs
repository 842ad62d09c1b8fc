//! From a captured frame to the IP packet in it, whatever the link type.
//!
//! Behind the link header come tags (VLAN, VN-tag, FabricPath, PPPoE, MPLS) and tunnels (IP in
//! IP, GRE, VXLAN), which are looked through as far as a segment is found behind them.

use proxy_common::wire::extension::{DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING};
use proxy_common::wire::{self, Packet, Refusal};

/// Link types by their number in tcpdump.org's registry.
mod number {
    pub(super) const NULL: i32 = 0;
    pub(super) const ETHERNET: i32 = 1;
    pub(super) const PPP: i32 = 9;
    pub(super) const PPP_HDLC: i32 = 50;
    pub(super) const PPP_ETHER: i32 = 51;
    /// What OpenBSD and old libpcap files call raw IP.
    pub(super) const RAW_OLD: [i32; 2] = [12, 14];
    pub(super) const RAW: i32 = 101;
    pub(super) const C_HDLC: i32 = 104;
    pub(super) const LOOP: i32 = 108;
    pub(super) const LINUX_SLL: i32 = 113;
    pub(super) const PPP_PPPD: i32 = 166;
    pub(super) const IPV4: i32 = 228;
    pub(super) const IPV6: i32 = 229;
    pub(super) const LINUX_SLL2: i32 = 276;
}

mod ethertype {
    /// Below is the length of an IEEE 802.3 frame.
    pub(super) const MOST_LENGTH: u16 = 1500;
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    /// Transparent Ethernet bridging: a whole frame follows (GRE's NVGRE and ERSPAN I).
    pub(super) const BRIDGED: u16 = 0x6558;
    pub(super) const MPLS: u16 = 0x8847;
    pub(super) const PPPOE: u16 = 0x8864;
    pub(super) const FABRIC_PATH: u16 = 0x8903;
    pub(super) const VN_TAG: u16 = 0x8926;
    /// 802.1Q, 802.1ad, its forerunner, and Cisco's internal tag.
    pub(super) const TAGS: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x8a88];
}

/// Tags and tunnels that are looked through.
const MAX_DEPTH: u32 = 8;
/// The headers of LLC and SNAP before an ethertype.
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];
/// The UDP ports of VXLAN: the registered one, and Linux's of old.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];

/// The link type of a file or of one of its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet.
    Ethernet,
    /// An IP packet without a link header.
    Ip,
    /// The address family in the capturing host's byte order, in four bytes.
    Null,
    /// Linux's "cooked" header of `-i any`.
    Sll,
    /// Its second version, which tells the interface.
    Sll2,
    /// PPP, with or without the two bytes of HDLC.
    Ppp,
    /// PPP behind a byte that tells the direction (pppd).
    PppWithDirection,
    /// PPP over Ethernet, from its own header on.
    Pppoe,
    /// Cisco's HDLC.
    Chdlc,
}

impl LinkType {
    /// The link type of a registered number; `None` where it is not known here.
    #[must_use]
    pub fn of(registered: i32) -> Option<Self> {
        // The upper bits hold the length of the frame check sequence (pcap) or nothing.
        Some(match registered & 0xffff {
            number::ETHERNET => Self::Ethernet,
            number::RAW | number::IPV4 | number::IPV6 => Self::Ip,
            old if number::RAW_OLD.contains(&old) => Self::Ip,
            number::NULL | number::LOOP => Self::Null,
            number::LINUX_SLL => Self::Sll,
            number::LINUX_SLL2 => Self::Sll2,
            number::PPP | number::PPP_HDLC => Self::Ppp,
            number::PPP_PPPD => Self::PppWithDirection,
            number::PPP_ETHER => Self::Pppoe,
            number::C_HDLC => Self::Chdlc,
            _ => return None,
        })
    }
}

/// What follows at an offset.
#[derive(Clone, Copy)]
enum Next {
    /// An Ethernet header.
    Ethernet,
    /// Whatever this ethertype stands for.
    Ether(u16),
    /// A PPP protocol field of one or two bytes.
    Ppp,
    /// An IPv4 or IPv6 header.
    Ip,
}

/// Finds the segment in a captured frame of `frame_len` bytes on the wire. Offsets in the packet
/// count from the returned slice's start, which is the IP header's.
///
/// # Errors
/// A [`Refusal`] where there is none.
pub fn segment(
    link: LinkType,
    bytes: &[u8],
    frame_len: u32,
    vantage: u32,
) -> Result<(Packet, &[u8]), Refusal> {
    // By far the most captures are of this kind.
    if link == LinkType::Ethernet && bytes.get(12..14) == Some(&[0x08, 0x00]) {
        return ip(&bytes[14..], frame_len.saturating_sub(14), vantage, 0);
    }
    let (next, offset, vantage) = match link {
        LinkType::Ethernet => (Next::Ethernet, 0, vantage),
        LinkType::Ip => (Next::Ip, 0, vantage),
        LinkType::Null => (Next::Ip, 4, vantage),
        LinkType::Sll => {
            // Packets that come in and go out pass different places (4 is "outgoing").
            let outgoing = u32::from(word(bytes, 0)? == 4);
            (Next::Ether(word(bytes, 14)?), 16, vantage << 1 | outgoing)
        }
        LinkType::Sll2 => {
            let interface = u32::from(word(bytes, 6)?);
            let outgoing = u32::from(byte(bytes, 10)? == 4);
            (Next::Ether(word(bytes, 0)?), 20, interface << 1 | outgoing)
        }
        LinkType::Ppp => (Next::Ppp, hdlc(bytes, 0)?, vantage),
        LinkType::PppWithDirection => (Next::Ppp, hdlc(bytes, 1)?, vantage),
        LinkType::Pppoe => (Next::Ppp, 6, vantage),
        LinkType::Chdlc => (Next::Ether(word(bytes, 2)?), 4, vantage),
    };
    follow(next, bytes, offset, frame_len, vantage, 0)
}

/// Looks through what stands between `offset` and the IP header.
fn follow(
    mut next: Next,
    bytes: &[u8],
    mut offset: usize,
    frame_len: u32,
    vantage: u32,
    depth: u32,
) -> Result<(Packet, &[u8]), Refusal> {
    for _ in 0..MAX_DEPTH {
        next = match next {
            Next::Ip | Next::Ether(ethertype::IPV4 | ethertype::IPV6) => {
                let rest = bytes.get(offset..).ok_or(Refusal::Truncated)?;
                let left = frame_len.saturating_sub(offset as u32);
                return ip(rest, left, vantage, depth);
            }
            Next::Ethernet => {
                let kind = word(bytes, offset + 12)?;
                offset += 14;
                // IEEE 802.3 has a length there; LLC and SNAP tell the ethertype (RFC 1042).
                if bytes.get(offset..offset + 6) == Some(&SNAP) && kind <= ethertype::MOST_LENGTH {
                    offset += 8;
                    Next::Ether(word(bytes, offset - 2)?)
                } else {
                    Next::Ether(kind)
                }
            }
            Next::Ether(kind) if ethertype::TAGS.contains(&kind) => {
                let kind = word(bytes, offset + 2)?;
                offset += 4;
                Next::Ether(kind)
            }
            Next::Ether(ethertype::VN_TAG) => {
                let kind = word(bytes, offset + 4)?;
                offset += 6;
                Next::Ether(kind)
            }
            // A tag of two bytes, then a whole frame.
            Next::Ether(ethertype::FABRIC_PATH) => {
                offset += 2;
                Next::Ethernet
            }
            Next::Ether(ethertype::BRIDGED) => Next::Ethernet,
            Next::Ether(ethertype::PPPOE) => {
                offset += 6;
                Next::Ppp
            }
            Next::Ether(ethertype::MPLS) => {
                // Labels of four bytes; the last has the bottom-of-stack bit.
                while byte(bytes, offset + 2)? & 1 == 0 {
                    offset += 4;
                }
                offset += 4;
                Next::Ip
            }
            Next::Ether(_) => return Err(Refusal::NotIp),
            Next::Ppp => {
                // The first byte of an uncompressed protocol field is even (RFC 1661, 2).
                let first = byte(bytes, offset)?;
                let (protocol, len) =
                    if first & 1 == 1 { (u16::from(first), 1) } else { (word(bytes, offset)?, 2) };
                offset += len;
                match protocol {
                    0x0021 | 0x0057 => Next::Ip,
                    0x0281 => Next::Ether(ethertype::MPLS),
                    _ => return Err(Refusal::NotIp),
                }
            }
        };
    }
    Err(Refusal::Malformed)
}

/// The segment in an IP packet, or in the tunnel that the packet carries.
fn ip(bytes: &[u8], len: u32, vantage: u32, depth: u32) -> Result<(Packet, &[u8]), Refusal> {
    match wire::parse_slice(bytes, wire::Link::Ip, len, vantage) {
        Ok(mut packet) => {
            wire::timestamps(&wire::Frame { bytes, frame_len: len }, &mut packet);
            Ok((packet, bytes))
        }
        Err(Refusal::NotTcp) if depth < MAX_DEPTH => tunnel(bytes, len, vantage, depth + 1),
        Err(refusal) => Err(refusal),
    }
}

/// Looks into IP in IP (RFC 2003, RFC 4213), GRE (RFC 2784, RFC 2890) and VXLAN (RFC 7348).
fn tunnel(bytes: &[u8], len: u32, vantage: u32, depth: u32) -> Result<(Packet, &[u8]), Refusal> {
    let (protocol, offset) = match byte(bytes, 0)? >> 4 {
        // The tunnel's own header stands in the first fragment.
        4 if word(bytes, 6)? & 0x1fff != 0 => return Err(Refusal::Fragment),
        4 => (byte(bytes, 9)?, usize::from(byte(bytes, 0)? & 0x0f) * 4),
        6 => behind_extensions(bytes)?,
        _ => return Err(Refusal::NotIp),
    };
    let (next, offset) = match protocol {
        4 | 41 => (Next::Ip, offset),
        47 => {
            let flags = word(bytes, offset)?;
            if flags & 7 != 0 {
                return Err(Refusal::NotTcp);
            }
            // Checksum, key and sequence number are there as the flags say, four bytes each.
            let optional = (flags & 0xb000).count_ones() as usize * 4;
            (Next::Ether(word(bytes, offset + 2)?), offset + 4 + optional)
        }
        17 if VXLAN_PORTS.contains(&word(bytes, offset + 2)?) => (Next::Ethernet, offset + 16),
        _ => return Err(Refusal::NotTcp),
    };
    follow(next, bytes, offset, len, vantage, depth).map_err(|refusal| match refusal {
        // What a tunnel carries besides IP is no concern of a reader of TCP.
        Refusal::NotIp => Refusal::NotTcp,
        other => other,
    })
}

/// The protocol behind IPv6's extension headers (RFC 8200, 4), and where it begins. Tunnels put one
/// before what they carry (RFC 2473, 4.1).
fn behind_extensions(bytes: &[u8]) -> Result<(u8, usize), Refusal> {
    let (mut protocol, mut offset) = (byte(bytes, 6)?, 40);
    for _ in 0..MAX_DEPTH {
        let len = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(byte(bytes, offset + 1)?) + 1) * 8,
            FRAGMENT if word(bytes, offset + 2)? & 0xfff8 != 0 => return Err(Refusal::Fragment),
            FRAGMENT => 8,
            _ => break,
        };
        protocol = byte(bytes, offset)?;
        offset += len;
    }
    Ok((protocol, offset))
}

/// Where the PPP protocol field stands: behind HDLC's address and control bytes, if they are there.
fn hdlc(bytes: &[u8], offset: usize) -> Result<usize, Refusal> {
    Ok(if word(bytes, offset)? == 0xff03 { offset + 2 } else { offset })
}

fn byte(bytes: &[u8], offset: usize) -> Result<u8, Refusal> {
    bytes.get(offset).copied().ok_or(Refusal::Truncated)
}

fn word(bytes: &[u8], offset: usize) -> Result<u16, Refusal> {
    match bytes.get(offset..offset + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Refusal::Truncated),
    }
}

/// Whether the TCP checksum of a segment is right (RFC 9293, 3.1). `bytes` begins with the IP
/// header; a packet of which bytes are missing counts as right, as nothing speaks against it.
#[must_use]
pub fn checksum_is_right(packet: &Packet, bytes: &[u8]) -> bool {
    let start = usize::from(packet.tcp_offset);
    let tcp_len = usize::from(packet.tcp_header_len) + packet.segment.payload as usize;
    let Some(tcp) = bytes.get(start..start + tcp_len) else { return true };
    let addresses = if bytes[0] >> 4 == 4 { &bytes[12..20] } else { &bytes[8..40] };
    let mut sum = 6 + u64::from(tcp_len as u32 & 0xffff) + u64::from(tcp_len as u32 >> 16);
    for part in [addresses, tcp] {
        let (pairs, last) = part.as_chunks::<2>();
        sum += pairs.iter().map(|&pair| u64::from(u16::from_be_bytes(pair))).sum::<u64>();
        sum += last.first().map_or(0, |&byte| u64::from(byte) << 8);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}

#[cfg(test)]
mod tests;
