//! `--payload`: control segments are told with the first bytes of their data. Without it none of
//! this is in the programs.

use crate::counters::count;
use crate::flows::{now, wake_flags};
use crate::maps::{EVENTS, TOLD};
use crate::settings;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::generated::{bpf_ringbuf_output, bpf_skb_load_bytes, bpf_xdp_load_bytes};
use core::hint::black_box;
use proxy_common::abi::{Counter, MOST_PAYLOAD, RECORD_SEGMENT, SegmentRecord};
use proxy_common::wire::Packet;

/// Tells a socket buffer's segment. Global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_tell_skb(ctx: *mut __sk_buff, packet: *const Packet) -> u32 {
    // SAFETY: the verifier knows the pointer's size; it may be null for all that it knows.
    let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
    // SAFETY: the helper fills as many bytes of the map's value as it is told, or none.
    tell(packet, |at, to, len| unsafe { bpf_skb_load_bytes(ctx.cast(), at, to.cast(), len) == 0 });
    0
}

/// Tells an XDP frame's segment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_tell_xdp(ctx: *mut xdp_md, packet: *const Packet) -> u32 {
    // SAFETY: as in `td_tell_skb`.
    let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
    // SAFETY: as in `td_tell_skb`.
    tell(packet, |at, to, len| unsafe { bpf_xdp_load_bytes(ctx, at, to.cast(), len) == 0 });
    0
}

#[inline(always)]
fn tell(packet: &Packet, load: impl FnOnce(u32, *mut u8, u32) -> bool) {
    let Some(told) = TOLD.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's entry of the map; soft interrupts are off, and nothing nests in this.
    let told = unsafe { &mut *told };
    let (key, segment) = (packet.key, packet.segment);
    told.record = SegmentRecord { kind: RECORD_SEGMENT, key, at_ns: now(), segment };
    let mut size = size_of::<SegmentRecord>() as u64;
    if segment.payload != 0 {
        let len = segment.payload.min(settings::payload());
        // From 1 to `MOST_PAYLOAD` whatever `len` is, in a way that the verifier can follow.
        let len = (black_box(len).wrapping_sub(1) & (MOST_PAYLOAD - 1)) + 1;
        let at = u32::from(packet.tcp_offset) + u32::from(packet.tcp_header_len);
        if load(at, told.data.as_mut_ptr(), len) {
            size += u64::from(len);
        }
    }
    // SAFETY: `size` bytes of the map's value are a record and data that was loaded.
    let failed = unsafe {
        bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            core::ptr::from_mut(told).cast(),
            size,
            wake_flags(),
        )
    };
    if failed != 0 {
        count(Counter::LOST_SEGMENT_RECORDS);
    }
}
