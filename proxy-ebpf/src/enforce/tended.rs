//! Whether somebody looks after what is changed.

use crate::flows::now;
use crate::maps::TENDED;
use proxy_common::stand_in::UNTENDED_NS;

/// Whether the daemon keeps the time: one that is dead or stands still repeats no FIN, gives nobody
/// up, and tells nobody what its rules do. clsact filters outlive it.
#[inline(always)]
pub fn is_tended() -> bool {
    // SAFETY: the map's only entry, written whole by the daemon.
    let tended = TENDED.get_ptr(0).map_or(0, |at| unsafe { *at });
    now().saturating_sub(tended) < UNTENDED_NS
}
