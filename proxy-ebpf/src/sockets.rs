//! Local sockets by sock_ops: what the wire cannot tell. State changes, counters, what a close
//! threw away, and who owns the socket.

use crate::counters::count;
use crate::maps::EVENTS;
use crate::settings::{netns_cookie, offset};
use crate::{flows, owner};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
    BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB, bpf_sock_ops,
};
use aya_ebpf::helpers::generated::{
    bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_skc_to_tcp_sock,
};
use aya_ebpf::programs::SockOpsContext;
use bytemuck::Zeroable as _;
use core::ptr::read_volatile;
use proxy_common::abi::{Counter, ListenRecord, RECORD_LISTEN};
use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::socket::tcp_state::{
    CLOSE, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, LISTEN, SYN_RECV, SYN_SENT,
    TIME_WAIT,
};
use proxy_common::socket::{
    KNOWS_BYTES, KNOWS_ERROR, KNOWS_PATH, KNOWS_STATE, KNOWS_UNACKED, KNOWS_UNREAD, SocketEvent,
    phantom_bytes,
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// `enum sock_flags`: the peer's FIN was received (`tcp_fin`).
pub const SOCK_DONE: u32 = 1;

/// A sock_ops call-back.
#[inline(always)]
pub fn changed(ctx: &SockOpsContext) {
    let op = ctx.op();
    if op == BPF_SOCK_OPS_STATE_CB {
        // FIN_WAIT1, LAST_ACK and CLOSE: the others add nothing to what the wire says.
        let new = ctx.arg(1);
        let wanted = 1 << FIN_WAIT1 | 1 << LAST_ACK | 1 << CLOSE;
        if new < 32 && 1u32 << new & wanted != 0 && is_watched(ctx) {
            state_changed(ctx, ctx.arg(0), new);
        }
        return;
    }
    let connects = op == BPF_SOCK_OPS_TCP_CONNECT_CB;
    if connects || op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        if is_watched(ctx) {
            appeared(ctx, connects);
        }
    } else if op == BPF_SOCK_OPS_TCP_LISTEN_CB && is_watched(ctx) {
        listens(ctx);
    }
}

/// Whether the socket is of the network namespace that is watched: the programs see all.
#[inline(always)]
fn is_watched(ctx: &SockOpsContext) -> bool {
    // SAFETY: a helper on the program's context.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) == netns_cookie() }
}

/// What a call-back tells: filled in place, as the stack has no room for copies. Aligned, as BPF
/// clears it word by word then.
#[repr(align(8))]
struct Told {
    key: FlowKey,
    event: SocketEvent,
}

impl Told {
    /// The socket's connection and its change of state, nothing else yet; false where it is
    /// neither of IPv4 nor of IPv6.
    #[inline(never)]
    fn fill(&mut self, ctx: &SockOpsContext, old: u8, new: u8) -> bool {
        self.event.known = KNOWS_STATE;
        self.event.old_state = old;
        self.event.new_state = new;
        if !endpoints(ctx, &mut self.key.ends) {
            return false;
        }
        self.event.side = self.key.put_in_order();
        true
    }
}

/// A socket connects or was accepted: from now on its changes are told.
#[inline(always)]
fn appeared(ctx: &SockOpsContext, connects: bool) {
    let flags = ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG;
    if ctx.set_cb_flags(flags as i32).is_err() {
        return;
    }
    let mut told = Told { key: FlowKey::zeroed(), event: SocketEvent::zeroed() };
    let (old, new) = if connects { (CLOSE, SYN_SENT) } else { (SYN_RECV, ESTABLISHED) };
    if !told.fill(ctx, old, new) {
        return;
    }
    // SAFETY: a helper on the program's context.
    told.event.cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    if connects {
        owner::current(ctx, &mut told.event);
    }
    flows::td_socket(&told.key, &mut told.event, 1);
}

/// A socket closes, or is closed.
#[inline(always)]
fn state_changed(ctx: &SockOpsContext, old: u32, new: u32) {
    let mut told = Told { key: FlowKey::zeroed(), event: SocketEvent::zeroed() };
    if !told.fill(ctx, old as u8, new as u8) {
        return;
    }
    if new == u32::from(CLOSE) {
        // Before that nothing is lost yet, and the counters still move.
        measure(ctx, &mut told.event);
    }
    // These changes are made by close(2), shutdown(2) or the end of the process, in its context.
    let event = &mut told.event;
    let by_owner = new != u32::from(CLOSE)
        || (event.err == 0 && event.known & KNOWS_ERROR != 0 && !is_closing(old));
    if by_owner {
        owner::current(ctx, event);
    }
    flows::td_socket(&told.key, &mut told.event, 0);
}

/// Whether a socket in this state has sent its FIN: its next change comes from the network.
#[inline(always)]
fn is_closing(state: u32) -> bool {
    let closing = 1 << FIN_WAIT1 | 1 << FIN_WAIT2 | 1 << LAST_ACK | 1 << CLOSING | 1 << TIME_WAIT;
    state < 32 && 1u32 << state & closing != 0
}

