//! Packets at tc and XDP: the gate that lets data pass at once, and the way to the machine.

use crate::counters::count;
use crate::enforce::{self, Fate};
use crate::maps::PACKET;
use crate::{flows, payload, settings};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};
use proxy_common::abi::{Counter, SWITCH_ENFORCE, SWITCH_FULL_HISTORY};
use proxy_common::segment::{ACK, CONTROL, FIN, RST, SYN, Segment};
use proxy_common::wire::{
    self, Bytes, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, PROTOCOL_TCP, Packet, Refusal, SYN_OPTIONS,
};

/// Which way a packet goes through the hook; part of its vantage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Direction(u32);

impl Direction {
    /// Into the host.
    pub const INGRESS: Self = Self(0);
    /// Out of the host.
    pub const EGRESS: Self = Self(1);

    /// Which way `segment` went.
    #[inline(always)]
    pub fn of(segment: &Segment) -> Self {
        Self(segment.vantage & 1)
    }
}

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

/// `TC_ACT_UNSPEC`, and `TCX_NEXT`: the next program decides. `TC_ACT_OK` would end the chain and
/// keep other people's filters from running.
const NEXT: i32 = -1;
/// `TC_ACT_SHOT`, and `TCX_DROP`.
const DROP: i32 = 2;

/// A packet at tc.
#[inline(always)]
pub fn classify(ctx: &TcContext, link: Link, direction: Direction) -> i32 {
    let enforces = settings::has(SWITCH_ENFORCE);
    let comes_in = direction == Direction::INGRESS;
    let awaited = enforces && comes_in && enforce::is_awaited();
    let stood_in = enforces && comes_in && enforce::any_waits();
    if !awaited && !stood_in && is_plain_data(ctx.data(), ctx.data_end(), link) {
        return NEXT;
    }
    let Some(packet) = PACKET.get_ptr_mut(0) else { return NEXT };
    // SAFETY: this CPU's entry of the map. A program that runs within this one, as it sends a
    // copy, overwrites it; who sends copies does not look at it after that.
    let packet = unsafe { &mut *packet };
    let has_link = u32::from(link == Link::Ethernet);
    let Some(interface) = read_at(ctx, link, direction, packet) else { return NEXT };
    let mut fate = Fate::STEP;
    if enforces && packet.segment.has(CONTROL) | stood_in && enforce::any_stand_in() {
        if comes_in {
            fate = Fate(enforce::td_stood_in(ctx.skb.skb, packet));
        } else if packet.segment.flags & (SYN | ACK) == SYN {
            enforce::td_step_aside(packet);
        }
    }
    if fate != Fate::STEP {
        // It is a stand-in's.
    } else if enforces && comes_in && (awaited || packet.segment.has(RST)) {
        fate = Fate(enforce::td_arriving(packet));
    } else if enforces && !comes_in && packet.segment.has(FIN | RST) {
        fate = Fate(enforce::td_leaving(ctx.skb.skb, packet, interface));
    }
    if enforces && comes_in {
        await_our_fin(packet);
    }
    if fate == Fate::RESET {
        tell_and_step(ctx, packet);
        fate = Fate(enforce::td_reset_both(ctx.skb.skb, packet, interface));
    }
    if fate == Fate::READ_AND_STEP && td_read_skb(ctx.skb.skb, has_link, packet) != 0 {
        packet.segment.vantage = vantage(interface, direction);
        fate = Fate::STEP;
    }
    if fate == Fate::STEP || fate == Fate::STEP_AND_DROP || fate == Fate::STEP_AND_ANSWER {
        tell_and_step(ctx, packet);
    }
    if fate == Fate::ANSWER || fate == Fate::STEP_AND_ANSWER {
        enforce::td_answer(ctx.skb.skb, packet, interface);
        return DROP;
    }
    if fate == Fate::DROP || fate == Fate::STEP_AND_DROP { DROP } else { NEXT }
}

/// A frame of the daemon's, for the stand-in that it names.
#[inline(always)]
pub fn tend(ctx: &TcContext) -> i32 {
    let Some(packet) = PACKET.get_ptr_mut(0) else { return 0 };
    // SAFETY: as in `classify`.
    let packet = unsafe { &mut *packet };
    if td_read_skb(ctx.skb.skb, 1, packet) == 0 { 0 } else { enforce::tend(ctx, packet) }
}

