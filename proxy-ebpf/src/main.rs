//! teardown's kernel side: entry points. What they do stands in the modules.
//!
//! In doubt a program leaves the packet and the socket alone, says "next", so that other people's
//! programs on the same hook run, and counts what it could not do.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a field of the context or of a map's value, read through its pointer, counts as two"
)]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a key handed over by value would be one more copy on a small stack"
)]
#![allow(missing_docs, unreachable_pub, reason = "aya's macros make public functions without docs")]

mod counters;
mod direction;
mod enforce;
mod flows;
mod headers;
mod maps;
mod owner;
mod packets;
mod payload;
mod reaper;
mod resets;
mod settings;
mod sockets;
mod strike;

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::{classifier, raw_tracepoint, sock_ops, xdp};
use aya_ebpf::programs::{RawTracePointContext, SockOpsContext, TcContext, XdpContext};
use direction::Direction;
use proxy_common::wire::Link;

/// tc ingress of devices with an Ethernet header.
#[classifier]
pub fn td_ingress(ctx: TcContext) -> i32 {
    packets::classify(&ctx, Link::Ethernet, Direction::INGRESS)
}

/// tc egress of devices with an Ethernet header.
#[classifier]
pub fn td_egress(ctx: TcContext) -> i32 {
    packets::classify(&ctx, Link::Ethernet, Direction::EGRESS)
}

/// tc ingress of devices without a link header (tun, tunnels).
#[classifier]
pub fn td_ingress_ip(ctx: TcContext) -> i32 {
    packets::classify(&ctx, Link::Ip, Direction::INGRESS)
}

/// tc egress of devices without a link header.
#[classifier]
pub fn td_egress_ip(ctx: TcContext) -> i32 {
    packets::classify(&ctx, Link::Ip, Direction::EGRESS)
}

/// XDP in place of tc ingress, with an Ethernet header.
#[xdp]
pub fn td_xdp(ctx: XdpContext) -> u32 {
    packets::express(&ctx, Link::Ethernet);
    XDP_PASS
}

/// XDP in place of tc ingress, without a link header.
#[xdp]
pub fn td_xdp_ip(ctx: XdpContext) -> u32 {
    packets::express(&ctx, Link::Ip);
    XDP_PASS
}

/// tc ingress behind XDP, with an Ethernet header: XDP has seen the packet, and cannot change closes.
#[classifier]
pub fn td_guard(ctx: TcContext) -> i32 {
    packets::guard(&ctx, Link::Ethernet)
}

/// tc ingress behind XDP, without a link header.
#[classifier]
pub fn td_guard_ip(ctx: TcContext) -> i32 {
    packets::guard(&ctx, Link::Ip)
}

/// Local sockets: their states, counters and owners.
#[sock_ops]
pub fn td_sockets(ctx: SockOpsContext) -> u32 {
    sockets::changed(&ctx);
    1
}

/// `tcp:tcp_send_reset`: why the kernel sends a RST.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn td_reset_sent(ctx: RawTracePointContext) -> i32 {
    resets::sent(&ctx);
    0
}

/// `tcp:tcp_receive_reset`: a socket accepts a RST.
#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn td_reset_recv(ctx: RawTracePointContext) -> i32 {
    resets::received(&ctx);
    0
}

/// Run by the daemon, attached nowhere: frees what was reported, gives up what shows no life.
#[classifier]
pub fn td_reap(_ctx: TcContext) -> i32 {
    reaper::sweep()
}

/// Run by the daemon, attached nowhere: does for a stand-in what time asks for.
#[classifier]
pub fn td_tend(ctx: TcContext) -> i32 {
    packets::tend(&ctx)
}

/// Run by the daemon, attached nowhere: looks at a local socket, and ends its connection.
#[classifier]
pub fn td_strike(ctx: TcContext) -> i32 {
    strike::run(&ctx)
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing in these programs panics; a loop here would make the verifier refuse them.
    unsafe { core::hint::unreachable_unchecked() }
}

/// The helpers that the programs call are for programs under the GPL too.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
