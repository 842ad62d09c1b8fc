//! Packets at tc and XDP: the gate that lets data pass at once, and the way to the machine.

use crate::direction::Direction;
use crate::enforce::{self, Fate, pending};
use crate::headers::{is_plain_data, read_plain, td_read_skb, td_read_xdp};
use crate::maps::PACKET;
use crate::{flows, payload, settings};
use aya_ebpf::programs::{TcContext, XdpContext};
use proxy_common::abi::{SWITCH_ENFORCE, SWITCH_FULL_HISTORY};
use proxy_common::segment::{ACK, CONTROL, FIN, RST, SYN};
use proxy_common::wire::{Link, Packet};

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
    let awaited = enforces && comes_in && pending::any();
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
        packet.segment.vantage = direction.at(interface);
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
    let (awaited, stood_in) = (pending::any(), enforce::any_waits());
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
    packet.segment.vantage = direction.at(interface);
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
    packet.segment.vantage = Direction::INGRESS.at(ctx.ingress_ifindex() as u32);
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
