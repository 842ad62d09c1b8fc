//! The table of flows: a packet or a socket's change finds its flow, steps it under the flow's
//! lock, and the end of a connection goes to the daemon.

use crate::counters::count;
use crate::direction::Direction;
use crate::enforce::pending;
use crate::maps::{ASLEEP, EMPTY, EVENTS, FLOWS, STATED, Slot};
use crate::settings;
use aya_ebpf::bindings::{BPF_NOEXIST, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_ns, bpf_map_update_elem, bpf_ringbuf_reserve, bpf_ringbuf_submit, bpf_spin_lock,
    bpf_spin_unlock,
};
use bytemuck::Zeroable as _;
use proxy_common::abi::{
    CloseRecord, Counter, LEAVING, RECORD_CLOSE, RECORD_NOTHING, RECORD_SEGMENT, REPORTED,
    SWITCH_ENFORCE, SWITCH_FULL_HISTORY, SWITCH_SEGMENTS, SegmentRecord, Statement,
};
use proxy_common::acts::{ALL_ACKED, Acts, CLOSE_BY_FIN, STOOD_IN, TOLD_LOCAL};
use proxy_common::flow::{self, Flow, Input, Mode, Outcome};
use proxy_common::key::FlowKey;
use proxy_common::segment::{ACK, CONTROL, SYN, Segment};
use proxy_common::socket::SocketEvent;
use proxy_common::socket::tcp_state::{CLOSE, ESTABLISHED, SYN_SENT};

/// The time, CLOCK_MONOTONIC in nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// A segment was seen. Global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_segment(key: *const FlowKey, segment: *const Segment) -> u32 {
    // SAFETY: the verifier knows the pointers' sizes; they may be null for all that it knows.
    if let (Some(key), Some(segment)) = unsafe { (key.as_ref(), segment.as_ref()) } {
        self::segment(key, segment);
    }
    0
}

#[inline(always)]
fn segment(key: &FlowKey, segment: &Segment) {
    let now = now();
    // With data it was told where the packet is at hand.
    if settings::has(SWITCH_SEGMENTS) && settings::payload() == 0 && segment.has(CONTROL) {
        tell_segment(key, segment, now);
    }
    // Of a SYN that comes in nobody has spoken yet; one that goes out was told by its socket.
    let begins = segment.flags & (SYN | ACK) == SYN && Direction::of(segment) == Direction::INGRESS;
    let Some(slot) = (if begins { make_or_find(key) } else { find_or_make(key) }) else { return };
    let mode = if settings::has(SWITCH_FULL_HISTORY) { Mode::FULL } else { Mode::SPARSE };
    advance(key, slot, Input::Segment(segment), mode, now);
}

/// A local socket changed its state. `makes` says whether it may begin a flow. Global, so that the
/// verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_socket(key: *const FlowKey, event: *mut SocketEvent, makes: u32) -> u32 {
    // SAFETY: the verifier knows the pointers' sizes; they may be null for all that it knows.
    if let (Some(key), Some(event)) = unsafe { (key.as_ref(), event.as_mut()) } {
        socket(key, event, makes != 0);
    }
    0
}

#[inline(always)]
fn socket(key: &FlowKey, event: &mut SocketEvent, makes: bool) {
    let slot = if !makes {
        find(key)
    } else if event.new_state == SYN_SENT {
        make_or_find(key)
    } else {
        find_or_make(key)
    };
    let Some(slot) = slot else { return };
    if settings::has(SWITCH_ENFORCE) && was_told(slot, event) {
        // The RST that ended it was our own, and no word of the peer's.
        event.err = 0;
        event.old_state = ESTABLISHED;
    }
    let mode = if settings::has(SWITCH_FULL_HISTORY) { Mode::FULL } else { Mode::SPARSE };
    advance(key, slot, Input::Socket(event), mode, now());
    if settings::has(SWITCH_ENFORCE) && event.new_state == SYN_SENT {
        note_statement(slot, event.cookie);
    }
}

