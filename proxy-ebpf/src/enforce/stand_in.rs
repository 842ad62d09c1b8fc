//! Stand-ins for sockets that aborted: made as their RST becomes a FIN, asked for every segment of
//! the peer's, and answering in the socket's place (`proxy_common::stand_in`; `answer` sends).

mod answer;

pub use answer::td_answer;

use super::Fate;
use super::frame::Frame;
use super::rules::counted;
use super::socket;
use super::tended::is_tended;
use crate::counters::{add, count};
use crate::flows::{now, wake_up};
use crate::headers::SkbBytes;
use crate::maps::{DRAFT, STAND_INS, STANDING, Substitute};
use aya_ebpf::bindings::{__sk_buff, BPF_NOEXIST};
use aya_ebpf::helpers::generated::{
    bpf_clone_redirect, bpf_map_update_elem, bpf_spin_lock, bpf_spin_unlock,
};
use aya_ebpf::programs::TcContext;
use bytemuck::Zeroable as _;
use proxy_common::abi::{Counter, Rule, StandInSlot};
use proxy_common::decide::Refusal;
use proxy_common::key::{FlowKey, Side};
use proxy_common::segment::{FIN, RST, SYN};
use proxy_common::stand_in::{
    ANSWERS, Due, ETHERNET, FIN_ACKED, GONE, LEAST_RTO_MS, LINGER_MS, LINK_LEN, PEER_FIN, Reply,
    StandIn, TIMESTAMPS, WAITS,
};
use proxy_common::wire::{self, Packet};

/// Which of the two counts in [`STANDING`]: all stand-ins.
const ALL: usize = 0;
/// Those for whom segments without a control flag matter.
const WAITING: usize = 1;

/// Whether there is any stand-in.
#[inline(always)]
pub fn any() -> bool {
    standing(ALL) != 0
}

/// Whether one waits for a segment without a control flag.
#[inline(always)]
pub fn any_waits() -> bool {
    standing(WAITING) != 0
}

#[inline(always)]
fn standing(which: usize) -> u64 {
    // SAFETY: the map's only entry; a look that is a moment late does no harm.
    STANDING.get_ptr(0).map_or(0, |counts| unsafe { (*counts)[which] })
}

#[inline(always)]
fn stand(which: usize, by: i64) {
    if let Some(counts) = STANDING.get_ptr_mut(0) {
        // SAFETY: only the address of an element is taken.
        add(unsafe { &raw mut (*counts)[which] }, by);
    }
}

/// A stand-in under its lock. No helper may be called before [`Guard::unlock`].
struct Guard(*mut Substitute);

#[expect(clippy::mut_from_ref, reason = "the lock makes the reference the only one")]
impl Guard {
    #[inline(always)]
    fn lock(slot: *mut Substitute) -> Self {
        // SAFETY: `slot` points to a value of the map; the verifier pairs lock and unlock.
        unsafe { bpf_spin_lock(&raw mut (*slot).lock) };
        Self(slot)
    }

    #[inline(always)]
    fn stand_in(&self) -> &mut StandIn {
        // SAFETY: the lock is held, so that nobody else has a reference.
        unsafe { &mut (*self.0).stand_in }
    }

    #[inline(always)]
    fn unlock(self) {
        // SAFETY: taken by `lock`.
        unsafe { bpf_spin_unlock(&raw mut (*self.0).lock) };
    }
}

/// The stand-in of a connection, if it has one; by a copy of the key, as in [`crate::flows::find`].
#[inline(always)]
fn find(key: &FlowKey) -> Option<*mut Substitute> {
    let key = *key;
    STAND_INS.get_ptr_mut(&key)
}

/// Whether the sender of this segment is one that a stand-in speaks for.
#[inline(always)]
pub fn speaks_for(packet: &Packet) -> bool {
    if !any() {
        return false;
    }
    let Some(slot) = find(&packet.key) else { return false };
    // SAFETY: a pointer to a value of the map; the field is written once.
    unsafe { (*slot).stand_in.local == packet.segment.sender }
}

