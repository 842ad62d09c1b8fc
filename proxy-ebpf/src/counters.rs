//! Counting.

use crate::maps::COUNTS;
use proxy_common::abi::Counter;

/// Adds one to a counter of this CPU.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTS.get_ptr_mut(counter.0) {
        add_one(value);
    }
}

/// Adds one to a value of a map.
#[inline(always)]
pub fn add_one(value: *mut u64) {
    add(value, 1);
}

/// Adds to a value of a map in one instruction: another CPU or a soft interrupt may do so
/// meanwhile. `core` offers none here, as it asks for compare-and-swap as well.
#[inline(always)]
pub fn add(value: *mut u64, by: i64) {
    // SAFETY: a pointer to a value of a map, which the verifier checks.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({value} + 0) += {by}",
            value = in(reg) value,
            by = in(reg) by,
        );
    }
}
