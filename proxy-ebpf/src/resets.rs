//! Why a RST was sent and what an accepted one threw away, by the kernel's tracepoints.
//!
//! Raw tracepoints: their arguments are the kernel's own pointers, whose layout the daemon read
//! from BTF. They also see sockets that are older than these programs.

use crate::counters::count;
use crate::flows::wake_flags;
use crate::maps::EVENTS;
use crate::owner::peek;
use crate::settings::{netns_cookie, offset};
use crate::sockets::SOCK_DONE;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::BPF_SOCK_OPS_STATE_CB_FLAG;
use aya_ebpf::programs::RawTracePointContext;
use bytemuck::Zeroable as _;
use proxy_common::abi::{Counter, FactsRecord, RECORD_FACTS};
use proxy_common::key::{Endpoint, FlowKey, Side};
use proxy_common::socket::{
    KNOWS_RST_REASON, KNOWS_UNACKED, KNOWS_UNREAD, SocketEvent, phantom_bytes,
};
use proxy_common::wire::{self, Bytes, Link, Packet};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Argument `index` of a raw tracepoint.
#[inline(always)]
fn argument(ctx: &RawTracePointContext, index: usize) -> u64 {
    // SAFETY: the context is an array of 64-bit arguments; the verifier checks the index.
    unsafe { *ctx.as_ptr().cast::<u64>().add(index) }
}

/// `tcp_send_reset(sk, skb, reason)`. `skb` is the segment that is answered; an application's own
/// abort has none.
#[inline(always)]
pub fn sent(ctx: &RawTracePointContext) {
    let (sk, skb) = (argument(ctx, 0), argument(ctx, 1));
    let found = if skb == 0 { of_socket(sk) } else { of_buffer(skb, sk) };
    let Some((key, side)) = found else { return };
    let mut event = SocketEvent::zeroed();
    event.side = side;
    event.rst_reason = argument(ctx, 2) as u32;
    event.known = KNOWS_RST_REASON;
    tell(&key, &event);
}

/// `tcp_receive_reset(sk)`: called by `tcp_reset` before it clears the queues, and before it sets
/// the socket's error.
#[inline(always)]
pub fn received(ctx: &RawTracePointContext) {
    let sk = argument(ctx, 0);
    if tells_its_end(sk) {
        return;
    }
    let Some((key, side)) = of_socket(sk) else { return };
    let mut event = SocketEvent::zeroed();
    event.side = side;
    let read = |at: Option<usize>| peek::<u32>(sk + at? as u64);
    if let (Some(next), Some(copied), Some(flags)) =
        (read(offset!(rcv_nxt)), read(offset!(copied_seq)), read(offset!(sk_flags)))
    {
        event.unread = next.wrapping_sub(copied).saturating_sub(flags >> SOCK_DONE & 1);
        event.known |= KNOWS_UNREAD;
    }
    if let (Some(written), Some(acked)) = (read(offset!(write_seq)), read(offset!(snd_una))) {
        let state = offset!(skc_state).and_then(|at| peek::<u8>(sk + at as u64)).unwrap_or(0);
        event.unacked = written.wrapping_sub(acked).saturating_sub(phantom_bytes(state));
        event.known |= KNOWS_UNACKED;
    }
    tell(&key, &event);
}

/// Whether the socket makes the call-back in which all of this is told at once: those that were
/// there before the programs do not.
#[inline(always)]
fn tells_its_end(sk: u64) -> bool {
    let flags = offset!(sock_ops_flags).and_then(|at| peek::<u8>(sk + at as u64)).unwrap_or(0);
    u32::from(flags) & BPF_SOCK_OPS_STATE_CB_FLAG != 0
}

#[inline(always)]
fn tell(key: &FlowKey, event: &SocketEvent) {
    let Some(mut record) = EVENTS.reserve_untyped::<FactsRecord>(0) else {
        count(Counter::LOST_FACTS);
        return;
    };
    record.write(FactsRecord { kind: RECORD_FACTS, key: *key, event: *event });
    record.submit(wake_flags());
}

/// The connection of a socket of the watched namespace, and the side that the socket is.
#[inline(always)]
fn of_socket(sk: u64) -> Option<(FlowKey, Side)> {
    is_watched(peek::<u64>(sk + offset!(skc_net)? as u64)?)?;
    let family = peek::<u16>(sk + offset!(skc_family)? as u64)?;
    let local_port = u16::from_be(peek::<u16>(sk + offset!(inet_sport)? as u64)?);
    let remote_port = u16::from_be(peek::<u16>(sk + offset!(skc_dport)? as u64)?);
    let (local, remote) = if family == AF_INET {
        (
            Endpoint::v4(peek(sk + offset!(skc_rcv_saddr)? as u64)?, local_port),
            Endpoint::v4(peek(sk + offset!(skc_daddr)? as u64)?, remote_port),
        )
    } else if family == AF_INET6 {
        (
            Endpoint::v6(peek(sk + offset!(skc_v6_rcv_saddr)? as u64)?, local_port),
            Endpoint::v6(peek(sk + offset!(skc_v6_daddr)? as u64)?, remote_port),
        )
    } else {
        return None;
    };
    Some(FlowKey::new(local, remote))
}

/// Headers in kernel memory, from the IP header on.
struct KernelBytes(u64);

impl Bytes for KernelBytes {
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: u32, to: &mut [u8; N]) -> bool {
        peek(self.0 + u64::from(offset)).inspect(|bytes| *to = *bytes).is_some()
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        u32::from(u16::MAX)
    }
}

/// Whether a `struct net` is the namespace that is watched.
#[inline(always)]
fn is_watched(net: u64) -> Option<()> {
    (peek::<u64>(net + offset!(net_cookie)? as u64)? == netns_cookie()).then_some(())
}

/// The connection of a received segment, and the side that received it.
///
/// The stack takes the device off a segment before it gives it to a socket (`tcp_v4_rcv`): then
/// the socket tells the namespace, also one that is only a TIME_WAIT's.
#[inline(always)]
fn of_buffer(skb: u64, sk: u64) -> Option<(FlowKey, Side)> {
    let device = peek::<u64>(skb + offset!(skb_dev)? as u64)?;
    let net = if device == 0 {
        peek::<u64>(sk + offset!(skc_net)? as u64)?
    } else {
        peek::<u64>(device + offset!(dev_net)? as u64)?
    };
    is_watched(net)?;
    let head = peek::<u64>(skb + offset!(skb_head)? as u64)?;
    let network = peek::<u16>(skb + offset!(skb_network_header)? as u64)?;
    let mut packet = Packet::zeroed();
    wire::parse(&KernelBytes(head + u64::from(network)), Link::Ip, &mut packet).ok()?;
    Some((packet.key, packet.segment.sender.other()))
}
