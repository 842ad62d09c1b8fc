//! From the kernel's clock to the wall's.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// How long an offset is trusted: long enough to cost nothing, short enough to follow a clock that
/// is being set or slewed.
const TRUSTED_NS: u64 = 1_000_000_000;

/// Which clock a source's times are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceClock {
    /// CLOCK_MONOTONIC: `bpf_ktime_get_ns`. Stands still while the host sleeps.
    Monotonic,
    /// CLOCK_BOOTTIME: `bpf_ktime_get_boot_ns`.
    Boottime,
    /// Nanoseconds since 1970 already, as in a capture.
    Realtime,
}

impl SourceClock {
    /// What it reads now, in nanoseconds.
    #[must_use]
    pub fn now(self) -> u64 {
        let id = match self {
            Self::Monotonic => ClockId::Monotonic,
            Self::Boottime => ClockId::Boottime,
            Self::Realtime => ClockId::Realtime,
        };
        nanoseconds(clock_gettime(id)).unsigned_abs()
    }
}

/// The distance between a source's clock and the wall's, read anew now and then.
#[derive(Debug)]
pub struct WallClock {
    source: SourceClock,
    offset_ns: i64,
    read_at: u64,
}

impl WallClock {
    /// Reads both clocks.
    #[must_use]
    pub fn new(source: SourceClock) -> Self {
        let mut clock = Self { source, offset_ns: 0, read_at: 0 };
        clock.read();
        clock
    }

    /// The source's clock now, in nanoseconds; reads the offset anew where it has grown old.
    pub fn now(&mut self) -> u64 {
        let now = self.source.now();
        if now.saturating_sub(self.read_at) > TRUSTED_NS {
            self.read();
        }
        now
    }

    /// Nanoseconds since 1970 for a time of the source's.
    #[must_use]
    pub fn unix_ns(&self, source_ns: u64) -> i64 {
        source_ns.cast_signed().wrapping_add(self.offset_ns)
    }

    fn read(&mut self) {
        if self.source == SourceClock::Realtime {
            return;
        }
        // The wall is read between two readings of the source: their middle is the same moment,
        // give or take half of what passed between them.
        let before = self.source.now();
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = self.source.now();
        let middle = before + (after - before) / 2;
        self.offset_ns = wall.wrapping_sub(middle.cast_signed());
        self.read_at = after;
    }
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_agrees_with_the_wall() {
        for source in [SourceClock::Monotonic, SourceClock::Boottime, SourceClock::Realtime] {
            let mut clock = WallClock::new(source);
            let wall = || nanoseconds(clock_gettime(ClockId::Realtime));
            let before = wall();
            let now = clock.now();
            let after = wall();
            // What this thread was kept from running in between is no error.
            let told = clock.unix_ns(now);
            let (early, late) = (before - told, told - after);
            assert!(early.max(late) < 100_000_000, "{source:?} is {early} or {late} ns off");
        }
    }
}
