//! Run time and run count of BPF programs, as the kernel keeps them while it is asked to.

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The kernel measures every program's runs while this lives.
pub(crate) struct Measuring(#[expect(dead_code, reason = "its end ends the measuring")] OwnedFd);

impl Measuring {
    pub(crate) fn start() -> Self {
        Self(enable_stats(Stats::RunTime).expect("BPF_ENABLE_STATS (benchmarks run as root)"))
    }
}

/// What one program has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) count: u64,
    pub(crate) nanoseconds: u64,
}

impl Runs {
    /// Nanoseconds a run; the kernel's own measuring is in it.
    pub(crate) fn each(self) -> f64 {
        self.nanoseconds as f64 / self.count as f64
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            count: self.count - before.count,
            nanoseconds: self.nanoseconds - before.nanoseconds,
        }
    }
}

/// How long the programs must have stood still, and how long that is waited for: on a host with
/// traffic of its own they never do.
const STILL: Duration = Duration::from_millis(50);
const TRIES: usize = 20;

/// Some programs' runs so far, by name and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<u32, (String, Runs)>);

impl Snapshot {
    /// The runs of the given programs, once what was set off before is over.
    pub(crate) fn of(programs: &BTreeSet<u32>) -> Self {
        let mut last = Self::at_once(programs);
        for _ in 0..TRIES {
            std::thread::sleep(STILL);
            let now = Self::at_once(programs);
            if now == last {
                break;
            }
            last = now;
        }
        last
    }

    fn at_once(programs: &BTreeSet<u32>) -> Self {
        let loaded = loaded_programs().filter_map(Result::ok);
        Self(
            loaded
                .filter(|info| programs.contains(&info.id()))
                .map(|info| {
                    let (count, time) = (info.run_count(), info.run_time());
                    let runs = Runs { count, nanoseconds: nanoseconds(time) };
                    (info.id(), (info.name_as_str().unwrap_or_default().to_owned(), runs))
                })
                .collect(),
        )
    }

    /// Runs since `before`, by name.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<String, Runs> {
        let mut by_name: BTreeMap<String, Runs> = BTreeMap::new();
        for (id, (name, now)) in &self.0 {
            let runs = now.since(before.0.get(id).map_or_else(Runs::default, |(_, runs)| *runs));
            let sum = by_name.entry(name.clone()).or_default();
            sum.count += runs.count;
            sum.nanoseconds += runs.nanoseconds;
        }
        by_name
    }
}

/// The programs that a process holds, itself or through a link, by its descriptors.
pub(crate) fn held_by(pid: u32) -> BTreeSet<u32> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    descriptors
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|text| {
            text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
        })
        .collect()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("less than 500 years")
}

/// All together.
pub(crate) fn sum<'a>(runs: impl IntoIterator<Item = &'a Runs>) -> Runs {
    runs.into_iter().fold(Runs::default(), |sum, runs| Runs {
        count: sum.count + runs.count,
        nanoseconds: sum.nanoseconds + runs.nanoseconds,
    })
}
