//! The kernel side as a source of closes.

use super::clock::SourceClock;
use super::source::{Counter, Event, Source};
use crate::kernel::{self, Attachment, Closed, Closing, Observer, Which};
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
            name: count.name.to_ascii_lowercase(),
            value: count.value,
            is_loss: ["LOST_", "REFUSED_"].iter().any(|kind| count.name.starts_with(kind)),
        };
        Ok(counts.into_iter().map(counter).collect())
    }

    fn flows(&self) -> Result<Vec<(FlowKey, Flow)>, kernel::Error> {
        Self::flows(self)
    }

    fn attachments(&self) -> Vec<String> {
        let shown = |each: &Attachment| match (each.ingress.as_str(), each.egress.as_str()) {
            (both, same) if both == same => format!("{} ({both})", each.interface),
            (ingress, egress) => format!("{} ({ingress}, {egress})", each.interface),
        };
        Self::attachments(self).map(shown).collect()
    }

    fn waiting(&self) -> usize {
        Self::waiting(self)
    }

    fn rules(&mut self) -> Option<&mut kernel::Rules> {
        Self::rules(self)
    }

    fn find_to_close(
        &mut self,
        which: &Which,
        by_fin: bool,
        dry_run: bool,
    ) -> Result<Option<Closing>, kernel::Error> {
        Self::find_to_close(self, which, by_fin, dry_run)
    }

    fn close_some(&mut self, closing: &mut Closing) -> Result<Vec<Closed>, kernel::Error> {
        Self::close_some(self, closing)
    }

    fn rst_reason(&self, code: u32) -> Option<&str> {
        self.rst_reasons().name(code)
    }
}
