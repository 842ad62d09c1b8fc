//! The ends of connections that were given out: what is repeated late begins no other one.

use proxy_common::key::FlowKey;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// How long they are remembered: a FIN that nobody acknowledges is repeated for about as long as a SYN.
const LATE: u64 = super::ATTEMPT;
/// How many of them, so that memory does not grow with how many close in that time.
const MOST: usize = 7_000;

/// When each was given out.
#[derive(Debug, Default)]
pub(super) struct Gone {
    since: FxHashMap<FlowKey, u64>,
    /// Each of them once, the first that came first.
    order: VecDeque<FlowKey>,
}

impl Gone {
    pub(super) fn add(&mut self, key: &FlowKey, now_ns: u64) {
        if self.since.insert(*key, now_ns).is_some() {
            return;
        }
        self.order.push_back(*key);
        if self.order.len() > MOST
            && let Some(first) = self.order.pop_front()
        {
            self.since.remove(&first);
        }
    }

    /// Whether a segment of these ends that begins nothing is a late one.
    pub(super) fn has(&self, key: &FlowKey, now_ns: u64) -> bool {
        self.since.get(key).is_some_and(|&since| now_ns.abs_diff(since) < LATE)
    }
}
