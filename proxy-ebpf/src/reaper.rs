//! Makes room in the table. The daemon says which flows and why; this program looks again under
//! the lock, as the tuple may be in use by another connection by now.

use crate::counters::count;
use crate::enforce::no_longer_pending;
use crate::flows::{Guard, tell_close};
use crate::maps::{FLOWS, REAP, Slot};
use proxy_common::abi::{
    Counter, REAP_BATCH, REAP_EVICT, REAP_EXPIRE, REAP_NOTHING, REAP_RECLAIM, ReapEntry,
};
use proxy_common::flow::{EVICTED, EXPIRED};

/// Goes through the daemon's list; returns how many entries were freed.
#[inline(always)]
pub fn sweep() -> i32 {
    let Some(reap) = REAP.get_ptr(0) else { return 0 };
    let mut freed = 0;
    for index in 0..REAP_BATCH {
        // SAFETY: an entry of the map's only value; the daemon writes it before it runs this.
        let entry = unsafe { &(*reap).entries[index] };
        if entry.verb == REAP_NOTHING {
            break;
        }
        if let Some(slot) = FLOWS.get_ptr_mut(&entry.key)
            && may_go(slot, entry)
        {
            if entry.verb != REAP_RECLAIM {
                tell_close(&entry.key, slot);
            }
            // SAFETY: a pointer to a value of the map; a copy of what stands there.
            let acts = unsafe { (*slot).acts };
            if FLOWS.remove(&entry.key).is_ok() {
                no_longer_pending(&acts);
                freed += 1;
                count(match entry.verb {
                    REAP_EXPIRE => Counter::EXPIRED,
                    REAP_EVICT => Counter::EVICTED,
                    _ => Counter::RECLAIMED,
                });
            }
        }
    }
    freed
}

/// Whether the flow is still the one that the daemon meant, and in the state that it meant.
#[inline(always)]
fn may_go(slot: *mut Slot, entry: &ReapEntry) -> bool {
    let guard = Guard::lock(slot);
    let (flow, reported) = guard.parts();
    let reported = *reported != 0;
    let may = flow.started_ns == entry.started_ns && (entry.verb != REAP_RECLAIM || reported);
    if may && !reported {
        flow.marks |= if entry.verb == REAP_EXPIRE { EXPIRED } else { EVICTED };
    }
    guard.unlock();
    may
}
