//! The last closes, kept as they came: naming and printing them costs only who asks.

use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use std::collections::VecDeque;

/// How many are kept: half a megabyte.
pub(super) const KEPT: usize = 1_000;

/// A ring of closes.
#[derive(Debug)]
pub(super) struct Recent(VecDeque<(FlowKey, Flow)>);

impl Default for Recent {
    fn default() -> Self {
        Self(VecDeque::with_capacity(KEPT))
    }
}

impl Recent {
    pub(super) fn push(&mut self, key: &FlowKey, flow: &Flow) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((*key, *flow));
    }

    /// The newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &(FlowKey, Flow)> {
        self.0.iter().rev()
    }
}
