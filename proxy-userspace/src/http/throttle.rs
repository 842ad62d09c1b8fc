//! How many clients may connect in a second (`maxconnrate`, `rate-limit`, `set rate-limit`).

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering::Relaxed},
};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_secs(1);

/// Limits on the clients of the process or of a frontend. A connection is a session here, so that the lower one
/// counts.
#[derive(Debug, Default)]
pub struct Throttle {
    /// Connections in a second, at most; 0 is no limit.
    pub connections: AtomicU32,
    /// Sessions in a second, at most; 0 is no limit.
    pub sessions: AtomicU32,
    seen: Mutex<Seen>,
}

/// What came in this period and in the one before, as HAProxy counts it: of the latter that part
/// that is still within a second.
#[derive(Debug, Default)]
struct Seen {
    since: Option<Instant>,
    now: u32,
    before: u32,
}

impl Throttle {
    /// With these limits.
    pub fn new(connections: u32, sessions: u32) -> Self {
        let (connections, sessions) = (connections.into(), sessions.into());
        Self { connections, sessions, seen: Mutex::default() }
    }

    fn limit(&self) -> Option<u32> {
        let limits = [&self.connections, &self.sessions].map(|limit| limit.load(Relaxed));
        limits.into_iter().filter(|&limit| limit > 0).min()
    }

    /// Whether one more may come now. Where there is no limit no clock is looked at.
    pub fn has_room(&self, now: impl FnOnce() -> Instant) -> bool {
        let Some(limit) = self.limit() else { return true };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.turn(now()) < limit
    }

    /// Counts one that has come.
    pub fn count(&self, now: impl FnOnce() -> Instant) {
        if self.limit().is_some() {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.turn(now());
            seen.now += 1;
        }
    }
}

impl Seen {
    /// Begins another period where it is time, and gives what came within a second.
    fn turn(&mut self, now: Instant) -> u32 {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        let (periods, into) = (age.as_secs(), Duration::from_nanos(age.subsec_nanos().into()));
        if periods > 0 {
            self.before = if periods == 1 { self.now } else { 0 };
            self.now = 0;
            self.since = Some(now - into);
        }
        let left = u64::try_from((PERIOD - into).as_millis()).unwrap_or(1_000);
        let share = u64::from(self.before) * left / 1_000;
        self.now.saturating_add(u32::try_from(share).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a crowd get in at each of these milliseconds.
    fn let_in(limits: [u32; 2], at: &[u64]) -> Vec<u32> {
        let throttle = Throttle::new(limits[0], limits[1]);
        let begun = Instant::now();
        let crowd = |&ms: &u64| {
            let now = begun + Duration::from_millis(ms);
            let mut came = 0;
            while came < 100 && throttle.has_room(|| now) {
                throttle.count(|| now);
                came += 1;
            }
            came
        };
        at.iter().map(crowd).collect()
    }

    #[test]
    fn no_more_come_than_may_within_any_second() {
        assert_eq!(let_in([10, 0], &[0, 500, 999, 1_000, 1_500, 1_999]), [10, 0, 0, 0, 5, 5]);
        assert_eq!(let_in([10, 0], &[0, 2_000, 60_000]), [10, 10, 10]);
    }

    #[test]
    fn the_lower_limit_counts_and_none_is_none() {
        assert_eq!(let_in([10, 3], &[0]), [3]);
        assert_eq!(let_in([0, 3], &[0]), [3]);
        assert_eq!(let_in([0, 0], &[0]), [100]);
    }
}
