//! Makes room in the table. The daemon says which flows and why; this program looks again under
//! the lock, as the tuple may be in use by another connection by now.

use crate::counters::count;
use crate::enforce::pending;
use crate::flows::{Guard, tell_close};
use crate::maps::{FLOWS, REAP, Slot};
use proxy_common::abi::{
    Counter, LEAVING, REAP_BATCH, REAP_EVICT, REAP_EXPIRE, REAP_NOTHING, REAP_RECLAIM, ReapEntry,
};
use proxy_common::flow::{EVICTED, EXPIRED};

/// Goes through the daemon's list; returns how many entries were freed.
#[inline(always)]
pub fn sweep() -> i32 {
    let mut freed = 0;
    for index in 0..REAP_BATCH {
        let done = td_reap_entry(index as u32);
        if done == END {
            break;
        }
        // Added without a branch: the verifier would follow each count that there can be.
        freed += done & FREED;
    }
    freed as i32
}

/// What became of an entry of the list: it is gone, it stays, there was none.
const FREED: u32 = 1;
const STAYS: u32 = 0;
const END: u32 = 2;

/// Does what one entry of the list asks for. Global, so that the verifier looks at it once: Linux 6.1
/// gives up on a loop over it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_reap_entry(index: u32) -> u32 {
    let Some(reap) = REAP.get_ptr(0) else { return END };
    if index as usize >= REAP_BATCH {
        return END;
    }
    // SAFETY: an entry of the map's only value; the daemon writes it before it runs this.
    let entry = unsafe { &(*reap).entries[index as usize] };
    if entry.verb == REAP_NOTHING {
        return END;
    }
    let Some(slot) = FLOWS.get_ptr_mut(&entry.key) else { return STAYS };
    if entry.verb != REAP_RECLAIM {
        if !give_up(slot, entry) {
            return STAYS;
        }
        tell_close(&entry.key, slot);
    }
    let Some(held) = leave(slot, entry) else { return STAYS };
    if held {
        pending::add(-1);
    }
    if FLOWS.remove(&entry.key).is_err() {
        return STAYS;
    }
    count(match entry.verb {
        REAP_EXPIRE => Counter::EXPIRED,
        REAP_EVICT => Counter::EVICTED,
        _ => Counter::RECLAIMED,
    });
    FREED
}

/// Marks the flow as given up, if it is still the one that the daemon meant; says whether it is.
#[inline(always)]
fn give_up(slot: *mut Slot, entry: &ReapEntry) -> bool {
    let guard = Guard::lock(slot);
    let (flow, reported) = guard.parts();
    let meant = flow.started_ns == entry.started_ns;
    if meant && *reported == 0 {
        flow.marks |= if entry.verb == REAP_EXPIRE { EXPIRED } else { EVICTED };
    }
    guard.unlock();
    meant
}

/// Marks the entry as one that is freed, if it may be: its flow is the one that the daemon meant, and
/// was reported. From then on no other begins in it: freed by its key, that one would be lost without a
/// word. Says whether it held a FIN back, which it does no longer.
#[inline(always)]
fn leave(slot: *mut Slot, entry: &ReapEntry) -> Option<bool> {
    let guard = Guard::lock(slot);
    let (flow, reported) = guard.parts();
    let may = flow.started_ns == entry.started_ns && *reported != 0;
    let mut held = false;
    if may {
        *reported = LEAVING;
        // Here, as another CPU may take it back, too.
        held = pending::take(guard.acts());
    }
    guard.unlock();
    may.then_some(held)
}
