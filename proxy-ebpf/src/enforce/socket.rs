//! What the local socket behind an outgoing segment says.

use crate::settings::{netns_cookie, offset};
use crate::sockets::SOCK_DONE;
use aya_ebpf::bindings::{bpf_sock, bpf_tcp_sock as TcpSock};
use aya_ebpf::helpers::generated::{bpf_sk_fullsock, bpf_skc_to_tcp_sock, bpf_tcp_sock};
use aya_ebpf::programs::TcContext;
use core::ptr::read_volatile;
use proxy_common::decide::{
    CARRIES_DATA, FULL_CLOSE, HAS_SOCKET, IS_RST, PASSIVE, UNACKED, UNREAD, UNSENT, WITH_ACK,
};
use proxy_common::segment::{ACK, RST, Segment};
use proxy_common::socket::tcp_state::{CLOSE_WAIT, LAST_ACK};

/// SOCK_STREAM, and IPPROTO_TCP: the stack's own RST replies carry a raw control socket.
const STREAM: u32 = 1;
const TCP: u32 = 6;
/// SHUTDOWN_MASK: both directions.
const SHUT_BOTH: u32 = 3;

/// The facts for `proxy_common::decide`. `own_fin` is 1 where a FIN of this end was sent before a
/// RST: it has a sequence number, and is no data.
#[inline(never)]
pub fn facts(ctx: &TcContext, segment: &Segment, own_fin: u32) -> u32 {
    let mut facts = 0;
    if segment.has(RST) {
        facts |= IS_RST;
        if segment.has(ACK) {
            facts |= WITH_ACK;
        }
    }
    if segment.payload > 0 {
        facts |= CARRIES_DATA;
    }
    let Some(Stream { sk, tcp, full }) = stream(ctx) else { return facts };
    // SAFETY: a field of a full socket.
    let state = unsafe { read_volatile(&raw const (*sk).state) };
    let (Some(write_seq), Some(copied_seq), Some(shutdown), Some(flags)) =
        (offset!(write_seq), offset!(copied_seq), offset!(sk_shutdown), offset!(sk_flags))
    else {
        return facts;
    };
    // SAFETY: offsets of the running kernel's own type, which the verifier checks again.
    let word = |at: usize| unsafe { read_volatile((full + at) as *const u32) };
    // SAFETY: as above; a byte.
    let shutdown = unsafe { read_volatile((full + shutdown) as *const u8) };
    // SAFETY: fields of a TCP socket.
    let (snd_una, snd_nxt, rcv_nxt) = unsafe { ((*tcp).snd_una, (*tcp).snd_nxt, (*tcp).rcv_nxt) };
    facts |= HAS_SOCKET;
    // In CLOSING we closed before the peer's FIN came (RFC 9293, 3.6): that is an active close.
    if state == CLOSE_WAIT.into() || state == LAST_ACK.into() {
        facts |= PASSIVE;
    }
    if u32::from(shutdown) & SHUT_BOTH == SHUT_BOTH {
        facts |= FULL_CLOSE;
    }
    if segment.has(RST) {
        // It has left its state: that the peer's FIN came shows in a flag alone. The FIN has a
        // sequence number too, which nobody reads who does not ask for the end.
        let peer_fin = word(flags) >> SOCK_DONE & 1;
        if peer_fin != 0 {
            facts |= PASSIVE;
        }
        if segment.seq.wrapping_sub(snd_una) > own_fin {
            facts |= UNACKED;
        }
        if snd_nxt != segment.seq || word(write_seq) != segment.seq {
            facts |= UNSENT;
        }
        if rcv_nxt.wrapping_sub(word(copied_seq)) > peer_fin {
            facts |= UNREAD;
        }
    } else if snd_una != segment.seq {
        facts |= UNACKED;
    }
    facts
}

/// Whether a socket of this host's sent the segment: else it only passes through.
#[inline(never)]
pub fn is_here(ctx: &TcContext) -> bool {
    stream(ctx).is_some()
}

/// The smoothed round-trip time in microseconds; 0 where it is not known.
#[inline(never)]
pub fn round_trip_us(ctx: &TcContext) -> u32 {
    // SAFETY: a field of a TCP socket; the kernel keeps eight times the value.
    stream(ctx).map_or(0, |Stream { tcp, .. }| unsafe { (*tcp).srtt_us >> 3 })
}

/// A local TCP socket, as its common part, as the helpers and as BTF show it.
struct Stream {
    sk: *mut bpf_sock,
    tcp: *mut TcpSock,
    full: usize,
}

/// The local TCP socket that sent the segment.
#[inline(always)]
fn stream(ctx: &TcContext) -> Option<Stream> {
    // SAFETY: a field of the context that the verifier knows.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return None;
    }
    // SAFETY: checked above; the verifier follows the pointer's type.
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() {
        return None;
    }
    // SAFETY: fields of a full socket.
    let (kind, protocol) = unsafe { ((*sk).type_, (*sk).protocol) };
    if kind != STREAM || protocol != TCP {
        return None;
    }
    // SAFETY: a full TCP socket.
    let (tcp, full) = unsafe { (bpf_tcp_sock(sk), bpf_skc_to_tcp_sock(sk.cast())) };
    if tcp.is_null() || full.is_null() || !is_watched(full as usize) {
        return None;
    }
    Some(Stream { sk, tcp, full: full as usize })
}

/// Whether the socket is of the network namespace that is watched: a segment from another one, as a
/// macvlan's, leaves by this host's device with its socket.
#[inline(always)]
fn is_watched(full: usize) -> bool {
    let (Some(net), Some(cookie)) = (offset!(skc_net), offset!(net_cookie)) else { return true };
    // SAFETY: offsets of the running kernel's own types, which the verifier checks again.
    let net = unsafe { read_volatile((full + net) as *const usize) };
    // SAFETY: as above.
    unsafe { read_volatile((net + cookie) as *const u64) == netns_cookie() }
}