/// Puts a stand-in in the place of the socket that sent `packet`, a RST that has its final sequence
/// number already; `answers` says that it comes behind the peer's FIN. Says why not.
#[inline(always)]
pub fn appoint(
    frame: &Frame<'_>,
    packet: &Packet,
    rule: &Rule,
    interface: u32,
    answers: bool,
) -> Refusal {
    if !is_tended() {
        return Refusal::UNTENDED;
    }
    let Some(slot) = DRAFT.get_ptr_mut(0) else { return Refusal::NO_STAND_IN };
    // SAFETY: this CPU's entry of the map, and nobody else's while this program runs.
    let draft = unsafe { &mut *slot };
    *draft = StandInSlot::zeroed();
    if describe(frame, packet, &mut draft.stand_in).is_none() {
        return Refusal::UNKNOWN_HEADER;
    }
    let stand_in = &mut draft.stand_in;
    stand_in.rule = rule.id;
    stand_in.interface = interface;
    if answers {
        stand_in.bits |= PEER_FIN | ANSWERS;
    }
    stand_in.linger_ms =
        if rule.policy.half_close_ms == 0 { LINGER_MS } else { rule.policy.half_close_ms };
    // What stood in for an earlier connection on these ports.
    dismiss(&packet.key);
    let key = packet.key;
    // SAFETY: both pointers are to memory of the map's key and value size.
    let failed = unsafe {
        bpf_map_update_elem(
            (&raw const STAND_INS).cast_mut().cast(),
            (&raw const key).cast(),
            slot.cast(),
            u64::from(BPF_NOEXIST),
        )
    };
    if failed != 0 {
        return Refusal::NO_STAND_IN;
    }
    stand(ALL, 1);
    stand(WAITING, 1);
    count(Counter::STAND_INS_MADE);
    // The daemon keeps the time.
    wake_up();
    Refusal::NONE
}

/// What the RST tells of its socket; `None` where a header is not understood.
#[inline(always)]
fn describe(frame: &Frame<'_>, packet: &Packet, to: &mut StandIn) -> Option<()> {
    // SAFETY: a field of the context that the verifier knows.
    let is_tagged = unsafe { (*frame.ctx.skb.skb).vlan_present } != 0;
    if is_tagged || !has_plain_headers(frame.ctx, packet, frame.is_ipv6) {
        return None;
    }
    let now = now();
    to.made_ns = now;
    to.fin_ns = now;
    to.next = packet.segment.seq.wrapping_add(1);
    to.expected = packet.segment.ack;
    to.window = packet.segment.window;
    to.fins = 1;
    to.rto_ms = LEAST_RTO_MS + socket::round_trip_us(frame.ctx) / 1000;
    to.local = packet.segment.sender;
    to.bits = WAITS;
    if frame.timestamps != 0 {
        to.timestamp = u32::from_be_bytes(frame.load(frame.timestamps)?);
        to.echo = u32::from_be_bytes(frame.load(frame.timestamps + 4)?);
        to.bits |= TIMESTAMPS;
    }
    if frame.ip != 0 {
        to.link = frame.load(0)?;
        to.bits |= ETHERNET;
    }
    let ip: [u8; 9] = frame.load(frame.ip)?;
    if frame.is_ipv6 != 0 {
        to.traffic_class = ip[0] << 4 | ip[1] >> 4;
        to.hop_limit = ip[7];
    } else {
        to.traffic_class = ip[1];
        to.hop_limit = ip[8];
    }
    Some(())
}

/// Whether the frame begins as those that a stand-in writes: without tags, IP options and
/// extension headers.
#[inline(always)]
fn has_plain_headers(ctx: &TcContext, packet: &Packet, is_ipv6: u32) -> bool {
    let ip_len = if is_ipv6 != 0 { 40 } else { 20 };
    let (ip, tcp) = (u32::from(packet.ip_offset), u32::from(packet.tcp_offset));
    (ip == 0 || ip == LINK_LEN) && tcp == ip + ip_len && ctx.len() >= tcp + 20
}

/// Takes a stand-in away, if there is one.
#[inline(always)]
pub fn dismiss(key: &FlowKey) -> bool {
    let Some(slot) = find(key) else { return false };
    let guard = Guard::lock(slot);
    let stand_in = guard.stand_in();
    let first = !stand_in.has(GONE);
    let waited = stand_in.has(WAITS);
    stand_in.bits = stand_in.bits & !WAITS | GONE;
    guard.unlock();
    if first {
        let key = *key;
        let _gone = STAND_INS.remove(&key);
        stand(ALL, -1);
        if waited {
            stand(WAITING, -1);
        }
    }
    first
}

/// Takes a stand-in away whose FIN was at `next - 1`, and whose peer has not closed: the operator
/// ends the connection. Returns the number that the peer sends next.
#[inline(always)]
pub fn relieve(key: &FlowKey, local: Side, next: u32) -> Option<u32> {
    let slot = find(key)?;
    let guard = Guard::lock(slot);
    let stand_in = guard.stand_in();
    let (expected, awaits) = (stand_in.expected, !stand_in.has(PEER_FIN));
    let ours = stand_in.local == local && stand_in.next == next;
    guard.unlock();
    (ours && awaits && dismiss(key)).then_some(expected)
}

