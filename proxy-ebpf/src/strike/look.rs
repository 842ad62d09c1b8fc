//! What the local socket of a connection says, full or a minisock.

use crate::settings::offset;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    __sk_buff, bpf_sock, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
};
use aya_ebpf::helpers::generated::{
    bpf_sk_release, bpf_skc_lookup_tcp, bpf_skc_to_tcp_sock, bpf_skc_to_tcp_timewait_sock,
    bpf_tcp_sock,
};
use aya_ebpf::programs::TcContext;
use core::ptr::read_volatile;
use proxy_common::key::Endpoint;
use proxy_common::stand_in::{TCP_LEN, TCP_LEN_WITH_TIMESTAMPS};
use proxy_common::strike::{DONE, GONE, SIGNED, SIGNED_ORPHAN, Strike, UNABLE};

/// Looks the socket up and fills in what it says. Global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_look(ctx: *mut __sk_buff, strike: *mut Strike) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    let Some(strike) = (unsafe { strike.as_mut() }) else { return GONE };
    let ctx = TcContext::new(ctx);
    strike.state = 0;
    let sk = find(&ctx, strike);
    if sk.is_null() {
        return GONE;
    }
    let known = read_minisock(sk, strike).or_else(|| read_socket(sk, strike));
    // SAFETY: the reference that the look-up took.
    unsafe { bpf_sk_release(sk.cast()) };
    if known.is_some() { DONE } else { UNABLE }
}

/// The socket of the connection's local end, with a reference.
#[inline(always)]
fn find(ctx: &TcContext, strike: &Strike) -> *mut bpf_sock {
    let local = *strike.key.end(strike.local);
    let peer = *strike.key.end(strike.local.other());
    let (mut tuple, size) = if peer.is_ipv4() {
        let tail = |end: &Endpoint| {
            u32::from_ne_bytes([end.addr[12], end.addr[13], end.addr[14], end.addr[15]])
        };
        let ipv4 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
            saddr: tail(&peer),
            daddr: tail(&local),
            sport: peer.port.to_be(),
            dport: local.port.to_be(),
        };
        (
            bpf_sock_tuple { __bindgen_anon_1: bpf_sock_tuple__bindgen_ty_1 { ipv4 } },
            size_of_val(&ipv4),
        )
    } else {
        let ipv6 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
            saddr: bytemuck::cast(peer.addr),
            daddr: bytemuck::cast(local.addr),
            sport: peer.port.to_be(),
            dport: local.port.to_be(),
        };
        (
            bpf_sock_tuple { __bindgen_anon_1: bpf_sock_tuple__bindgen_ty_1 { ipv6 } },
            size_of_val(&ipv6),
        )
    };
    // SAFETY: the tuple has the size that is said. All ones: the namespace of the context.
    unsafe { bpf_skc_lookup_tcp(ctx.as_ptr(), &raw mut tuple, size as u32, u64::MAX, 0) }
}

/// A minisock: the orphan of FIN_WAIT2, or TIME_WAIT in earnest. `None` where it is none.
#[inline(always)]
fn read_minisock(sk: *mut bpf_sock, strike: &mut Strike) -> Option<()> {
    // SAFETY: a socket that the look-up found.
    let tw = unsafe { bpf_skc_to_tcp_timewait_sock(sk.cast()) };
    if tw.is_null() {
        return None;
    }
    // SAFETY: offsets of the running kernel's own type, which the verifier checks again.
    let word = |at: usize| unsafe { read_volatile((tw as usize + at) as *const u32) };
    let (substate, rcv_nxt, snd_nxt) =
        (offset!(tw_substate)?, offset!(tw_rcv_nxt)?, offset!(tw_snd_nxt)?);
    let (ts_recent, ts_offset) = (offset!(tw_ts_recent)?, offset!(tw_ts_offset)?);
    // SAFETY: as above; a byte.
    strike.state = u32::from(unsafe { read_volatile((tw as usize + substate) as *const u8) });
    strike.snd_nxt = word(snd_nxt);
    strike.rcv_nxt = word(rcv_nxt);
    strike.snd_una = strike.snd_nxt;
    strike.write_seq = strike.snd_nxt;
    strike.ts_recent = word(ts_recent);
    strike.ts_offset = word(ts_offset);
    strike.header_len = if strike.ts_recent == 0 { TCP_LEN } else { TCP_LEN_WITH_TIMESTAMPS };
    let has_key =
        is_set(tw as usize, offset!(tw_md5_key)) || is_set(tw as usize, offset!(tw_ao_info));
    strike.signed = if has_key { SIGNED_ORPHAN } else { 0 };
    Some(())
}

/// Whether a pointer in a socket is set; a kernel that cannot sign has none for keys.
#[inline(always)]
fn is_set(socket: usize, at: Option<usize>) -> bool {
    // SAFETY: offsets of the running kernel's own type, which the verifier checks again.
    at.is_some_and(|at| unsafe { read_volatile((socket + at) as *const u64) } != 0)
}

/// A full socket, or one that listens: that one has no numbers, and its state says so.
#[inline(always)]
fn read_socket(sk: *mut bpf_sock, strike: &mut Strike) -> Option<()> {
    // SAFETY: a socket that the look-up found.
    let (tcp, full) = unsafe { (bpf_tcp_sock(sk), bpf_skc_to_tcp_sock(sk.cast())) };
    if tcp.is_null() || full.is_null() {
        return None;
    }
    // SAFETY: offsets of the running kernel's own type, which the verifier checks again.
    let word = |at: usize| unsafe { read_volatile((full as usize + at) as *const u32) };
    let (write_seq, header_len) = (offset!(write_seq)?, offset!(tcp_header_len)?);
    let (ts_recent, ts_offset) = (offset!(ts_recent)?, offset!(ts_offset)?);
    let state = offset!(skc_state)?;
    // SAFETY: fields of a TCP socket.
    let (snd_nxt, snd_una, rcv_nxt) = unsafe { ((*tcp).snd_nxt, (*tcp).snd_una, (*tcp).rcv_nxt) };
    strike.snd_nxt = snd_nxt;
    strike.snd_una = snd_una;
    strike.rcv_nxt = rcv_nxt;
    strike.write_seq = word(write_seq);
    strike.ts_recent = word(ts_recent);
    strike.ts_offset = word(ts_offset);
    // SAFETY: as above; two bytes and one.
    let (len, state) = unsafe {
        (
            read_volatile((full as usize + header_len) as *const u16),
            read_volatile((full as usize + state) as *const u8),
        )
    };
    strike.header_len = u32::from(len);
    let has_key =
        is_set(full as usize, offset!(md5_keys)) || is_set(full as usize, offset!(ao_info));
    strike.signed = if has_key { SIGNED } else { 0 };
    // Last: with a state the numbers are there.
    strike.state = u32::from(state);
    Some(())
}
