//! Waiting for a condition, never for a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for what must come on a loaded machine before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `probe` gives a value; fails the test with `what` after [`PATIENCE`]. It looks once more
/// then: a machine that stood still itself has seen nothing meanwhile.
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        let is_over = start.elapsed() >= PATIENCE;
        if let Some(value) = probe() {
            return value;
        }
        assert!(!is_over, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says that something is over when it goes, also where the test fails: threads that go on until then
/// would keep it from ending.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Waits until `left` is empty; fails with what is left after [`PATIENCE`].
pub(crate) fn until_empty<T: std::fmt::Display>(what: &str, mut left: impl FnMut() -> Vec<T>) {
    let start = Instant::now();
    loop {
        let is_over = start.elapsed() >= PATIENCE;
        let left = left();
        if left.is_empty() {
            return;
        }
        let text = || left.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(!is_over, "{what}, left after {PATIENCE:?}:\n{}", text());
        std::thread::sleep(Duration::from_millis(20));
    }
}