/// A SYN leaves the host: whatever stood in for an earlier connection on its ports is done. Global,
/// so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_step_aside(packet: *const Packet) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    u32::from(unsafe { packet.as_ref() }.is_some_and(|packet| dismiss(&packet.key)))
}

/// A segment arrives while there are stand-ins. Returns a [`Fate`]; what is to be answered, and as
/// whom, stands in [`DRAFT`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_stood_in(ctx: *mut __sk_buff, packet: *mut Packet) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Fate::STEP.0 };
    stood_in(&TcContext::new(ctx), packet).0
}

#[inline(always)]
fn stood_in(ctx: &TcContext, packet: &mut Packet) -> Fate {
    let Some(slot) = find(&packet.key) else { return Fate::STEP };
    // SAFETY: a pointer to a value of the map; the field is written once.
    if unsafe { (*slot).stand_in.local } == packet.segment.sender {
        // On loopback what the stand-in sent itself comes in here.
        return Fate::STEP;
    }
    if !is_tended() || !packet.segment.has(RST | SYN) && !is_answerable(ctx, packet) {
        count(Counter::STAND_INS_GIVEN_UP);
        dismiss(&packet.key);
        return Fate::STEP;
    }
    wire::timestamps(&SkbBytes(ctx), packet);
    let Some(draft) = DRAFT.get_ptr_mut(0) else { return Fate::STEP };
    let now = now();
    let guard = Guard::lock(slot);
    let stand_in = guard.stand_in();
    let reply = stand_in.answer(&packet.segment, now);
    let released = stand_in.settled_ns != 0 && stand_in.has(WAITS);
    if released {
        stand_in.bits &= !WAITS;
    }
    let gone = stand_in.has(GONE);
    // SAFETY: this CPU's entry of the map, and nobody else's while this program runs.
    unsafe { (*draft).stand_in = *stand_in };
    guard.unlock();
    if released {
        stand(WAITING, -1);
    }
    if gone {
        return Fate::STEP;
    }
    // SAFETY: as above; the entry's first word tells `td_answer` what to send.
    unsafe { (*draft).lock = reply.0 };
    if reply == Reply::ASIDE || reply == Reply::RESET {
        dismiss(&packet.key);
    }
    match reply {
        Reply::NOTHING => Fate::STEP_AND_DROP,
        Reply::ACK | Reply::RESET => Fate::STEP_AND_ANSWER,
        Reply::CHALLENGE => Fate::ANSWER,
        Reply::ASIDE => Fate::STEP,
        _ => Fate::DROP,
    }
}

#[inline(always)]
fn is_answerable(ctx: &TcContext, packet: &Packet) -> bool {
    has_plain_headers(ctx, packet, u32::from(packet.key.is_ipv6()))
}

/// Does what is due for one stand-in, as the daemon found it: it gives the frame to send, whose
/// flags say what is meant: a FIN again, the RST of one that is given up, or, where an ACK alone
/// stands there, nothing: both ends have closed, and it was waited long enough. Returns 1 if it
/// was done: it is looked at again here, as the peer may have spoken meanwhile.
#[inline(always)]
pub fn tend(ctx: &TcContext, packet: &Packet) -> i32 {
    let Some(slot) = find(&packet.key) else { return 0 };
    let now = now();
    let guard = Guard::lock(slot);
    let stand_in = guard.stand_in();
    let due = stand_in.due(now, 0);
    let (interface, rule) = (stand_in.interface, stand_in.rule);
    let by_rule = stand_in.has(FIN_ACKED) && stand_in.linger_ms != LINGER_MS;
    let ours = stand_in.local == packet.segment.sender && !stand_in.has(GONE);
    let repeats = ours && due == Due::FIN && packet.segment.has(FIN);
    if repeats {
        stand_in.sent_fin(now);
    }
    guard.unlock();
    let resets = ours && due == Due::RESET && packet.segment.has(RST);
    let forgets = ours && due == Due::FORGET && !packet.segment.has(FIN | RST);
    if resets || forgets {
        dismiss(&packet.key);
    }
    if forgets {
        return 1;
    }
    if !repeats && !resets {
        return 0;
    }
    // SAFETY: a helper on the program's context.
    if unsafe { bpf_clone_redirect(ctx.skb.skb, interface, 0) } != 0 {
        counted!(rule, failed);
        return 0;
    }
    if resets {
        count(Counter::STAND_IN_RESETS);
        if by_rule {
            counted!(rule, half_close);
        }
    }
    1
}
