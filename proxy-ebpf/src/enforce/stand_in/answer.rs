//! A stand-in's answer: the segment at hand, written over and sent.

use super::dismiss;
use crate::counters::count;
use crate::enforce::rules::counted;
use crate::flows::now;
use crate::maps::DRAFT;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_clone_redirect, bpf_l4_csum_replace, bpf_skb_change_tail, bpf_skb_store_bytes,
    bpf_skb_vlan_pop,
};
use aya_ebpf::programs::TcContext;
use proxy_common::abi::Counter;
use proxy_common::segment::{ACK, RST};
use proxy_common::stand_in::{ETHERNET, Header, LINK_LEN, Reply, StandIn, checksum};
use proxy_common::wire::Packet;

/// Turns the segment at hand into the stand-in's answer and sends it. Global, so that the verifier
/// looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_answer(ctx: *mut __sk_buff, packet: *const Packet, interface: u32) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
    let Some(draft) = DRAFT.get_ptr(0) else { return 0 };
    // SAFETY: this CPU's entry of the map, filled by `td_stood_in` for this packet.
    let draft = unsafe { &*draft };
    let resets = draft.lock == Reply::RESET.0;
    let flags = if resets { RST | ACK } else { ACK };
    let rule = draft.stand_in.rule;
    if send(&TcContext::new(ctx), packet, &draft.stand_in, flags, interface).is_none() {
        counted!(rule, failed);
        count(Counter::STAND_INS_GIVEN_UP);
        // The peer's next segment meets the stack, as if teardown were not there.
        dismiss(&packet.key);
        return 0;
    }
    count(if resets { Counter::STAND_IN_RESETS } else { Counter::STAND_IN_ANSWERS });
    1
}

/// Writes the answer over the segment: the skb serves as a buffer of the right kind.
#[inline(always)]
fn send(
    ctx: &TcContext,
    packet: &Packet,
    stand_in: &StandIn,
    flags: u8,
    interface: u32,
) -> Option<()> {
    let header = Header { stand_in, key: &packet.key };
    let v6 = packet.key.is_ipv6();
    let ip = if stand_in.has(ETHERNET) { LINK_LEN } else { 0 };
    let tcp = ip + if v6 { 40 } else { 20 };
    if u32::from(packet.ip_offset) != ip {
        // It came by an interface of another kind than the one towards the peer.
        return None;
    }
    let skb = ctx.skb.skb;
    // SAFETY: a field of the context that the verifier knows.
    if interface != stand_in.interface && unsafe { (*skb).vlan_present } != 0 {
        // The way out is the tag's own device, which adds it.
        // SAFETY: a helper on the program's context.
        (unsafe { bpf_skb_vlan_pop(skb) } == 0).then_some(())?;
    }
    let tcp_len = header.tcp_len();
    // SAFETY: as above.
    (unsafe { bpf_skb_change_tail(skb, tcp + tcp_len, 0) } == 0).then_some(())?;
    if ip != 0 {
        store(skb, 0, &header.link(v6), LINK_LEN)?;
    }
    if v6 {
        store(skb, ip, &header.ipv6(), 40)?;
    } else {
        store(skb, ip, &header.ipv4(), 20)?;
    }
    let mut bytes = header.tcp(flags, now());
    let pseudo = header.pseudo();
    let whole = checksum(pseudo, &bytes);
    // What a card wants that is to fill it in. Where it is not, the difference makes it whole: the
    // helper leaves the field alone in the one case, and sums it up in the other.
    [bytes[16], bytes[17]] = pseudo.to_ne_bytes();
    store(skb, tcp, &bytes, tcp_len)?;
    let difference = u64::from(!whole) + u64::from(pseudo);
    // SAFETY: as above.
    (unsafe { bpf_l4_csum_replace(skb, tcp + 16, 0, difference, 0) } == 0).then_some(())?;
    // SAFETY: as above.
    (unsafe { bpf_clone_redirect(skb, stand_in.interface, 0) } == 0).then_some(())
}

/// Writes the first `len` bytes.
#[inline(always)]
fn store<const N: usize>(skb: *mut __sk_buff, at: u32, bytes: &[u8; N], len: u32) -> Option<()> {
    // SAFETY: `len` is at most N; the verifier sees that.
    let failed = unsafe { bpf_skb_store_bytes(skb, at, bytes.as_ptr().cast(), len, 0) };
    (failed == 0).then_some(())
}
