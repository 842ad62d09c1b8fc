//! Closes wait here for a moment, so that what a tracepoint tells of the same connection a few
//! microseconds earlier or later stands in the record.

use proxy_common::abi::{CloseRecord, FactsRecord};
use proxy_common::flow;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::socket::SocketEvent;
use std::collections::{HashMap, VecDeque};

/// How long a close that began or ended with a RST waits. What belongs to it comes from the same
/// system call or the same soft interrupt.
pub(super) const HOLD_NS: u64 = 1_000_000;

/// How long a fact without a close is kept: a RST that was answered by a challenge ACK has none.
const FACTS_NS: u64 = 1_000_000_000;

/// Closes not given out yet, and facts not joined to one yet.
#[derive(Default)]
pub(super) struct Hold {
    closes: VecDeque<CloseRecord>,
    facts: HashMap<FlowKey, (u64, Vec<SocketEvent>)>,
    /// In the order in which they came.
    fact_times: VecDeque<(u64, FlowKey)>,
}

impl Hold {
    /// Whether the close of a connection must wait: for its facts, or for those before it.
    #[must_use]
    pub(super) fn wants(&self, record: &CloseRecord) -> bool {
        !self.closes.is_empty() || may_have_facts(&record.flow)
    }

    /// Keeps the close of a connection.
    pub(super) fn close(&mut self, record: &CloseRecord) {
        self.closes.push_back(*record);
    }

    /// A tracepoint told something, at `now`. What it told before of the same end and the same
    /// things is gone with that: who repeats a refused SYN for ever costs no more memory.
    pub(super) fn fact(&mut self, record: &FactsRecord, now: u64) {
        let (at, events) = self.facts.entry(record.key).or_insert_with(|| (now, Vec::new()));
        *at = now;
        let about = |event: &SocketEvent| (event.side, event.known);
        events.retain(|event| about(event) != about(&record.event));
        events.push(record.event);
        self.fact_times.push_back((now, record.key));
    }

    /// Whether nothing waits.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.closes.is_empty()
    }

    /// Takes out what has waited long enough at `now`, with its facts joined; at most so many.
    pub(super) fn release(&mut self, now: u64, most: usize, mut give: impl FnMut(&CloseRecord)) {
        for _ in 0..most {
            let Some(record) = self.closes.front_mut() else { break };
            if may_have_facts(&record.flow) {
                if now.saturating_sub(record.flow.closed_ns) < HOLD_NS {
                    break;
                }
                if let Some((_, events)) = self.facts.remove(&record.key) {
                    events.iter().for_each(|event| flow::learn(&mut record.flow, event));
                }
            }
            give(record);
            self.closes.pop_front();
        }
        while let Some((time, key)) = self.fact_times.front() {
            if now.saturating_sub(*time) < FACTS_NS {
                break;
            }
            if self.facts.get(key).is_some_and(|(at, _)| at == time) {
                self.facts.remove(key);
            }
            self.fact_times.pop_front();
        }
    }
}

/// Only closes with a RST have facts.
fn may_have_facts(flow: &Flow) -> bool {
    flow.ends.iter().any(|end| end.rsts > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable as _;
    use proxy_common::key::Side;
    use proxy_common::socket::{KNOWS_OWNER, KNOWS_RST_REASON};

    #[test]
    fn what_is_told_again_takes_the_place_of_what_was_told() {
        let mut hold = Hold::default();
        let mut record = FactsRecord::zeroed();
        for time in 0..1_000 {
            for (side, known) in [(Side::LOW, KNOWS_RST_REASON), (Side::HIGH, KNOWS_OWNER)] {
                record.event = SocketEvent { side, known, rst_reason: time, ..record.event };
                hold.fact(&record, time.into());
            }
        }
        let (_, events) = &hold.facts[&record.key];
        assert_eq!(events.len(), 2);
        assert!(events.iter().all(|event| event.rst_reason == 999));
        hold.release(999 + FACTS_NS, 1, |_| panic!("there is no close"));
        assert!(hold.facts.is_empty() && hold.fact_times.is_empty());
    }
}