/// The socket's counters, and what it would throw away if it ended now: bytes received and not
/// read, bytes written and not acknowledged.
#[inline(never)]
fn measure(ctx: &SockOpsContext, event: &mut SocketEvent) {
    // SAFETY: fields of the context that the verifier knows.
    let (received, acked) = unsafe { ((*ctx.ops).bytes_received, (*ctx.ops).bytes_acked) };
    // SAFETY: as above.
    let (snd_una, snd_nxt) = unsafe { ((*ctx.ops).snd_una, (*ctx.ops).snd_nxt) };
    event.bytes_received = received;
    event.bytes_sent = acked + u64::from(snd_nxt.wrapping_sub(snd_una));
    // SAFETY: as above.
    let (srtt, retransmitted) = unsafe { ((*ctx.ops).srtt_us, (*ctx.ops).total_retrans) };
    // The kernel keeps eight times the smoothed round-trip time.
    event.srtt_us = srtt >> 3;
    event.retransmissions = retransmitted;
    event.known |= KNOWS_BYTES | KNOWS_PATH;
    // SAFETY: a field of the context that the verifier knows.
    let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: the pointer is a socket's; the verifier checks it.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sk.cast()) };
    if tcp.is_null() {
        return;
    }
    // SAFETY: offsets of the running kernel's own type, which the verifier checks again.
    let read = |at: usize| unsafe { read_volatile((tcp as usize + at) as *const u32) };
    // SAFETY: as above.
    let rcv_nxt = unsafe { (*ctx.ops).rcv_nxt };
    if let (Some(at), Some(flags)) = (offset!(copied_seq), offset!(sk_flags)) {
        // A FIN takes a sequence number, and reading it is no reading of data.
        let fin_received = read(flags) >> SOCK_DONE & 1;
        event.unread = rcv_nxt.wrapping_sub(read(at)).saturating_sub(fin_received);
        event.known |= KNOWS_UNREAD;
    }
    if let Some(at) = offset!(write_seq) {
        let written = read(at).wrapping_sub(snd_una);
        event.unacked = written.saturating_sub(phantom_bytes(event.old_state));
        event.known |= KNOWS_UNACKED;
    }
    if let Some(at) = offset!(sk_err) {
        event.err = read(at) as u16;
        event.known |= KNOWS_ERROR;
    }
}

/// A socket listens: connections that it accepts are its owner's.
#[inline(never)]
fn listens(ctx: &SockOpsContext) {
    let Some(mut record) = EVENTS.reserve_untyped::<ListenRecord>(0) else {
        count(Counter::LOST_LISTEN_RECORDS);
        return;
    };
    let mut ends = [Endpoint::zeroed(); 2];
    endpoints(ctx, &mut ends);
    record.write(ListenRecord::zeroed());
    // SAFETY: written above.
    let told = unsafe { &mut *record.as_mut_ptr() };
    told.kind = RECORD_LISTEN;
    told.endpoint = ends[0];
    told.event.new_state = LISTEN;
    owner::current(ctx, &mut told.event);
    record.submit(flows::wake_flags());
}

/// One 32-bit field of the context, `word` words behind the named one. Written as an instruction:
/// the compiler would join two accesses into one at a computed offset, which the verifier refuses.
macro_rules! word {
    ($ops:expr, $field:ident, $word:literal) => {{
        let value: u32;
        // SAFETY: a field of the program's context, which the verifier knows.
        unsafe {
            core::arch::asm!(
                "{value} = *(u32 *)({ops} + {offset})",
                value = out(wreg) value,
                ops = in(reg) $ops,
                offset = const core::mem::offset_of!(bpf_sock_ops, $field) + 4 * $word,
            );
        }
        value
    }};
}

/// The local and the remote endpoint, in this order; false for other families than IP's.
#[inline(always)]
fn endpoints(ctx: &SockOpsContext, ends: &mut [Endpoint; 2]) -> bool {
    let ops = ctx.ops;
    // The remote port is in network order in the upper half; the local one in host order.
    ends[0].port = word!(ops, local_port, 0) as u16;
    ends[1].port = u16::from_be((word!(ops, remote_port, 0) >> 16) as u16);
    let family = word!(ops, family, 0);
    if family == AF_INET {
        ends[0].addr = mapped(word!(ops, local_ip4, 0));
        ends[1].addr = mapped(word!(ops, remote_ip4, 0));
        return true;
    }
    if family != AF_INET6 {
        return false;
    }
    ends[0].addr = address([
        word!(ops, local_ip6, 0),
        word!(ops, local_ip6, 1),
        word!(ops, local_ip6, 2),
        word!(ops, local_ip6, 3),
    ]);
    ends[1].addr = address([
        word!(ops, remote_ip6, 0),
        word!(ops, remote_ip6, 1),
        word!(ops, remote_ip6, 2),
        word!(ops, remote_ip6, 3),
    ]);
    true
}

/// An IPv4 address as it stands in keys.
#[inline(always)]
fn mapped(address: u32) -> [u8; 16] {
    Endpoint::v4(address.to_ne_bytes(), 0).addr
}

/// An IPv6 address of four words in network order.
#[inline(always)]
fn address([a, b, c, d]: [u32; 4]) -> [u8; 16] {
    let (a, b, c, d) = (a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes(), d.to_ne_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
}
