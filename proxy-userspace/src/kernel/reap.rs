//! Keeps room in the flow table: which entries may go, and when.

use super::batch;
use super::error::Error;
use super::pod::Raw;
use aya::maps::{Array, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use bytemuck::Zeroable as _;
use proxy_common::abi::{REAP_BATCH, REAP_EVICT, REAP_EXPIRE, REAP_RECLAIM, Reap, ReapEntry, Slot};
use proxy_common::flow::{self, Flow, SEEN, STARTED};
use proxy_common::key::FlowKey;
use std::collections::VecDeque;

const SECOND: u64 = 1_000_000_000;
/// How long a reported connection keeps its entry, so that what comes late makes no new one.
const LINGER_NS: u64 = 10 * SECOND;
/// The same when the table is half full.
const SHORT_LINGER_NS: u64 = SECOND;
/// A SYN without an answer is given up after this: Linux sends its last one after 63 s and waits
/// 64 s more.
const ATTEMPT_NS: u64 = 135 * SECOND;
/// At least this long between two looks through the table.
const SWEEP_NS: u64 = 10 * SECOND;

/// The reaper's lists.
pub(super) struct Reaper {
    capacity: u64,
    reported: VecDeque<(FlowKey, u64, u64)>,
    next_sweep: u64,
}

/// What the reaper works with.
pub(super) struct Tools<'a> {
    /// The program `td_reap`.
    pub program: &'a SchedClassifier,
    /// Its list.
    pub list: &'a mut Array<MapData, Raw<Reap>>,
    /// The flow table.
    pub flows: &'a MapData,
}

impl Reaper {
    /// For a table of `capacity` entries.
    #[must_use]
    pub(super) fn new(capacity: u32) -> Self {
        Self { capacity: u64::from(capacity), reported: VecDeque::new(), next_sweep: SWEEP_NS }
    }

    /// A connection was reported at `now`.
    pub(super) fn reported(&mut self, key: FlowKey, flow: &Flow, now: u64) {
        self.reported.push_back((key, flow.started_ns, now));
    }

    /// Frees what may go; `in_use` is the number of entries. Called every second or so.
    ///
    /// # Errors
    /// Where the program cannot be run or the table not be read.
    pub(super) fn tidy(
        &mut self,
        tools: &mut Tools<'_>,
        in_use: u64,
        now: u64,
    ) -> Result<(), Error> {
        let half_full = in_use * 2 > self.capacity;
        let linger = match (is_nearly_full(in_use, self.capacity), half_full) {
            (true, _) => 0,
            (_, true) => SHORT_LINGER_NS,
            _ => LINGER_NS,
        };
        let mut batch = Batch::default();
        while let Some((key, started_ns, at)) = self.reported.front().copied() {
            if now.saturating_sub(at) < linger {
                break;
            }
            self.reported.pop_front();
            batch.push(tools, ReapEntry { key, verb: REAP_RECLAIM, started_ns })?;
        }
        batch.flush(tools)?;
        let in_use = in_use.saturating_sub(batch.freed);
        let nearly_full = is_nearly_full(in_use, self.capacity);
        let unlisted = in_use.saturating_sub(self.reported.len() as u64);
        if unlisted > 0 && (now >= self.next_sweep || nearly_full) {
            self.sweep(tools, now, in_use)?;
        }
        Ok(())
    }

    /// Looks at every entry: gives up the dead ones, and the oldest if that makes no room.
    fn sweep(&mut self, tools: &mut Tools<'_>, now: u64, in_use: u64) -> Result<(), Error> {
        let nearly_full = is_nearly_full(in_use, self.capacity);
        let began = std::time::Instant::now();
        let mut live = Vec::new();
        let mut dead = Batch::default();
        for (key, slot) in batch::entries::<FlowKey, Slot>(tools.flows, self.capacity)? {
            let entry = ReapEntry { key, verb: REAP_EXPIRE, started_ns: slot.flow.started_ns };
            if slot.reported != 0 {
                // Not on the list if its record was lost, the ring being full.
                if nearly_full || now.saturating_sub(slot.flow.last_ns) > 2 * LINGER_NS {
                    dead.push(tools, ReapEntry { verb: REAP_RECLAIM, ..entry })?;
                }
                continue;
            }
            if is_dead(&slot.flow, now) {
                dead.push(tools, entry)?;
            } else if nearly_full {
                live.push((slot.flow.last_ns, ReapEntry { verb: REAP_EVICT, ..entry }));
            }
        }
        dead.flush(tools)?;
        if is_nearly_full(in_use.saturating_sub(dead.freed), self.capacity) {
            // An eighth of the table, the longest silent first.
            live.sort_unstable_by_key(|(last, _)| *last);
            let mut oldest = Batch::default();
            for (_, entry) in live.into_iter().take((self.capacity / 8) as usize) {
                oldest.push(tools, entry)?;
            }
            oldest.flush(tools)?;
        }
        // At most a thousandth of one processor.
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.next_sweep = now + SWEEP_NS.max(took.saturating_mul(1000));
        Ok(())
    }
}

/// Whether the next second may bring more than there is room for.
const fn is_nearly_full(in_use: u64, capacity: u64) -> bool {
    in_use * 8 > capacity * 7
}

/// Whether nothing more can be expected of a flow that was not reported.
fn is_dead(flow: &Flow, now: u64) -> bool {
    // An attempt: a SYN, and nothing from the other end.
    let answered = flow.ends.iter().all(|end| end.has(SEEN));
    let attempt = flow.has(STARTED) && !answered;
    flow::stale(flow, now) || (attempt && now.saturating_sub(flow.last_ns) > ATTEMPT_NS)
}

/// Entries on their way to the program.
#[derive(Default)]
struct Batch {
    entries: Vec<ReapEntry>,
    /// Entries of the table that it freed so far.
    freed: u64,
}

impl Batch {
    fn push(&mut self, tools: &mut Tools<'_>, entry: ReapEntry) -> Result<(), Error> {
        self.entries.push(entry);
        if self.entries.len() == REAP_BATCH { self.flush(tools) } else { Ok(()) }
    }

    fn flush(&mut self, tools: &mut Tools<'_>) -> Result<(), Error> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut list = Raw(Reap::zeroed());
        list.0.entries[..self.entries.len()].copy_from_slice(&self.entries);
        self.entries.clear();
        tools.list.set(0, list, 0).map_err(Error::map("REAP"))?;
        // The kernel wants a frame to run a classifier on, if only an Ethernet header.
        let options = TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::new() };
        let ran = tools.program.test_run(options).map_err(Error::program("running td_reap"))?;
        self.freed += u64::from(ran.return_value);
        Ok(())
    }
}
