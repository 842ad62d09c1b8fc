//! What the scheduler says of a process: a deadline is judged by what the process could do.

use super::process::Process;
use std::time::Duration;

/// How long a process ran, and how long it was ready to run and did not.
pub(crate) struct Scheduled {
    pub(crate) ran: Duration,
    /// Others had the processors: a loaded machine's doing.
    pub(crate) kept: Duration,
}

impl Scheduled {
    pub(crate) fn of(process: &Process) -> Self {
        let mut all = Self { ran: Duration::ZERO, kept: Duration::ZERO };
        let threads = format!("/proc/{}/task", process.pid());
        for thread in std::fs::read_dir(threads).expect("it runs") {
            let path = thread.expect("a thread").path().join("schedstat");
            let text = std::fs::read_to_string(path).expect("the scheduler's figures");
            let words = text.split(' ').map(|word| word.parse().expect("nanoseconds"));
            let [ran, kept] = words.take(2).collect::<Vec<u64>>()[..] else { panic!("{text}") };
            all.ran += Duration::from_nanos(ran);
            all.kept += Duration::from_nanos(kept);
        }
        all
    }

    /// For how long a process was kept from running since `before`.
    pub(crate) fn kept_since(process: &Process, before: &Self) -> Duration {
        Self::of(process).kept.saturating_sub(before.kept)
    }
}
