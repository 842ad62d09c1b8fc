//! What the host receives: the acknowledgment for which a held FIN waits, and copies that were
//! made for the local stack.

use super::Fate;
use super::egress::{is_for_local_stack, note_reset};
use super::frame::Frame;
use super::rules::counted;
use crate::maps::{FLOWS, PENDING, Slot};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use proxy_common::acts::HOLDS_FIN;
use proxy_common::segment::{ACK, CONTROL, FIN, RST};
use proxy_common::wire::Packet;

/// Whether any connection waits for an incoming segment without a control flag.
#[inline(always)]
pub fn is_awaited() -> bool {
    // SAFETY: the map's only entry; a look that is a moment late does no harm.
    PENDING.get_ptr(0).is_some_and(|pending| unsafe { *pending } != 0)
}

/// Whether this RST was made for the local stack.
#[inline(always)]
pub fn is_ours(packet: &Packet) -> bool {
    FLOWS.get_ptr_mut(&packet.key).is_some_and(|slot| is_for_local_stack(packet, slot))
}

/// A segment arrives at the host. Returns a [`Fate`]; global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_arriving(ctx: *mut __sk_buff, packet: *mut Packet, interface: u32) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Fate::STEP.0 };
    arriving(&TcContext::new(ctx), packet, interface).0
}

#[inline(always)]
fn arriving(ctx: &TcContext, packet: &mut Packet, interface: u32) -> Fate {
    let Some(slot) = FLOWS.get_ptr_mut(&packet.key) else { return Fate::STEP };
    if packet.segment.has(CONTROL) {
        return if is_for_local_stack(packet, slot) { Fate::PASS } else { Fate::STEP };
    }
    // SAFETY: a pointer to a value of the map; the fields are written under its lock, and a
    // number that is not ours yet matches nothing.
    let (bits, held, local, rule) = unsafe {
        let acts = &(*slot).acts;
        (acts.bits, acts.held_fin, acts.local, acts.rule)
    };
    let answers = bits & HOLDS_FIN != 0
        && packet.segment.sender.0 != local
        && packet.segment.payload == 0
        && packet.segment.ack == held;
    if answers { reset_both(ctx, packet, slot, rule, interface) } else { Fate::STEP }
}

/// The acknowledgment becomes a RST for the local stack, and a copy of it, turned round, the RST
/// for the peer.
#[inline(always)]
fn reset_both(
    ctx: &TcContext,
    packet: &mut Packet,
    slot: *mut Slot,
    rule: u32,
    interface: u32,
) -> Fate {
    // Without this the FIN is sent again in 200 ms, and becomes a RST then.
    let Some(frame) = Frame::open(ctx, packet) else { return Fate::STEP };
    if frame.set_flags(RST | ACK).is_none() {
        counted!(rule, failed);
        return Fate::STEP;
    }
    note_reset(slot, packet.segment.seq, FIN | ACK);
    counted!(rule, fin_to_rst);
    let told = frame.turn().and_then(|()| frame.copy_out(interface)).is_some();
    let restored = frame.turn().is_some();
    if !told || !restored {
        counted!(rule, failed);
    }
    if restored { Fate::PASS } else { Fate::DROP }
}
