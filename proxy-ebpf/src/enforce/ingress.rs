//! What the host receives: the acknowledgment for which a held FIN waits, and copies that were
//! made for the local stack.

use super::Fate;
use super::egress::{is_for_local_stack, note_reset};
use super::frame::Frame;
use super::rules::counted;
use crate::flows::find;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use proxy_common::acts::{ALL_ACKED, HOLDS_FIN};
use proxy_common::segment::{ACK, FIN, RST, SYN};
use proxy_common::wire::Packet;

/// Whether this RST was made for the local stack.
#[inline(always)]
pub fn is_ours(packet: &Packet) -> bool {
    find(&packet.key).is_some_and(|slot| is_for_local_stack(packet, slot))
}

/// A segment arrives at the host. Returns a [`Fate`]; global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_arriving(packet: *const Packet) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Fate::STEP.0 };
    arriving(packet).0
}

#[inline(always)]
fn arriving(packet: &Packet) -> Fate {
    let Some(slot) = find(&packet.key) else { return Fate::STEP };
    if packet.segment.has(RST | SYN) {
        return if is_for_local_stack(packet, slot) { Fate::PASS } else { Fate::STEP };
    }
    // SAFETY: a pointer to a value of the map; the fields are written under its lock, and a
    // number that is not ours yet matches nothing.
    let (bits, held, local) = unsafe {
        let acts = &(*slot).acts;
        (acts.bits, acts.held_fin, acts.local)
    };
    // The peer may close with it. Data behind our application's close the stack itself resets.
    let answers = bits & HOLDS_FIN != 0
        && packet.segment.sender.0 != local
        && packet.segment.payload == 0
        && packet.segment.ack == held;
    if answers { Fate::RESET } else { Fate::STEP }
}

/// The acknowledgment for which a held FIN waited ends the connection. Returns a [`Fate`]; global, so
/// that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_reset_both(ctx: *mut __sk_buff, packet: *const Packet, interface: u32) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Fate::PASS.0 };
    reset_both(&TcContext::new(ctx), packet, interface).0
}

/// The acknowledgment becomes a RST for the local stack, and a copy of it, turned round, the RST
/// for the peer.
#[inline(always)]
fn reset_both(ctx: &TcContext, packet: &Packet, interface: u32) -> Fate {
    let Some(slot) = find(&packet.key) else { return Fate::PASS };
    // SAFETY: a pointer to a value of the map; the field is written under its lock.
    let rule = unsafe { (*slot).acts.rule };
    // Without this the FIN is sent again in 200 ms, and becomes a RST then.
    let Some(frame) = Frame::open(ctx, packet) else { return Fate::PASS };
    if frame.set_flags(RST | ACK).is_none() {
        counted!(rule, failed);
        return Fate::PASS;
    }
    let (seq, fin) = (packet.segment.seq, u32::from(packet.segment.flags & FIN));
    note_reset(slot, seq, FIN | ACK, ALL_ACKED);
    counted!(rule, fin_to_rst);
    // To the peer its FIN is acknowledged; the local stack has not heard of it.
    let numbered = fin == 0 || frame.set_seq(seq.wrapping_add(fin)).is_some();
    let told = numbered && frame.turn().and_then(|()| frame.copy_out(interface)).is_some();
    let restored = frame.turn().is_some() && (fin == 0 || frame.set_seq(seq).is_some());
    if !told || !restored {
        counted!(rule, failed);
    }
    if restored { Fate::PASS } else { Fate::DROP }
}
