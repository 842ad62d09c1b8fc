//! How many connections wait for an incoming segment without a control flag: while there are any,
//! data is looked at.

use crate::counters;
use crate::maps::PENDING;
use proxy_common::acts::{Acts, HOLDS_FIN};

/// Whether any connection waits for an incoming segment without a control flag.
#[inline(always)]
pub fn any() -> bool {
    // SAFETY: the map's only entry; a look that is a moment late does no harm.
    PENDING.get_ptr(0).is_some_and(|pending| unsafe { *pending } != 0)
}

/// The connection's entry goes, or is used anew: what it waited for will not come.
#[inline(always)]
pub fn forget(acts: &Acts) {
    if acts.bits & HOLDS_FIN != 0 {
        add(-1);
    }
}

/// Takes the word that a FIN is held out of the record of a connection that is locked; says whether it
/// was there. Who has it takes one off the count once the lock is free.
#[inline(always)]
pub fn take(acts: &mut Acts) -> bool {
    let held = acts.bits & HOLDS_FIN != 0;
    acts.bits &= !HOLDS_FIN;
    held
}

/// One connection more, or less, for which incoming data must be looked at.
#[inline(always)]
pub fn add(by: i64) {
    if let Some(value) = PENDING.get_ptr_mut(0) {
        counters::add(value, by);
    }
}
