//! Counting.

use crate::maps::COUNTS;
use proxy_common::abi::Counter;

/// Adds one to a counter of this CPU.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTS.get_ptr_mut(counter.0) {
        // A soft interrupt may count between a load and a store of ours, so the addition is one
        // instruction. `core` offers none here: it asks for compare-and-swap as well.
        // SAFETY: the pointer is this CPU's entry of the map.
        unsafe {
            core::arch::asm!(
                "lock *(u64 *)({value} + 0) += {one}",
                value = in(reg) value,
                one = in(reg) 1u64,
            );
        }
    }
}
