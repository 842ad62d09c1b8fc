//! Rewriting a frame in place, by helpers: writing to packet memory directly would cost every
//! packet of the program.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS};
use aya_ebpf::helpers::generated::{
    bpf_clone_redirect, bpf_l4_csum_replace, bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use core::mem::MaybeUninit;
use proxy_common::abi::LOOPBACK;
use proxy_common::segment::{AUTHENTICATED, PAYLOAD_UNKNOWN};
use proxy_common::wire::Packet;

/// TCP options that are left as they are (RFC 9293, RFC 7323).
const END: u8 = 0;
const NOP: u8 = 1;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
/// Options looked at: timestamps, SACK and padding make at most this many.
const MAX_OPTIONS: usize = 12;

/// Where the headers of a frame stand.
pub struct Frame<'a> {
    pub(super) ctx: &'a TcContext,
    /// Offset of the IP header.
    pub(super) ip: u32,
    /// Offset of the TCP header.
    pub(super) tcp: u32,
    /// Offset of TSval; 0 without timestamps.
    pub(super) timestamps: u32,
    pub(super) is_ipv6: u32,
}

/// What [`td_options`] says where it does not understand an option.
const NOT_UNDERSTOOD: u32 = u32::MAX;

/// Looks at the options of a TCP header, and turns SACK into padding, as it must not stand in a
/// RST. Returns the offset of TSval, 0 without timestamps, or [`NOT_UNDERSTOOD`]. Global, so that
/// the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_options(ctx: *mut __sk_buff, tcp: u32, len: u32) -> u32 {
    let ctx = TcContext::new(ctx);
    let frame = Frame { ctx: &ctx, ip: 0, tcp, timestamps: 0, is_ipv6: 0 };
    frame.options(len).unwrap_or(NOT_UNDERSTOOD)
}

/// Overwrites `len` bytes at `at`, an option, with padding; 0 where that failed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_blank(ctx: *mut __sk_buff, tcp: u32, at: u32, len: u32) -> u32 {
    let ctx = TcContext::new(ctx);
    let frame = Frame { ctx: &ctx, ip: 0, tcp, timestamps: 0, is_ipv6: 0 };
    u32::from(frame.blank(at, len).is_some())
}

/// Turns the segment round: addresses, ports, numbers and timestamps change places, so that it
/// looks like the peer's; 0 where that failed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_turn(
    ctx: *mut __sk_buff,
    ip: u32,
    tcp: u32,
    timestamps: u32,
    is_ipv6: u32,
) -> u32 {
    let ctx = TcContext::new(ctx);
    let frame = Frame { ctx: &ctx, ip, tcp, timestamps, is_ipv6 };
    u32::from(frame.swap_ends().is_some())
}

impl<'a> Frame<'a> {
    /// A frame that is whole and may be changed, and whose options are understood; else there is none.
    #[inline(always)]
    pub fn open(ctx: &'a TcContext, packet: &Packet) -> Option<Self> {
        if packet.segment.marks & (PAYLOAD_UNKNOWN | AUTHENTICATED) != 0 {
            return None;
        }
        let (ip, tcp) = (u32::from(packet.ip_offset), u32::from(packet.tcp_offset));
        let timestamps = td_options(ctx.skb.skb, tcp, u32::from(packet.tcp_header_len));
        if timestamps == NOT_UNDERSTOOD {
            return None;
        }
        Some(Self { ctx, ip, tcp, timestamps, is_ipv6: u32::from(packet.key.is_ipv6()) })
    }

    /// A frame of our own making, with an Ethernet header.
    #[inline(always)]
    pub fn made(ctx: &'a TcContext, is_ipv6: bool, has_timestamps: bool) -> Self {
        let tcp = if is_ipv6 { 54 } else { 34 };
        // Behind two bytes of padding, and the option's kind and length.
        let timestamps = if has_timestamps { tcp + 24 } else { 0 };
        Self { ctx, ip: 14, tcp, timestamps, is_ipv6: u32::from(is_ipv6) }
    }

    #[inline(always)]
    fn options(&self, len: u32) -> Option<u32> {
        // What Linux sends: timestamps behind two bytes of padding, and nothing else.
        if len == 32 && self.load::<4>(self.tcp + 20)? == [NOP, NOP, TIMESTAMPS, 10] {
            return Some(self.tcp + 24);
        }
        let end = self.tcp + len;
        let mut at = self.tcp + 20;
        let (mut timestamps, mut sack, mut sack_len) = (0, 0, 0);
        for _ in 0..MAX_OPTIONS {
            let kind = if at < end { self.load::<1>(at)?[0] } else { END };
            if kind == END {
                // Only now that all are understood is anything changed.
                let is_whole =
                    sack == 0 || td_blank(self.ctx.skb.skb, self.tcp, sack, sack_len) != 0;
                return is_whole.then_some(timestamps);
            }
            if kind == NOP {
                at += 1;
                continue;
            }
            let [len] = self.load::<1>(at + 1)?;
            if len < 2 || at + u32::from(len) > end {
                return None;
            }
            if kind == TIMESTAMPS && len == 10 {
                timestamps = at + 2;
            } else if kind == SACK && sack == 0 {
                (sack, sack_len) = (at, u32::from(len));
            } else {
                return None;
            }
            at += u32::from(len);
        }
        None
    }