/// Remembers what this host's own proxy stated of a connection that begins.
#[inline(always)]
fn note_statement(slot: *mut Slot, cookie: u64) {
    let Some(stated) = STATED.get_ptr(Statement::slot(cookie)) else { return };
    // SAFETY: an entry of the map. The daemon may write it now: it takes the cookie away first, which is
    // why that is read last.
    let (server, class, stated_of) = unsafe {
        let server = (&raw const (*stated).server).read_volatile();
        let class = (&raw const (*stated).class).read_volatile();
        (server, class, (&raw const (*stated).cookie).read_volatile())
    };
    if cookie == 0 || stated_of != cookie {
        return;
    }
    let guard = Guard::lock(slot);
    let acts = guard.acts();
    acts.class = class as u8;
    acts.server = server as u16;
    guard.unlock();
}

/// Whether this socket's end is the work of a RST that was made for it; corrects what that took from
/// it to be lost.
#[inline(always)]
fn was_told(slot: *mut Slot, event: &mut SocketEvent) -> bool {
    let guard = Guard::lock(slot);
    let acts = guard.acts();
    // Closed by a FIN and a stand-in, the socket is aborted by command, and the peer still speaks.
    let both = STOOD_IN | CLOSE_BY_FIN;
    let told = acts.bits & TOLD_LOCAL != 0 || acts.bits & both == both;
    let told = told && acts.local == event.side.0 && event.new_state == CLOSE;
    let all_acked = acts.bits & ALL_ACKED != 0;
    guard.unlock();
    if told && all_acked {
        event.unacked = 0;
    }
    told
}

/// The slot of `key`, if there is one. Looked up by a copy on the stack, here and below: Linux 6.1
/// takes no key behind a pointer that was given to a global function.
#[inline(always)]
pub fn find(key: &FlowKey) -> Option<*mut Slot> {
    let key = *key;
    FLOWS.get_ptr_mut(&key)
}

/// The slot of `key`, made if there is none.
#[inline(always)]
pub fn find_or_make(key: &FlowKey) -> Option<*mut Slot> {
    find(key).or_else(|| make_or_find(key))
}

/// The same where it is likely that there is none yet: one look-up less then.
#[inline(always)]
fn make_or_find(key: &FlowKey) -> Option<*mut Slot> {
    let key = *key;
    let empty = EMPTY.get_ptr(0)?;
    // SAFETY: both pointers are to memory of the map's key and value size.
    let failed = unsafe {
        bpf_map_update_elem(
            (&raw const FLOWS).cast_mut().cast(),
            (&raw const key).cast(),
            empty.cast(),
            u64::from(BPF_NOEXIST),
        )
    };
    if failed == 0 {
        count(Counter::FLOWS_MADE);
    }
    // Another CPU may have made it meanwhile: that one serves as well.
    let slot = FLOWS.get_ptr_mut(&key);
    if slot.is_none() {
        count(Counter::LOST_TABLE_FULL);
    }
    slot
}

/// Steps the flow, and reports it where it is over. A connection that begins on the tuple of an
/// old one first sees the old one reported.
#[inline(always)]
fn advance(key: &FlowKey, slot: *mut Slot, input: Input<'_>, mode: Mode, now: u64) {
    // At most: the old connection is reported, the new one stepped.
    for _ in 0..2 {
        let guard = Guard::lock(slot);
        let (flow, reported) = guard.parts();
        let anew = flow::begins_anew(flow, input);
        let mut before = Acts::zeroed();
        let owed = anew && *reported == 0;
        // The reaper frees it by its key, whatever would stand in it by then.
        let lost = anew && *reported == LEAVING;
        let mut outcome = Outcome(0);
        if !owed && !lost {
            if anew {
                *reported = 0;
                // All zeros is a flow not begun.
                *flow = Flow::zeroed();
                before = *guard.acts();
                *guard.acts() = Acts::zeroed();
            }
            outcome = flow::step(flow, key, input, mode, now);
        }
        guard.unlock();
        pending::forget(&before);
        if lost {
            count(Counter::LOST_LEAVING);
        }
        if outcome.has(Outcome::LATE) {
            count(Counter::LATE);
        }
        if owed || outcome.has(Outcome::CLOSED) {
            tell_close(key, slot);
        }
        if !owed {
            return;
        }
    }
}

/// A slot under its lock. No helper may be called before [`Guard::unlock`].
pub struct Guard(*mut Slot);

