//! Where closes come from, as the daemon sees it: the kernel live, a replay in the tests.

pub use crate::kernel::Event;
use crate::kernel::{Closed, Closing, Rules, Which};

use super::clock::SourceClock;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use std::error::Error;
use std::future::Future;

/// A number that a source counts, such as events that it lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name in `snake_case`, as the metrics show it.
    pub name: String,
    /// Its value since the source started.
    pub value: u64,
    /// Whether what it counts kept something from being shown.
    pub is_loss: bool,
}

/// A source of closes.
pub trait Source {
    /// What can go wrong with it.
    type Error: Error + Send + Sync + 'static;

    /// The clock of its times.
    fn clock(&self) -> SourceClock;

    /// Waits for events and appends a batch of them. Dropped before it is done, it loses none.
    /// A batch that stays empty says that there will be no more.
    fn next(&mut self, out: &mut Vec<Event>) -> impl Future<Output = Result<(), Self::Error>>;

    /// Appends all that was told and not given out yet, without waiting: at the end of a run.
    fn finish(&mut self, out: &mut Vec<Event>);

    /// What it has counted so far.
    ///
    /// # Errors
    /// Where the counters cannot be read.
    fn counters(&self) -> Result<Vec<Counter>, Self::Error>;

    /// The connections that are open now.
    ///
    /// # Errors
    /// Where the table cannot be read.
    fn flows(&self) -> Result<Vec<(FlowKey, Flow)>, Self::Error>;

    /// What it is attached to, one line each, for people.
    fn attachments(&self) -> Vec<String>;

    /// How many more it will be attached to before it tells [`Event::Attached`].
    fn waiting(&self) -> usize {
        0
    }

    /// The rules by which closes are changed, where they may be.
    fn rules(&mut self) -> Option<&mut Rules> {
        None
    }

    /// Finds the connections that are to be closed now, by FIN or by RST, or only to be listed.
    /// `None` where it cannot change closes.
    ///
    /// # Errors
    /// Where the connections cannot be listed.
    fn find_to_close(
        &mut self,
        which: &Which,
        by_fin: bool,
        dry_run: bool,
    ) -> Result<Option<Closing>, Self::Error> {
        let _ = (which, by_fin, dry_run);
        Ok(None)
    }

    /// Closes some of them.
    ///
    /// # Errors
    /// Where they cannot be closed.
    fn close_some(&mut self, closing: &mut Closing) -> Result<Vec<Closed>, Self::Error> {
        let _ = closing;
        Ok(Vec::new())
    }

    /// The kernel's name for the reason of a RST.
    fn rst_reason(&self, code: u32) -> Option<&str>;
}
