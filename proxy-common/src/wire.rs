//! From the bytes of a frame to a [`Segment`].
//!
//! Headers are fetched one by one through [`Bytes`], so that the same code reads a socket buffer
//! in the kernel (`bpf_skb_load_bytes` checks the bounds) and a slice of a capture file.

mod options;
mod plain;
#[cfg(test)]
mod tests;

pub use options::timestamps;
use options::window_scale;
pub use plain::{SYN_OPTIONS, plain_v4, plain_v6};

use crate::key::{Endpoint, FlowKey};
use crate::segment::{ACK, AUTHENTICATED, NO_WINDOW_SCALE, PAYLOAD_UNKNOWN, SYN, Segment};
use bytemuck::{Pod, Zeroable};

/// Something that headers can be loaded from.
pub trait Bytes {
    /// Copies the `N` bytes at `offset` to `to`; false where the frame has fewer.
    fn copy<const N: usize>(&self, offset: u32, to: &mut [u8; N]) -> bool;

    /// The frame's length on the wire, in bytes, the link header included.
    fn frame_len(&self) -> u32;

    /// The `N` bytes at `offset`.
    ///
    /// # Errors
    /// [`Refusal::Truncated`] where the frame has fewer.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Result<[u8; N], Refusal> {
        let mut bytes = Aligned([0; N]);
        if self.copy(offset, &mut bytes.0) { Ok(bytes.0) } else { Err(Refusal::Truncated) }
    }
}

/// Bytes that are cleared word by word: unaligned, BPF clears them one by one.
#[repr(align(8))]
struct Aligned<const N: usize>([u8; N]);

/// A frame in memory, of which `frame_len` bytes were on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The bytes at hand; a capture with a snap length has only the first ones.
    pub bytes: &'a [u8],
    /// The frame's length on the wire.
    pub frame_len: u32,
}

impl Bytes for Frame<'_> {
    #[inline]
    fn copy<const N: usize>(&self, offset: u32, to: &mut [u8; N]) -> bool {
        let found = self.bytes.get(offset as usize..).and_then(|rest| rest.first_chunk());
        found.inspect(|bytes| *to = **bytes).is_some()
    }

    fn frame_len(&self) -> u32 {
        self.frame_len
    }
}

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An Ethernet header, with VLAN tags (802.1Q, 802.1ad) or without.
    Ethernet,
    /// An IPv4 or IPv6 header: tun, PPP and tunnel devices.
    Ip,
}

/// Why a frame gave no segment.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// IP, but not TCP.
    NotTcp,
    /// A fragment other than the first: it holds no TCP header.
    Fragment,
    /// The bytes end before the TCP header does.
    Truncated,
    /// A header's own length is impossible, or there are more extension headers or VLAN tags
    /// than are looked at.
    Malformed,
}

/// A segment, the connection that it belongs to, and where its headers stand in the frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Packet {
    /// The connection.
    pub key: FlowKey,
    /// The segment; `segment.vantage` is left alone.
    pub segment: Segment,
    /// Offset of the IP header.
    pub ip_offset: u16,
    /// Offset of the TCP header.
    pub tcp_offset: u16,
    /// Length of the TCP header with its options.
    pub tcp_header_len: u16,
    /// Always 0.
    pub reserved: u16,
}

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const ETHERTYPE_QINQ_OLD: u16 = 0x9100;
/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;

/// VLAN tags looked through: QinQ has two.
const MAX_TAGS: usize = 2;
/// IPv6's extension headers by their numbers (RFC 8200, 4; RFC 4302; RFC 6275).
pub mod extension {
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// Destination options.
    pub const DESTINATION: u8 = 60;
    /// Mobility.
    pub const MOBILITY: u8 = 135;
}

/// Whether an IPv6 header is an extension header that is looked through.
#[inline(always)]
const fn is_extension(header: u8) -> bool {
    use extension::{AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, MOBILITY, ROUTING};
    matches!(header, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY)
}

/// IPv6 extension headers looked through; more than these are not seen on real paths (RFC 9098).
const MAX_EXTENSIONS: usize = 6;

/// What the IP header says of its payload.
struct Ip {
    /// Offset of the TCP header.
    tcp: u32,
    /// Offset of the end of the IP packet.
    end: u32,
    /// [`PAYLOAD_UNKNOWN`] where it is a fragment, [`AUTHENTICATED`].
    marks: u8,
}

/// Reads the headers of a frame into `packet`, which holds nothing of use after an error.
///
/// It is written in place, as it would take a fifth of the stack that a kernel program has.
///
/// # Errors
/// A [`Refusal`] where the frame is not TCP over IP, or cannot be understood without a guess.
#[inline(always)]
pub fn parse<B: Bytes>(bytes: &B, link: Link, packet: &mut Packet) -> Result<(), Refusal> {
    let ip_offset = match link {
        Link::Ethernet => ethernet(bytes)?,
        Link::Ip => 0,
    };
    let version = bytes.load::<1>(ip_offset)?[0] >> 4;
    let ip = if version == 4 {
        ipv4(bytes, ip_offset, &mut packet.key)?
    } else if version == 6 {
        ipv6(bytes, ip_offset, &mut packet.key)?
    } else {
        return Err(Refusal::NotIp);
    };
    packet.ip_offset = ip_offset as u16;
    tcp(bytes, &ip, packet)
}

/// [`parse`] for a frame in memory, seen at `vantage`.
///
/// # Errors
/// As [`parse`].
pub fn parse_slice(
    bytes: &[u8],
    link: Link,
    frame_len: u32,
    vantage: u32,
) -> Result<Packet, Refusal> {
    let mut packet = Packet::zeroed();
    parse(&Frame { bytes, frame_len }, link, &mut packet)?;
    packet.segment.vantage = vantage;
    Ok(packet)
}

