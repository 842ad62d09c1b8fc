//! The kernel side as a source of closes.

use super::clock::SourceClock;
use super::source::{Counter, Event, Source};
use crate::kernel::{self, Observer};
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;

impl Source for Observer {
    type Error = kernel::Error;

    fn clock(&self) -> SourceClock {
        SourceClock::Monotonic
    }

    async fn next(&mut self, out: &mut Vec<Event>) -> Result<(), kernel::Error> {
        Self::next(self, out).await
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        Self::finish(self, out);
    }

    fn counters(&self) -> Result<Vec<Counter>, kernel::Error> {
        let counts = Self::counters(self)?;
        let counter = |count: kernel::Count| Counter {
            name: count.name,
            value: count.value,
            is_loss: count.counter.is_loss(),
        };
        Ok(counts.into_iter().map(counter).collect())
    }

    fn flows(&self) -> Result<Vec<(FlowKey, Flow)>, kernel::Error> {
        Self::flows(self)
    }

    fn attachments(&self) -> Vec<String> {
        Self::attachments(self).map(ToString::to_string).collect()
    }

    fn rst_reason(&self, code: u32) -> Option<&str> {
        self.rst_reasons().name(code)
    }
}
