//! The headers that a stand-in sends, written from nothing: Ethernet, IPv4 or IPv6, TCP.

use super::{StandIn, TIMESTAMPS};
use crate::key::FlowKey;
use crate::wire::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, PROTOCOL_TCP};

/// Length of an Ethernet header.
pub const LINK_LEN: u32 = 14;
/// Length of a TCP header without options.
pub const TCP_LEN: u32 = 20;
/// Length of a TCP header with timestamps, padded as Linux pads them.
pub const TCP_LEN_WITH_TIMESTAMPS: u32 = 32;

/// An IPv4 header without options.
pub type Ipv4 = [u8; 20];
/// An IPv6 header without extension headers.
pub type Ipv6 = [u8; 40];

/// The longest frame that a stand-in sends: over IPv6, with timestamps.
pub const LONGEST_FRAME: usize = LINK_LEN as usize + 40 + TCP_LEN_WITH_TIMESTAMPS as usize;

/// A segment that a stand-in sends.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    /// Who sends it.
    pub stand_in: &'a StandIn,
    /// The connection.
    pub key: &'a FlowKey,
}

impl Header<'_> {
    /// Length of the TCP header.
    #[inline(always)]
    #[must_use]
    pub const fn tcp_len(&self) -> u32 {
        if self.stand_in.has(TIMESTAMPS) { TCP_LEN_WITH_TIMESTAMPS } else { TCP_LEN }
    }

    /// The Ethernet header.
    #[inline(always)]
    #[must_use]
    pub fn link(&self, is_ipv6: bool) -> [u8; LINK_LEN as usize] {
        let mut header = [0; LINK_LEN as usize];
        header[..12].copy_from_slice(&self.stand_in.link);
        let kind = if is_ipv6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
        [header[12], header[13]] = kind.to_be_bytes();
        header
    }

    /// The IPv4 header (RFC 791): never in fragments, so that its identification says nothing
    /// (RFC 6864).
    #[inline(always)]
    #[must_use]
    pub fn ipv4(&self) -> Ipv4 {
        let mut header = [0; 20];
        let [high, low] = (20 + self.tcp_len() as u16).to_be_bytes();
        header[..10].copy_from_slice(&[
            0x45,
            self.stand_in.traffic_class,
            high,
            low,
            0,
            0,
            0x40,
            0,
            self.stand_in.hop_limit,
            PROTOCOL_TCP,
        ]);
        let local = self.stand_in.local;
        header[12..16].copy_from_slice(&self.key.end(local).addr[12..]);
        header[16..20].copy_from_slice(&self.key.end(local.other()).addr[12..]);
        let sum = !fold(sum(&header));
        header[10..12].copy_from_slice(&sum.to_ne_bytes());
        header
    }

    /// The IPv6 header (RFC 8200), without a flow label.
    #[inline(always)]
    #[must_use]
    pub fn ipv6(&self) -> Ipv6 {
        let mut header = [0; 40];
        let class = self.stand_in.traffic_class;
        header[0] = 0x60 | class >> 4;
        header[1] = class << 4;
        [header[4], header[5]] = (self.tcp_len() as u16).to_be_bytes();
        header[6] = PROTOCOL_TCP;
        header[7] = self.stand_in.hop_limit;
        let local = self.stand_in.local;
        header[8..24].copy_from_slice(&self.key.end(local).addr);
        header[24..40].copy_from_slice(&self.key.end(local.other()).addr);
        header
    }

    /// The TCP header with its checksum field at 0, of which [`Header::tcp_len`] bytes count; the
    /// others are 0.
    #[inline(always)]
    #[must_use]
    pub fn tcp(&self, flags: u8, now_ns: u64) -> [u8; TCP_LEN_WITH_TIMESTAMPS as usize] {
        let stand_in = self.stand_in;
        let local = stand_in.local;
        let mut header = [0; TCP_LEN_WITH_TIMESTAMPS as usize];
        header[..2].copy_from_slice(&self.key.end(local).port.to_be_bytes());
        header[2..4].copy_from_slice(&self.key.end(local.other()).port.to_be_bytes());
        header[4..8].copy_from_slice(&stand_in.seq_of(flags).to_be_bytes());
        header[8..12].copy_from_slice(&stand_in.expected.to_be_bytes());
        header[12] = (self.tcp_len() / 4 * 16) as u8;
        header[13] = flags;
        header[14..16].copy_from_slice(&stand_in.window.to_be_bytes());
        if stand_in.has(TIMESTAMPS) {
            header[20..24].copy_from_slice(&[1, 1, 8, 10]);
            header[24..28].copy_from_slice(&stand_in.timestamp_at(now_ns).to_be_bytes());
            header[28..32].copy_from_slice(&stand_in.echo.to_be_bytes());
        }
        header
    }

    /// The whole frame, and how many of its bytes count. Always with an Ethernet header: a
    /// classifier that is run by hand takes nothing else, and a device without link headers takes
    /// it off again.
    #[must_use]
    pub fn frame(&self, flags: u8, now_ns: u64) -> ([u8; LONGEST_FRAME], usize) {
        let is_ipv6 = self.key.is_ipv6();
        let mut frame = [0; LONGEST_FRAME];
        let mut len = 0;
        let mut put = |bytes: &[u8]| {
            frame[len..len + bytes.len()].copy_from_slice(bytes);
            len += bytes.len();
        };
        put(&self.link(is_ipv6));
        if is_ipv6 {
            put(&self.ipv6());
        } else {
            put(&self.ipv4());
        }
        let mut tcp = self.tcp(flags, now_ns);
        let sum = checksum(self.pseudo(), &tcp);
        tcp[16..18].copy_from_slice(&sum.to_ne_bytes());
        put(&tcp[..self.tcp_len() as usize]);
        (frame, len)
    }

    /// The sum of the pseudo-header (RFC 9293, 3.1), folded: what stands in the checksum field
    /// of a segment whose checksum the network card will fill in. An IPv4-mapped address has
    /// words that add up to nothing (0xffff), so that both versions sum alike.
    #[inline(always)]
    #[must_use]
    pub fn pseudo(&self) -> u16 {
        let [low, high] = &self.key.ends;
        let fixed =
            u32::from(u16::from(PROTOCOL_TCP).to_be()) + u32::from((self.tcp_len() as u16).to_be());
        fold(sum(&low.addr) + sum(&high.addr) + fixed)
    }
}

/// The checksum field of a TCP header whose field is 0, with `pseudo` of [`Header::pseudo`].
#[inline(always)]
#[must_use]
pub fn checksum(pseudo: u16, tcp: &[u8; TCP_LEN_WITH_TIMESTAMPS as usize]) -> u16 {
    !fold(u32::from(pseudo) + sum(tcp))
}

/// The sum of the words, in the machine's own order: it does not matter to the folded sum
/// (RFC 1071, 2).
#[inline(always)]
fn sum<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut sum = 0;
    let mut at = 0;
    while at + 1 < N {
        sum += u32::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        at += 2;
    }
    sum
}

#[inline(always)]
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
