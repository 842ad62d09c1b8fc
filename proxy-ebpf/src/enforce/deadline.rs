//! Tells the daemon that a connection under a deadline is half closed. The daemon waits, and strikes.

use super::rules::{self, counted, note_match};
use super::socket;
use crate::counters::count;
use crate::flows::{Guard, find_or_make, now, wake_flags};
use crate::maps::{EVENTS, Slot};
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use proxy_common::abi::{Counter, DeadlineRecord, RECORD_DEADLINE, Rule};
use proxy_common::acts::{
    CLOSE_BY_FIN, HAS_LINK, STOOD_IN, STRUCK, TOLD_CLOSE_WAIT, TOLD_HALF_CLOSE,
};
use proxy_common::key::{FlowKey, Side};
use proxy_common::policy::{Policy, Wish};
use proxy_common::wire::Packet;

/// Whether the connection was ended from outside: what follows is our own doing.
#[inline(always)]
pub fn is_struck(slot: *mut Slot) -> bool {
    // SAFETY: a pointer to a value of the map; the bits are set before anything is sent.
    unsafe { (*slot).acts.bits & STRUCK != 0 }
}

/// What the operator's command `close` asks for, where that is a FIN: as a rule for this one RST.
#[inline(always)]
pub fn rule_of_command(slot: *mut Slot) -> Option<Rule> {
    // SAFETY: as in `is_struck`.
    let (bits, id) = unsafe { ((*slot).acts.bits, (*slot).acts.rule) };
    let policy = Policy { abort: Wish::FIN, ..Policy::KEEP };
    (bits & CLOSE_BY_FIN != 0).then_some(Rule { policy, id, prefix: 0 })
}

/// Our FIN leaves, and the rule does not wait for the peer's for ever.
#[inline(always)]
pub fn finished(ctx: &TcContext, packet: &Packet, slot: *mut Slot, rule: &Rule) {
    let skb = ctx.skb.skb;
    if !socket::is_here(ctx) {
        return;
    }
    // SAFETY: fields of the context that the verifier knows.
    let (tag, interface) = unsafe { ((*skb).vlan_present, (*skb).ifindex) };
    let mut link = [0u8; 12];
    // SAFETY: the helper fills the twelve bytes, or says that it could not.
    let read = unsafe { bpf_skb_load_bytes(skb.cast(), 0, link.as_mut_ptr().cast(), 12) } == 0;
    // A tag beside the frame would be lost; the daemon asks the routing table then.
    let has_header = packet.ip_offset != 0;
    if !has_header {
        link = [0; 12];
    }
    let has_link = read && tag == 0 && (packet.ip_offset == 14 || !has_header);
    let peer = packet.segment.sender.other();
    let guard = Guard::lock(slot);
    let answered = guard.parts().0.end(peer).fin_ns != 0;
    let acts = guard.acts();
    // A stand-in's FIN has a time of its own.
    let first = acts.bits & (TOLD_HALF_CLOSE | STOOD_IN) == 0;
    acts.bits |= TOLD_HALF_CLOSE;
    if has_link && acts.bits & HAS_LINK == 0 {
        acts.bits |= HAS_LINK;
        acts.interface = interface;
        acts.link = link;
    }
    guard.unlock();
    if first && !answered {
        tell(&packet.key, packet.segment.sender, rule.policy.half_close_ms);
    }
}

/// Whether any rule waits for our own application.
#[inline(always)]
pub fn awaits_our_fin() -> bool {
    rules::any_close_wait()
}

/// The peer's FIN arrives. Global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_peer_finished(key: *const FlowKey, sender: u32) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    if let Some(key) = unsafe { key.as_ref() } {
        peer_finished(key, Side(sender as u8 & 1));
    }
    0
}

#[inline(always)]
fn peer_finished(key: &FlowKey, peer: Side) {
    let Some(slot) = find_or_make(key) else { return };
    let rule = rules::of_statement(slot).or_else(|| rules::find(key.end(peer)));
    let Some(rule) = rule.filter(|rule| rule.policy.close_wait_ms != 0) else { return };
    let guard = Guard::lock(slot);
    let answered = guard.parts().0.end(peer.other()).fin_ns != 0;
    let acts = guard.acts();
    let first = acts.bits & TOLD_CLOSE_WAIT == 0;
    acts.bits |= TOLD_CLOSE_WAIT;
    guard.unlock();
    if first && !answered {
        if note_match(slot, &rule, peer.other()) {
            counted!(rule.id, matched);
        }
        tell(key, peer.other(), rule.policy.close_wait_ms);
    }
}

#[inline(always)]
fn tell(key: &FlowKey, local: Side, wait_ms: u32) {
    let Some(mut record) = EVENTS.reserve_untyped::<DeadlineRecord>(0) else {
        count(Counter::LOST_DEADLINES);
        return;
    };
    record.write(DeadlineRecord {
        kind: RECORD_DEADLINE,
        key: *key,
        begun_ns: now(),
        wait_ms,
        local,
        reserved: [0; 3],
    });
    record.submit(wake_flags());
}
