//! Help for the kernel's verifier.
//!
//! It follows a program along every path, and only where two paths meet in the same state does it
//! follow one of them alone. What a path has decided is such a state as long as it is remembered:
//! twenty remembered decisions make a million paths. So between its parts the machine forgets:
//! everything is read from the flow again, and what must be remembered is made to look as if any
//! path could have decided so. On a host this costs an instruction or two.

use super::Flow;
use core::sync::atomic::{Ordering, compiler_fence};

/// What was read before is read again after this.
#[inline(always)]
pub(super) fn forget() {
    compiler_fence(Ordering::SeqCst);
}

/// `decided`, without the path that decided it: `reserved` is 0, which only we know.
#[inline(always)]
pub(super) const fn blur(flow: &Flow, decided: bool) -> bool {
    (decided as u8 ^ flow.reserved) & 1 != 0
}
