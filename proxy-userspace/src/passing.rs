//! Errors that may pass. An observer's mishap must not end the proxy beside it: it is said, and what
//! failed is tried again in its time.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The same error is said once in this time, with how often it came.
const SILENCE: Duration = Duration::from_mins(1);

/// What has failed so far.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    /// What, when that was said, and how often it came since.
    said: Vec<(&'static str, Instant, u64)>,
}

impl Passing {
    /// What was done, if it was. Else says that `what` has failed, unless it was just said.
    pub(crate) fn over<T>(
        &mut self,
        what: &'static str,
        done: Result<T, impl Display>,
    ) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                if let Some(times) = self.count(what, Instant::now()) {
                    tracing::warn!(%error, times, "{what} failed; it will be tried again");
                }
                None
            }
        }
    }

    /// How often it came since it was last said, if it is to be said now.
    fn count(&mut self, what: &'static str, now: Instant) -> Option<u64> {
        let Some((_, at, times)) = self.said.iter_mut().find(|(known, ..)| *known == what) else {
            self.said.push((what, now, 0));
            return Some(1);
        };
        *times += 1;
        if now.duration_since(*at) < SILENCE {
            return None;
        }
        *at = now;
        Some(std::mem::take(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_all_the_time_is_said_once_a_minute() {
        let mut passing = Passing::default();
        let begin = Instant::now();
        let said: Vec<u64> = (0..120_000)
            .filter_map(|at| passing.count("reading", begin + Duration::from_millis(at)))
            .collect();
        assert_eq!(said, [1, 60_000]);
        assert_eq!(passing.count("writing", begin), Some(1));
        assert_eq!(passing.over("reading", Err::<(), _>("no")), None);
        assert_eq!(passing.over("reading", Ok::<_, String>(7)), Some(7));
    }
}
