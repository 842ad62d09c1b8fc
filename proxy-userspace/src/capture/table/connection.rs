//! A connection in its place in the table.

use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;

/// A connection, as far as it was seen.
#[derive(Clone, Debug)]
pub struct Connection<T> {
    /// In the order of their first segments, from 1.
    pub number: u64,
    /// Its ends.
    pub key: FlowKey,
    /// What is known of it.
    pub flow: Flow,
    /// What its observer keeps.
    pub kept: T,
    /// The flow was told, and moves no more.
    pub(super) told: bool,
    /// How often its place in the table was used before.
    pub(super) generation: u32,
    /// Its own clock, which never goes back: that of the table may.
    pub(super) now_ns: u64,
    /// In which run of the table's clock it was last seen.
    pub(super) run: usize,
}

impl<T: Default> Connection<T> {
    pub(super) fn new(number: u64, key: &FlowKey) -> Self {
        Self {
            number,
            key: *key,
            flow: Flow::new(),
            kept: T::default(),
            told: false,
            generation: 0,
            now_ns: 0,
            run: 0,
        }
    }

    /// The same connection elsewhere than in its place.
    pub(super) fn with(&self, kept: T) -> Self {
        let Self { number, key, flow, told, generation, now_ns, run, .. } = *self;
        Self { number, key, flow, kept, told, generation, now_ns, run }
    }

    /// Makes another connection of it, in the same place.
    pub(super) fn renew(&mut self, number: u64, key: &FlowKey) {
        let generation = self.generation;
        *self = Self { generation, ..Self::new(number, key) };
    }
}
