//! Whether a capture comes as it happens, which is told by its times and the clock.

use std::time::{Duration, Instant};

/// How long it is looked at, and how far times may be ahead of the clock: tcpdump is given packets
/// up to a second late.
const WATCH: Duration = Duration::from_secs(1);

/// How a capture comes through a pipe.
#[derive(Debug, Default)]
pub struct Pace {
    /// When it was first waited for, and the time of the packet before that.
    began: Option<(Instant, u64)>,
    /// When the last packet came, and which one that is.
    last: Option<(Instant, u64)>,
    is_live: bool,
}

impl Pace {
    /// The capture is waited for behind so many segments, the latest of that time. Gives how long
    /// it has been silent, where it comes as it happens.
    pub fn pause(&mut self, segments: u64, latest_ns: u64) -> Option<Duration> {
        if segments == 0 {
            return None;
        }
        let now = Instant::now();
        let (began, first_ns) = *self.began.get_or_insert((now, latest_ns));
        let passed = now - began;
        let span = Duration::from_nanos(latest_ns.saturating_sub(first_ns));
        self.is_live |= passed >= WATCH && span <= passed + WATCH;
        let last = self.last.filter(|&(_, number)| number == segments);
        let (since, _) = *self.last.insert(last.unwrap_or((now, segments)));
        self.is_live.then(|| now - since)
    }
}
