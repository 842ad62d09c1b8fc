//! What time it is for the kernel side.

/// The clock of every time in a flow: CLOCK_MONOTONIC, in nanoseconds.
#[must_use]
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
