//! Packets at tc and XDP: the gate that lets data pass at once, and the way to the machine.

use crate::counters::count;
use crate::maps::PACKET;
use crate::{flows, settings};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};
use proxy_common::abi::{Counter, SWITCH_FULL_HISTORY};
use proxy_common::segment::CONTROL;
use proxy_common::wire::{
    self, Bytes, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, PROTOCOL_TCP, Packet, Refusal,
};

/// Which way a packet goes through the hook; part of its vantage.
#[derive(Clone, Copy)]
pub struct Direction(u32);

impl Direction {
    /// Into the host.
    pub const INGRESS: Self = Self(0);
    /// Out of the host.
    pub const EGRESS: Self = Self(1);
}

/// A socket buffer's bytes.
struct SkbBytes<'a>(&'a TcContext);

impl Bytes for SkbBytes<'_> {
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: u32, to: &mut [u8; N]) -> bool {
        // SAFETY: the helper fills all N bytes, or says that it could not.
        unsafe {
            bpf_skb_load_bytes(self.0.as_ptr().cast(), offset, to.as_mut_ptr().cast(), N as u32)
                == 0
        }
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        self.0.len()
    }
}

/// An XDP frame's bytes.
struct XdpBytes<'a>(&'a XdpContext);

impl Bytes for XdpBytes<'_> {
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: u32, to: &mut [u8; N]) -> bool {
        // SAFETY: the helper fills all N bytes, or says that it could not.
        unsafe {
            bpf_xdp_load_bytes(self.0.as_ptr().cast(), offset, to.as_mut_ptr().cast(), N as u32)
                == 0
        }
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        (self.0.data_end() - self.0.data()) as u32
    }
}

/// A packet at tc.
#[inline(always)]
pub fn classify(ctx: &TcContext, link: Link, direction: Direction) {
    if is_plain_data(ctx.data(), ctx.data_end(), link) {
        return;
    }
    // SAFETY: a field of the context that the verifier knows.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    take(&SkbBytes(ctx), link, interface << 1 | direction.0);
}

/// A packet at XDP.
#[inline(always)]
pub fn express(ctx: &XdpContext, link: Link) {
    if is_plain_data(ctx.data(), ctx.data_end(), link) {
        return;
    }
    let interface = ctx.ingress_ifindex() as u32;
    take(&XdpBytes(ctx), link, interface << 1 | Direction::INGRESS.0);
}

/// Whether this is without doubt TCP without SYN, FIN and RST, and only such segments count.
/// Reads packet memory directly: this is all that a data packet costs.
#[inline(always)]
fn is_plain_data(data: usize, end: usize, link: Link) -> bool {
    if settings::has(SWITCH_FULL_HISTORY) {
        return false;
    }
    let ip = match link {
        Link::Ethernet => data + 14,
        Link::Ip => data,
    };
    if ip + 40 > end {
        return false;
    }
    // SAFETY: within `data..end`, which the comparison above showed to the verifier.
    let at = |offset: usize| unsafe { *((ip + offset) as *const u8) };
    if link == Link::Ethernet {
        // SAFETY: as above; the EtherType stands before the IP header.
        let kind = u16::from_be(unsafe { *((data + 12) as *const u16) });
        if kind != ETHERTYPE_IPV4 && kind != ETHERTYPE_IPV6 {
            return false;
        }
    }
    if at(0) == 0x45 {
        let is_fragment = (at(6) & 0x3f) | at(7) != 0;
        return at(9) != PROTOCOL_TCP || (!is_fragment && at(33) & CONTROL == 0);
    }
    if at(0) >> 4 == 6 && ip + 60 <= end {
        return at(6) == PROTOCOL_TCP && at(53) & CONTROL == 0;
    }
    false
}

/// A packet that may open or close a connection.
#[inline(always)]
fn take<B: Bytes>(bytes: &B, link: Link, vantage: u32) {
    let Some(packet) = PACKET.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's entry of the map, and nobody else's while this program runs.
    let packet = unsafe { &mut *packet };
    if read(bytes, link, packet) {
        packet.segment.vantage = vantage;
        flows::segment(&packet.key, &packet.segment);
    }
}

/// Reads the headers; says whether the machine wants the segment. A function of its own, as is
/// what comes after it: both share the stack's 512 bytes by turns.
#[inline(never)]
fn read<B: Bytes>(bytes: &B, link: Link, packet: &mut Packet) -> bool {
    match wire::parse(bytes, link, packet) {
        Ok(()) => return settings::has(SWITCH_FULL_HISTORY) || packet.segment.has(CONTROL),
        Err(Refusal::Truncated) => count(Counter::REFUSED_TRUNCATED),
        Err(Refusal::Malformed) => count(Counter::REFUSED_MALFORMED),
        Err(Refusal::Fragment) => count(Counter::REFUSED_FRAGMENT),
        Err(Refusal::NotIp | Refusal::NotTcp) => {}
    }
    false
}