    #[inline(always)]
    pub(super) fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper fills all N bytes, or says that it could not.
        let failed = unsafe {
            bpf_skb_load_bytes(
                self.ctx.as_ptr().cast(),
                offset,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        // SAFETY: filled by the helper.
        (failed == 0).then(|| unsafe { bytes.assume_init() })
    }

    #[inline(always)]
    pub fn store<const N: usize>(&self, offset: u32, bytes: &[u8; N]) -> Option<()> {
        // SAFETY: N bytes are there to be read.
        let failed = unsafe {
            bpf_skb_store_bytes(self.ctx.skb.skb, offset, bytes.as_ptr().cast(), N as u32, 0)
        };
        (failed == 0).then_some(())
    }

    /// Tells the TCP checksum that a word of two bytes changed. Without the pseudo-header flag a
    /// checksum that the card will fill in is left alone, as it should be.
    #[inline(always)]
    fn fix_checksum(&self, old: [u8; 2], new: [u8; 2]) -> Option<()> {
        let (old, new) = (u16::from_ne_bytes(old), u16::from_ne_bytes(new));
        // SAFETY: a helper on the program's context.
        let failed = unsafe {
            bpf_l4_csum_replace(
                self.ctx.skb.skb,
                self.tcp + 16,
                u64::from(old),
                u64::from(new),
                size_of::<u16>() as u64,
            )
        };
        (failed == 0).then_some(())
    }

    /// Overwrites an option with padding.
    #[inline(always)]
    fn blank(&self, at: u32, len: u32) -> Option<()> {
        // Two bytes of the checksum's own grid at a time; SACK has at most 34.
        let mut from = at;
        for _ in 0..18 {
            if from >= at + len {
                break;
            }
            let word = self.tcp + ((from - self.tcp) & !1);
            let old: [u8; 2] = self.load(word)?;
            let mut new = old;
            if word >= at {
                new[0] = NOP;
            }
            if word + 1 < at + len {
                new[1] = NOP;
            }
            self.fix_checksum(old, new)?;
            self.store(word, &new)?;
            from = word + 2;
        }
        Some(())
    }

    /// Replaces the flags.
    #[inline(always)]
    pub fn set_flags(&self, flags: u8) -> Option<()> {
        let old: [u8; 2] = self.load(self.tcp + 12)?;
        let new = [old[0], flags];
        self.fix_checksum(old, new)?;
        self.store(self.tcp + 12, &new)
    }

    /// Replaces the sequence number.
    #[inline(always)]
    pub fn set_seq(&self, seq: u32) -> Option<()> {
        self.set_number(self.tcp + 4, seq)
    }

    /// Replaces the acknowledgment number.
    #[inline(always)]
    pub fn set_ack(&self, ack: u32) -> Option<()> {
        self.set_number(self.tcp + 8, ack)
    }

    #[inline(always)]
    fn set_number(&self, at: u32, number: u32) -> Option<()> {
        let new = number.to_be_bytes();
        let old: [u8; 4] = self.load(at)?;
        self.fix_checksum([old[0], old[1]], [new[0], new[1]])?;
        self.fix_checksum([old[2], old[3]], [new[2], new[3]])?;
        self.store(at, &new)
    }

    /// Swaps the halves of the `N` bytes at `at`: a sum does not change by it. One call reads and
    /// one writes, as a call costs more than the bytes.
    #[inline(always)]
    fn swap_halves<const N: usize>(&self, at: u32) -> Option<()> {
        let mut bytes: [u8; N] = self.load(at)?;
        let (first, second) = bytes.split_at_mut(N / 2);
        first.swap_with_slice(second);
        self.store(at, &bytes)
    }

    /// Turns the segment round, or back.
    #[inline(always)]
    pub fn turn(&self) -> Option<()> {
        let turned = td_turn(self.ctx.skb.skb, self.ip, self.tcp, self.timestamps, self.is_ipv6);
        (turned != 0).then_some(())
    }

    #[inline(always)]
    fn swap_ends(&self) -> Option<()> {
        if self.ip >= 14 {
            // Else the stack takes it for somebody else's.
            self.swap_halves::<12>(0)?;
        }
        if self.is_ipv6 != 0 {
            self.swap_halves::<32>(self.ip + 8)?;
        } else {
            self.swap_halves::<8>(self.ip + 12)?;
        }
        // Ports, then numbers.
        self.swap_halves::<4>(self.tcp)?;
        self.swap_halves::<8>(self.tcp + 4)?;
        if self.timestamps != 0 {
            self.swap_halves::<8>(self.timestamps)?;
        }
        Some(())
    }

    /// Sends a copy to the local stack. Over loopback a copy that comes in is never delivered, so
    /// it goes out, and comes in by itself.
    #[inline(always)]
    pub fn copy_in(&self, interface: u32) -> Option<()> {
        let flags = if interface == LOOPBACK { 0 } else { u64::from(BPF_F_INGRESS) };
        // SAFETY: a helper on the program's context.
        let failed = unsafe { bpf_clone_redirect(self.ctx.skb.skb, interface, flags) };
        (failed == 0).then_some(())
    }

    /// Sends a copy out of an interface.
    #[inline(always)]
    pub fn copy_out(&self, interface: u32) -> Option<()> {
        // SAFETY: as above.
        let failed = unsafe { bpf_clone_redirect(self.ctx.skb.skb, interface, 0) };
        (failed == 0).then_some(())
    }
}
