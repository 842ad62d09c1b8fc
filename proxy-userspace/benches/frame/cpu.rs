//! CPU time of processes, in nanoseconds.

use std::fs;
use std::time::Duration;

/// CPU time that the threads of a process have had so far; those that ended are not in it.
///
/// On most kernels the softirq work that runs on top of a thread counts as the thread's.
pub(crate) fn of(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds: u64 = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}

/// CPU time of this process, with the threads that have ended.
pub(crate) fn own() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("not negative")
}