#[expect(clippy::mut_from_ref, reason = "the lock makes the reference the only one")]
impl Guard {
    /// Takes the lock.
    #[inline(always)]
    pub fn lock(slot: *mut Slot) -> Self {
        // SAFETY: `slot` points to a value of the map; the verifier pairs lock and unlock.
        unsafe { bpf_spin_lock(&raw mut (*slot).lock) };
        Self(slot)
    }

    /// The flow, and whether it was reported.
    #[inline(always)]
    pub fn parts(&self) -> (&mut Flow, &mut u32) {
        let slot = self.0;
        // SAFETY: the lock is held, so that nobody else has a reference.
        unsafe { (&mut (*slot).flow, &mut (*slot).reported) }
    }

    /// What teardown did to the connection.
    #[inline(always)]
    pub fn acts(&self) -> &mut Acts {
        // SAFETY: as in `parts`.
        unsafe { &mut (*self.0).acts }
    }

    /// Gives the lock back.
    #[inline(always)]
    pub fn unlock(self) {
        // SAFETY: taken by `lock`.
        unsafe { bpf_spin_unlock(&raw mut (*self.0).lock) };
    }
}

/// Gives the whole flow to the daemon, once.
#[inline(never)]
pub fn tell_close(key: &FlowKey, slot: *mut Slot) {
    // SAFETY: the helper returns memory of that size or null.
    let record = unsafe {
        bpf_ringbuf_reserve(
            (&raw const EVENTS).cast_mut().cast(),
            size_of::<CloseRecord>() as u64,
            0,
        )
    }
    .cast::<CloseRecord>();
    let guard = Guard::lock(slot);
    let (flow, reported) = guard.parts();
    let first = *reported == 0;
    if first {
        // Without room it counts as reported too: else every later segment would count it as lost.
        *reported = REPORTED;
    }
    if !record.is_null() {
        // SAFETY: reserved above with the size of the record.
        unsafe {
            core::ptr::copy_nonoverlapping(flow, &raw mut (*record).flow, 1);
            core::ptr::copy_nonoverlapping(&raw const (*slot).acts, &raw mut (*record).acts, 1);
        }
    }
    guard.unlock();
    if record.is_null() {
        if first {
            count(Counter::LOST_RING_FULL);
        }
        return;
    }
    // SAFETY: as above; every byte of the record is written before it is submitted.
    unsafe {
        (*record).kind = if first { RECORD_CLOSE } else { RECORD_NOTHING };
        (*record).key = *key;
        bpf_ringbuf_submit(record.cast(), wake_flags());
    }
    if first {
        count(Counter::CLOSES);
    }
}

/// Gives a control segment to the daemon.
#[inline(always)]
fn tell_segment(key: &FlowKey, segment: &Segment, now: u64) {
    let Some(mut record) = EVENTS.reserve_untyped::<SegmentRecord>(0) else {
        count(Counter::LOST_SEGMENT_RECORDS);
        return;
    };
    record.write(SegmentRecord { kind: RECORD_SEGMENT, key: *key, at_ns: now, segment: *segment });
    record.submit(wake_flags());
}

/// Wakes the daemon, if it sleeps, without telling it anything.
#[inline(always)]
pub fn wake_up() {
    let flags = wake_flags();
    if flags == u64::from(BPF_RB_FORCE_WAKEUP)
        && let Some(mut record) = EVENTS.reserve(0)
    {
        record.write(u64::from(RECORD_NOTHING));
        record.submit(flags);
    }
}

/// Whether submitting wakes the daemon. Awake, it looks by itself every few milliseconds, and a
/// wake-up costs more than all else that is done for a close.
#[inline(always)]
pub fn wake_flags() -> u64 {
    if let Some(asleep) = ASLEEP.get_ptr_mut(0) {
        // SAFETY: the map's only entry; whoever reads 1 first wakes, and twice does no harm.
        if unsafe { *asleep } != 0 {
            // SAFETY: as above.
            unsafe { *asleep = 0 };
            return u64::from(BPF_RB_FORCE_WAKEUP);
        }
    }
    u64::from(BPF_RB_NO_WAKEUP)
}