/// The offset of the IP header behind an Ethernet header and its tags.
#[inline(always)]
fn ethernet<B: Bytes>(bytes: &B) -> Result<u32, Refusal> {
    let mut offset = 12;
    for _ in 0..=MAX_TAGS {
        let kind = u16::from_be_bytes(bytes.load(offset)?);
        if kind == ETHERTYPE_IPV4 || kind == ETHERTYPE_IPV6 {
            return Ok(offset + 2);
        }
        if kind != ETHERTYPE_VLAN && kind != ETHERTYPE_QINQ && kind != ETHERTYPE_QINQ_OLD {
            return Err(Refusal::NotIp);
        }
        offset += 4;
    }
    Err(Refusal::Malformed)
}

/// IPv4 (RFC 791).
#[inline(always)]
fn ipv4<B: Bytes>(bytes: &B, offset: u32, key: &mut FlowKey) -> Result<Ip, Refusal> {
    let header: [u8; 20] = bytes.load(offset)?;
    if header[9] != PROTOCOL_TCP {
        return Err(Refusal::NotTcp);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    if fragment & 0x1fff != 0 {
        return Err(Refusal::Fragment);
    }
    let header_len = u32::from(header[0] & 0x0f) * 4;
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    if header_len < 20 || (total != 0 && total < header_len) {
        return Err(Refusal::Malformed);
    }
    key.ends[0] = Endpoint::v4([header[12], header[13], header[14], header[15]], 0);
    key.ends[1] = Endpoint::v4([header[16], header[17], header[18], header[19]], 0);
    Ok(Ip {
        tcp: offset + header_len,
        end: end_of_packet(bytes, offset, total, 0),
        marks: if fragment & 0x2000 != 0 { PAYLOAD_UNKNOWN } else { 0 },
    })
}

/// IPv6 (RFC 8200) with hop-by-hop, routing, destination, fragment and authentication headers.
#[inline(always)]
fn ipv6<B: Bytes>(bytes: &B, offset: u32, key: &mut FlowKey) -> Result<Ip, Refusal> {
    let fixed: [u8; 8] = bytes.load(offset)?;
    if !bytes.copy(offset + 8, &mut key.ends[0].addr)
        || !bytes.copy(offset + 24, &mut key.ends[1].addr)
    {
        return Err(Refusal::Truncated);
    }
    let payload = u32::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let mut next = fixed[6];
    let mut at = offset + 40;
    let mut marks = 0;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next) {
            break;
        }
        if next == extension::FRAGMENT {
            let header: [u8; 8] = bytes.load(at)?;
            let fragment = u16::from_be_bytes([header[2], header[3]]);
            if fragment & 0xfff8 != 0 {
                return Err(Refusal::Fragment);
            }
            marks |= if fragment & 1 != 0 { PAYLOAD_UNKNOWN } else { 0 };
            next = header[0];
            at += 8;
        } else if next == extension::AUTHENTICATION {
            // Its length counts words of four, less two (RFC 4302).
            let header: [u8; 2] = bytes.load(at)?;
            marks |= AUTHENTICATED;
            next = header[0];
            at += (u32::from(header[1]) + 2) * 4;
        } else {
            let header: [u8; 2] = bytes.load(at)?;
            next = header[0];
            at += (u32::from(header[1]) + 1) * 8;
        }
    }
    match next {
        PROTOCOL_TCP => Ok(Ip { tcp: at, end: end_of_packet(bytes, offset, payload, 40), marks }),
        // What is behind one more is not looked at.
        more if is_extension(more) => Err(Refusal::Malformed),
        _ => Err(Refusal::NotTcp),
    }
}

/// Where the IP packet ends. Its own length excludes Ethernet's padding; it is 0 in jumbograms
/// and in packets that the network card will cut (BIG TCP), where the frame's length counts.
#[inline(always)]
fn end_of_packet<B: Bytes>(bytes: &B, offset: u32, stated: u32, fixed: u32) -> u32 {
    if stated == 0 { bytes.frame_len() } else { offset + fixed + stated }
}

/// TCP (RFC 9293, 3.1) and the options that the machine uses (RFC 7323). The key holds source and
/// destination address, in this order.
#[inline(always)]
fn tcp<B: Bytes>(bytes: &B, ip: &Ip, packet: &mut Packet) -> Result<(), Refusal> {
    let header: [u8; 20] = bytes.load(ip.tcp)?;
    let header_len = u32::from(header[12] >> 4) * 4;
    if header_len < 20 || ip.tcp + header_len > ip.end {
        return Err(Refusal::Malformed);
    }
    packet.key.ends[0].port = u16::from_be_bytes([header[0], header[1]]);
    packet.key.ends[1].port = u16::from_be_bytes([header[2], header[3]]);
    let segment = &mut packet.segment;
    segment.sender = packet.key.put_in_order();
    let flags = header[13];
    let ack = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    segment.seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    segment.ack = if flags & ACK != 0 { ack } else { 0 };
    segment.payload = ip.end - ip.tcp - header_len;
    segment.timestamp = 0;
    segment.timestamp_echo = 0;
    segment.window = u16::from_be_bytes([header[14], header[15]]);
    segment.flags = flags;
    segment.window_scale = if flags & SYN != 0 {
        window_scale(bytes, ip.tcp + 20, ip.tcp + header_len)
    } else {
        NO_WINDOW_SCALE
    };
    segment.marks = ip.marks;
    segment.reserved = 0;
    packet.tcp_offset = ip.tcp as u16;
    packet.tcp_header_len = header_len as u16;
    packet.reserved = 0;
    Ok(())
}
