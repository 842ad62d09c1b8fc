//! What the host sends: a FIN or RST under a rule.

use super::Fate;
use super::deadline;
use super::frame::Frame;
use super::pending;
use super::rules::{self, counted, note_match};
use super::socket;
use super::stand_in;
use crate::flows::{Guard, find_or_make};
use crate::maps::Slot;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use proxy_common::abi::{LEAVING, LOOPBACK, Rule};
use proxy_common::acts::{
    DRY, FIN_TO_RST, HOLDS_FIN, REFUSED, RST_TO_FIN, STOOD_IN, STRUCK, TOLD_LOCAL,
};
use proxy_common::decide::{Action, HAS_SOCKET, IS_RST, PASSIVE, Refusal, decide};
use proxy_common::flow::shows_again;
use proxy_common::policy::DRY_RUN;
use proxy_common::segment::{ACK, FIN, PSH, RST};
use proxy_common::wire::Packet;

/// A segment with FIN or RST leaves the host. Returns a [`Fate`]; global, so that the verifier looks
/// at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_leaving(ctx: *mut __sk_buff, packet: *mut Packet, interface: u32) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Fate::STEP.0 };
    leaving(&TcContext::new(ctx), packet, interface).0
}

#[inline(always)]
fn leaving(ctx: &TcContext, packet: &mut Packet, interface: u32) -> Fate {
    if stand_in::speaks_for(packet) {
        // What it sends itself goes on; the stack, which has no socket there, is not heard.
        return if packet.segment.has(RST) { Fate::DROP } else { Fate::STEP };
    }
    let Some(slot) = find_or_make(&packet.key) else { return Fate::STEP };
    if is_for_local_stack(packet, slot) {
        return Fate::PASS;
    }
    if was_stood_in(slot) {
        return Fate::STEP;
    }
    let found = if deadline::is_struck(slot) {
        deadline::rule_of_command(slot)
    } else if rules::any() {
        let peer = packet.key.end(packet.segment.sender.other());
        rules::of_statement(slot).or_else(|| rules::find(peer))
    } else {
        None
    };
    let Some(rule) = found else { return Fate::STEP };
    let Some(own_fin) = fin_before(packet, slot) else { return Fate::STEP };
    let fate = apply(ctx, packet, slot, &rule, interface, own_fin);
    if fate == Fate::STEP && packet.segment.has(FIN) && rule.policy.half_close_ms != 0 {
        deadline::finished(ctx, packet, slot, &rule);
    }
    fate
}

/// Whether this is the RST that was made for the local stack: it pretends to be the peer's. On
/// loopback it passes the egress hook, elsewhere the ingress hook.
#[inline(always)]
pub fn is_for_local_stack(packet: &Packet, slot: *mut Slot) -> bool {
    // SAFETY: a pointer to a value of the map; both fields are written once, before the copy is
    // sent.
    let (bits, number, local) = unsafe {
        let acts = &(*slot).acts;
        (acts.bits, acts.local_rst, acts.local)
    };
    bits & TOLD_LOCAL != 0
        && packet.segment.has(RST)
        && packet.segment.seq == number
        && packet.segment.sender.0 != local
}

/// Whether the socket is gone, and this is the last word of a stand-in that is gone too.
#[inline(always)]
fn was_stood_in(slot: *mut Slot) -> bool {
    // SAFETY: a pointer to a value of the map; a bit that is set once.
    unsafe { (*slot).acts.bits & STOOD_IN != 0 }
}

#[inline(always)]
fn apply(
    ctx: &TcContext,
    packet: &mut Packet,
    slot: *mut Slot,
    rule: &Rule,
    interface: u32,
    own_fin: u32,
) -> Fate {
    let facts = socket::facts(ctx, &packet.segment, own_fin);
    if facts & (IS_RST | HAS_SOCKET) == IS_RST {
        // The stack's own answer to a stray segment: nobody closes by it.
        return Fate::STEP;
    }
    let decision = decide(&rule.policy, facts);
    if note_match(slot, rule, packet.segment.sender) {
        counted!(rule.id, matched);
    }
    if decision.action == Action::KEEP {
        return Fate::STEP;
    }
    if decision.action == Action::REFUSE {
        return refuse(slot, rule, decision.refusal);
    }
    if rule.policy.has(DRY_RUN) {
        counted!(rule.id, dry_run);
        mark(slot, DRY);
        return Fate::STEP;
    }
    // Also before a FIN is dropped that would be refused when it comes again.
    let Some(frame) = Frame::open(ctx, packet) else {
        return refuse(slot, rule, Refusal::UNKNOWN_HEADER);
    };
    if decision.action == Action::WAIT {
        counted!(rule.id, waited);
        return Fate::DROP;
    }
    if decision.action == Action::RESET {
        return reset(&frame, packet, slot, rule, interface);
    }
    if decision.action == Action::STRIP {
        return strip(&frame, packet, slot, rule);
    }
    let answers = facts & PASSIVE != 0;
    finish(&frame, packet, slot, rule, interface, own_fin, answers)
}