/// A packet at tc ingress that XDP has let the machine see: what the enforcer waits for, if it
/// waits for anything.
#[inline(always)]
pub fn guard(ctx: &TcContext, link: Link) -> i32 {
    let (awaited, stood_in) = (enforce::is_awaited(), enforce::any_waits());
    let settled = !awaited && !stood_in;
    if !settings::has(SWITCH_ENFORCE)
        || settled && (!enforce::any_stand_in() || is_plain_data(ctx.data(), ctx.data_end(), link))
    {
        return NEXT;
    }
    let Some(packet) = PACKET.get_ptr_mut(0) else { return NEXT };
    // SAFETY: as in `classify`.
    let packet = unsafe { &mut *packet };
    let Some(interface) = read_at(ctx, link, Direction::INGRESS, packet) else { return NEXT };
    if enforce::any_stand_in() {
        let fate = Fate(enforce::td_stood_in(ctx.skb.skb, packet));
        if fate == Fate::ANSWER || fate == Fate::STEP_AND_ANSWER {
            enforce::td_answer(ctx.skb.skb, packet, interface);
        }
        if fate != Fate::STEP {
            return DROP;
        }
    }
    let mut fate = Fate(enforce::td_arriving(packet));
    if fate == Fate::RESET {
        fate = Fate(enforce::td_reset_both(ctx.skb.skb, packet, interface));
    }
    if fate == Fate::DROP { DROP } else { NEXT }
}

/// Reads the headers of a packet at tc; returns the interface.
#[inline(always)]
fn read_at(ctx: &TcContext, link: Link, direction: Direction, packet: &mut Packet) -> Option<u32> {
    let has_link = u32::from(link == Link::Ethernet);
    if !read_plain(ctx.data(), ctx.data_end(), link, packet)
        && td_read_skb(ctx.skb.skb, has_link, packet) == 0
    {
        return None;
    }
    // SAFETY: a field of the context that the verifier knows.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    packet.segment.vantage = vantage(interface, direction);
    Some(interface)
}

/// A packet at XDP.
#[inline(always)]
pub fn express(ctx: &XdpContext, link: Link) {
    if is_plain_data(ctx.data(), ctx.data_end(), link) {
        return;
    }
    let Some(packet) = PACKET.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's entry of the map, and nobody else's while this program runs.
    let packet = unsafe { &mut *packet };
    if !read_plain(ctx.data(), ctx.data_end(), link, packet)
        && td_read_xdp(ctx.ctx, u32::from(link == Link::Ethernet), packet) == 0
    {
        return;
    }
    packet.segment.vantage = vantage(ctx.ingress_ifindex() as u32, Direction::INGRESS);
    let ours = settings::has(SWITCH_ENFORCE) && packet.segment.has(RST) && enforce::is_ours(packet);
    if settings::has(SWITCH_ENFORCE) {
        await_our_fin(packet);
    }
    if !ours {
        if settings::payload() != 0 && packet.segment.has(CONTROL) {
            payload::td_tell_xdp(ctx.ctx, packet);
        }
        step(packet);
    }
}

/// The peer has finished: where a rule says so, our own application is awaited.
#[inline(always)]
fn await_our_fin(packet: &Packet) {
    if packet.segment.has(FIN) && enforce::awaits_our_fin() {
        enforce::td_peer_finished(&packet.key, u32::from(packet.segment.sender.0));
    }
}

/// Where a packet is seen, as a number.
#[inline(always)]
fn vantage(interface: u32, direction: Direction) -> u32 {
    interface << 1 | direction.0
}

/// Lets the machine see a segment at tc, and those who asked for its data.
#[inline(always)]
fn tell_and_step(ctx: &TcContext, packet: &mut Packet) {
    if settings::payload() != 0 && packet.segment.has(CONTROL) {
        payload::td_tell_skb(ctx.skb.skb, packet);
    }
    step(packet);
}

/// Lets the machine see the segment, if it wants it.
#[inline(always)]
fn step(packet: &Packet) {
    if settings::has(SWITCH_FULL_HISTORY) || packet.segment.has(CONTROL) {
        flows::td_segment(&packet.key, &packet.segment);
    }
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

/// Reads usual headers from packet memory; false where [`read`] has to look.
#[inline(always)]
fn read_plain(data: usize, end: usize, link: Link, packet: &mut Packet) -> bool {
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
