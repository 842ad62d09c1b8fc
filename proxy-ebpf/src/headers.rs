//! A packet's headers: from its memory where they are as usual, by helpers where they are not.

use crate::counters::count;
use crate::settings;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};
use proxy_common::abi::{Counter, SWITCH_FULL_HISTORY};
use proxy_common::segment::{CONTROL, SYN};
use proxy_common::wire::{
    self, Bytes, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, PROTOCOL_TCP, Packet, Refusal, SYN_OPTIONS,
};

/// A socket buffer's bytes.
pub struct SkbBytes<'a>(pub &'a TcContext);

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

/// Whether this is without doubt TCP without SYN, FIN and RST, and only such segments count.
/// Reads packet memory directly: this is all that a data packet costs.
#[inline(always)]
pub fn is_plain_data(data: usize, end: usize, link: Link) -> bool {
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

/// Reads usual headers from packet memory; false where [`read`] has to look.
#[inline(always)]
pub fn read_plain(data: usize, end: usize, link: Link, packet: &mut Packet) -> bool {
    let offset = match link {
        Link::Ethernet => 14,
        Link::Ip => 0,
    };
    let ip = data + offset;
    if ip + 40 > end {
        return false;
    }
    if link == Link::Ethernet {
        // SAFETY: within `data..end`, as compared above.
        let kind = u16::from_be(unsafe { *((data + 12) as *const u16) });
        if kind != ETHERTYPE_IPV4 && kind != ETHERTYPE_IPV6 {
            return false;
        }
    }
    // SAFETY: as above, 40 bytes; nothing writes to the packet while this program runs.
    let header = unsafe { &*(ip as *const [u8; 40]) };
    let offset = offset as u16;
    if header[0] >> 4 == 4 {
        if header[20 + 13] & SYN == 0 {
            return wire::plain_v4(header, offset, packet);
        }
        if ip + 40 + SYN_OPTIONS > end {
            return false;
        }
        // SAFETY: as above.
        return wire::plain_v4(unsafe { &*(ip as *const [u8; 40 + SYN_OPTIONS]) }, offset, packet);
    }
    if ip + 60 > end {
        return false;
    }
    // SAFETY: as above, 60 bytes.
    let header = unsafe { &*(ip as *const [u8; 60]) };
    if header[40 + 13] & SYN == 0 {
        return wire::plain_v6(header, offset, packet);
    }
    if ip + 60 + SYN_OPTIONS > end {
        return false;
    }
    // SAFETY: as above.
    wire::plain_v6(unsafe { &*(ip as *const [u8; 60 + SYN_OPTIONS]) }, offset, packet)
}

/// [`read`] of a socket buffer. The verifier looks at a global function once, and not again for
/// every way that leads to it; its frame and that of what comes after it share the stack's 512
/// bytes by turns.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_read_skb(ctx: *mut __sk_buff, has_link: u32, packet: *mut Packet) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return 0 };
    u32::from(read(&SkbBytes(&TcContext::new(ctx)), has_link, packet))
}

/// [`read`] of an XDP frame, global for the same reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_read_xdp(ctx: *mut xdp_md, has_link: u32, packet: *mut Packet) -> u32 {
    // SAFETY: as in `td_read_skb`.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return 0 };
    u32::from(read(&XdpBytes(&XdpContext::new(ctx)), has_link, packet))
}

/// Reads the headers; says whether it is TCP that can be understood.
#[inline(always)]
fn read<B: Bytes>(bytes: &B, has_link: u32, packet: &mut Packet) -> bool {
    let link = if has_link != 0 { Link::Ethernet } else { Link::Ip };
    match wire::parse(bytes, link, packet) {
        Ok(()) => return true,
        Err(Refusal::Truncated) => count(Counter::REFUSED_TRUNCATED),
        Err(Refusal::Malformed) => count(Counter::REFUSED_MALFORMED),
        Err(Refusal::Fragment) => count(Counter::REFUSED_FRAGMENT),
        Err(Refusal::NotIp | Refusal::NotTcp) => {}
    }
    false
}