/// 1 where this RST comes after a FIN of the same end, else 0. `None` where another device has shown
/// the segment already, as one for a VLAN does above the one that carries it: there it was decided.
#[inline(always)]
fn fin_before(packet: &Packet, slot: *mut Slot) -> Option<u32> {
    let guard = Guard::lock(slot);
    let (flow, _) = guard.parts();
    let again = shows_again(flow, &packet.segment);
    let end = flow.end(packet.segment.sender);
    let finished = end.fin_ns != 0 && end.fin_end() == packet.segment.seq;
    guard.unlock();
    (!again).then_some(u32::from(finished && packet.segment.has(RST)))
}

#[inline(always)]
fn mark(slot: *mut Slot, bits: u32) {
    let guard = Guard::lock(slot);
    guard.acts().bits |= bits;
    guard.unlock();
}

#[inline(always)]
fn refuse(slot: *mut Slot, rule: &Rule, refusal: Refusal) -> Fate {
    rules::count_refusal(rule.id, refusal.0);
    let guard = Guard::lock(slot);
    let acts = guard.acts();
    acts.bits |= REFUSED;
    acts.refusal = refusal.0;
    guard.unlock();
    Fate::STEP
}

/// The FIN becomes a RST to both ends: the local stack gets a copy that looks like the peer's.
#[inline(always)]
fn reset(
    frame: &Frame<'_>,
    packet: &mut Packet,
    slot: *mut Slot,
    rule: &Rule,
    interface: u32,
) -> Fate {
    if frame.set_flags(RST | ACK).is_none() {
        counted!(rule.id, failed);
        return Fate::STEP;
    }
    note_reset(slot, packet.segment.ack, FIN | ACK, 0);
    counted!(rule.id, fin_to_rst);
    let told = frame.turn().and_then(|()| frame.copy_in(interface)).is_some();
    // Whatever became of the copy, the segment must look outward again.
    let restored = frame.turn().is_some();
    if !told || !restored {
        // The local socket stays until its FIN is sent again, and becomes a RST again.
        counted!(rule.id, failed);
    }
    if !restored {
        return Fate::DROP;
    }
    if interface == LOOPBACK {
        // The copy has gone through this very program, and `packet` is the copy's now.
        return Fate::READ_AND_STEP;
    }
    packet.segment.flags = RST | ACK;
    Fate::STEP
}

/// Says so in the connection's record, before the copy is on its way; `more` are further bits.
#[inline(always)]
pub fn note_reset(slot: *mut Slot, local_rst: u32, asked: u8, more: u32) {
    let guard = Guard::lock(slot);
    let acts = guard.acts();
    let held = pending::take(acts);
    acts.bits |= FIN_TO_RST | TOLD_LOCAL | more;
    acts.local_rst = local_rst;
    acts.asked = asked;
    acts.sent = RST | ACK;
    guard.unlock();
    if held {
        pending::add(-1);
    }
}

/// The RST becomes a FIN, and a stand-in takes the place of the socket. Where a FIN was sent
/// before, this is the same one again. `answers`: the peer's FIN came before.
#[inline(always)]
fn finish(
    frame: &Frame<'_>,
    packet: &mut Packet,
    slot: *mut Slot,
    rule: &Rule,
    interface: u32,
    own_fin: u32,
    answers: bool,
) -> Fate {
    packet.segment.seq = packet.segment.seq.wrapping_sub(own_fin);
    let refusal = stand_in::appoint(frame, packet, rule, interface, answers);
    if refusal != Refusal::NONE {
        packet.segment.seq = packet.segment.seq.wrapping_add(own_fin);
        return refuse(slot, rule, refusal);
    }
    let renumbered = own_fin == 0 || frame.set_seq(packet.segment.seq).is_some();
    if !renumbered || frame.set_flags(FIN | ACK).is_none() {
        stand_in::dismiss(&packet.key);
        counted!(rule.id, failed);
        return Fate::STEP;
    }
    packet.segment.flags = FIN | ACK;
    let guard = Guard::lock(slot);
    let acts = guard.acts();
    acts.bits |= RST_TO_FIN | STOOD_IN;
    if acts.bits & STRUCK == 0 {
        acts.asked = RST | ACK;
    }
    acts.sent = FIN | ACK;
    guard.unlock();
    counted!(rule.id, rst_to_fin);
    Fate::STEP
}

/// The data goes out without its FIN, whose number is remembered.
#[inline(always)]
fn strip(frame: &Frame<'_>, packet: &mut Packet, slot: *mut Slot, rule: &Rule) -> Fate {
    let flags = packet.segment.flags & !FIN | PSH;
    if frame.set_flags(flags).is_none() {
        counted!(rule.id, failed);
        return Fate::STEP;
    }
    let guard = Guard::lock(slot);
    let leaves = *guard.parts().1 == LEAVING;
    let acts = guard.acts();
    let first = acts.bits & HOLDS_FIN == 0 && !leaves;
    // An entry that is being freed is counted no more; its FIN comes again.
    if !leaves {
        acts.bits |= HOLDS_FIN;
    }
    acts.held_fin = packet.segment.seq.wrapping_add(packet.segment.payload);
    guard.unlock();
    if first {
        pending::add(1);
        counted!(rule.id, stripped);
    }
    packet.segment.flags = flags;
    Fate::STEP
}
