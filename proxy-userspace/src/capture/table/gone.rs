//! Connections that are over: what is repeated late begins no other one.

use super::Connection;
use proxy_common::key::FlowKey;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// How long they are remembered: a FIN that nobody acknowledges is repeated for about as long as a SYN.
const LATE: u64 = super::ATTEMPT;
/// How many of them, so that memory does not grow with how many close in that time.
const MOST: usize = 7_000;

/// A connection that is over, with the time then, where its observer waits for what comes late.
pub(super) type Held<T> = Option<Box<(Connection<T>, u64)>>;

/// When each was over.
#[derive(Debug)]
pub(super) struct Gone<T> {
    since: FxHashMap<FlowKey, (u64, Held<T>)>,
    /// Each of them once, the first that came first.
    order: VecDeque<FlowKey>,
}

impl<T> Default for Gone<T> {
    fn default() -> Self {
        Self { since: FxHashMap::default(), order: VecDeque::new() }
    }
}

impl<T> Gone<T> {
    /// Remembers one, and gives those that are not held any longer: who had the same ends before, and
    /// who was over first.
    pub(super) fn add(&mut self, key: &FlowKey, now_ns: u64, held: Held<T>) -> [Held<T>; 2] {
        if let Some((_, before)) = self.since.insert(*key, (now_ns, held)) {
            return [before, None];
        }
        self.order.push_back(*key);
        let first = (self.order.len() > MOST).then(|| self.order.pop_front()).flatten();
        let first = first.and_then(|first| self.since.remove(&first)?.1);
        [None, first]
    }

    /// Whether a segment of these ends that begins nothing is a late one, and whose.
    pub(super) fn find(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Held<T>> {
        let (since, held) = self.since.get_mut(key)?;
        (now_ns.abs_diff(*since) < LATE).then_some(held)
    }

    /// Gives all that are held.
    pub(super) fn release(&mut self) -> impl Iterator<Item = Box<(Connection<T>, u64)>> {
        self.since.values_mut().filter_map(|(_, held)| held.take())
    }
}
