//! The interfaces with programs, as they come and go.
//!
//! The kernel takes tens of milliseconds for each, so that a crowd of them waits in a queue: between
//! any two the observer tells what it saw.

use super::attach::Attached;
use super::clsact;
use super::error::Error;
use super::links::{self, Change, Interface, Watch, check_names, is_wanted};
use crate::passing::Passing;
use aya::Ebpf;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How long rtnetlink is left alone after it could not be read.
const DEAF: Duration = Duration::from_secs(1);
/// How long what could not be attached to, or not be listed, is left before it is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// So many interfaces have programs before the start is over; of more, the others follow.
const AT_START: usize = 32;

/// What is attached, and what is told of interfaces.
pub(super) struct Interfaces {
    pub(super) attached: Attached,
    watch: Watch,
    wanted: Vec<String>,
    /// Those that have no programs yet.
    waiting: VecDeque<Interface>,
    passing: Passing,
    deaf_until: Option<Instant>,
    /// When all are listed anew, as one was missed.
    again_at: Option<Instant>,
}

impl Interfaces {
    /// Follows those that are `wanted`, all where none is named; none is attached yet.
    pub(super) fn new(attached: Attached, watch: Watch, wanted: Vec<String>) -> Self {
        let (waiting, passing) = (VecDeque::new(), Passing::default());
        Self { attached, watch, wanted, waiting, passing, deaf_until: None, again_at: None }
    }

    /// Attaches to those that are there; of a crowd that nobody named, to the oldest, which are the
    /// host's own rather than its containers'.
    ///
    /// # Errors
    /// Where one that was named is not there, or the kernel refuses the programs.
    pub(super) fn begin(&mut self, ebpf: &mut Ebpf) -> Result<(), Error> {
        let mut there = links::list().map_err(Error::system("listing the interfaces"))?;
        check_names(&self.wanted, &there)?;
        self.attached.clear(&there);
        there.retain(|interface| is_wanted(&self.wanted, interface));
        there.sort_by_key(|interface| interface.index);
        self.waiting.extend(there);
        let most = if self.wanted.is_empty() { AT_START } else { usize::MAX };
        for _ in 0..most {
            let Some(interface) = self.waiting.pop_front() else { break };
            match self.attached.add(ebpf, &interface) {
                // One that nobody named, and that went while the programs were loaded.
                Err(_) if !is_there(&interface)? && self.wanted.is_empty() => {
                    tracing::info!(interface = interface.name, "gone before it was observed");
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// How many have no programs yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Attaches to one of those that wait, if any does; says whether it was the last.
    pub(super) fn go_on(&mut self, ebpf: &mut Ebpf) -> bool {
        let Some(interface) = self.waiting.pop_front() else { return false };
        let name = &interface.name;
        match self.attached.add(ebpf, &interface).map_err(|error| (error, is_there(&interface))) {
            Ok(()) => tracing::info!(interface = name, "attached to a new interface"),
            // If it only has another name, a message of that is on its way.
            Err((error, Ok(false))) => {
                tracing::info!(interface = name, %error, "gone before it was observed");
            }
            // Where it cannot even be looked for, that is the reason.
            Err((error, Ok(true)) | (_, Err(error))) => {
                self.passing.over("attaching to a new interface", Err::<(), _>(error.explained()));
                self.again_at = Some(Instant::now() + AGAIN);
            }
        }
        self.waiting.is_empty()
    }

    /// Waits for what [`Self::follow`] is to follow. Cancel safe.
    pub(super) async fn next(&mut self) -> Vec<Change> {
        if let Some(until) = self.deaf_until {
            tokio::time::sleep_until(until).await;
            self.deaf_until = None;
        }
        let again_at = self.again_at.unwrap_or_else(Instant::now);
        let told = tokio::select! {
            told = self.watch.next() => told,
            () = tokio::time::sleep_until(again_at), if self.again_at.is_some() => {
                self.again_at = None;
                return vec![Change::Unknown];
            }
        };
        self.passing.over("reading rtnetlink", told).unwrap_or_else(|| {
            self.deaf_until = Some(Instant::now() + DEAF);
            vec![Change::Unknown]
        })
    }

    /// Has interfaces that came wait for their programs, forgets those that went.
    pub(super) fn follow(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::There(interface) => self.came(interface),
                Change::Gone(index) => {
                    let _ = self.attached.forget(index);
                    self.waiting.retain(|waiting| waiting.index != index);
                }
                Change::Bare(index) => {
                    // Of a qdisc that this start itself took away it is told later than it hung its own.
                    let is_bare = !clsact::has_filters(index).unwrap_or(true);
                    if let Some(interface) = is_bare.then(|| self.attached.forget(index)).flatten()
                    {
                        tracing::warn!(
                            interface,
                            "somebody removed the clsact qdisc: the programs are hung there again"
                        );
                        self.list_anew();
                    }
                }
                Change::Unknown => self.list_anew(),
            }
        }
    }

    fn list_anew(&mut self) {
        let Some(there) = self.passing.over("listing the interfaces", links::list()) else {
            self.again_at = Some(Instant::now() + AGAIN);
            return;
        };
        self.attached.keep(&there);
        self.waiting.clear();
        there.into_iter().for_each(|interface| self.came(interface));
    }

    /// One is there, perhaps by another name than before.
    fn came(&mut self, interface: Interface) {
        if self.attached.knows(&interface) || !is_wanted(&self.wanted, &interface) {
            return;
        }
        match self.waiting.iter_mut().find(|waiting| waiting.index == interface.index) {
            Some(waiting) => *waiting = interface,
            None => self.waiting.push_back(interface),
        }
    }
}

/// Whether there is such an interface still, of this name.
fn is_there(interface: &Interface) -> Result<bool, Error> {
    let there = links::list().map_err(Error::system("listing the interfaces"))?;
    Ok(there.contains(interface))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Options;

    #[tokio::test]
    async fn those_that_wait_are_followed_too() {
        let attached = Attached::prepare(&Options::default()).expect("a name");
        let watch = Watch::start(false).expect("rtnetlink");
        let mut interfaces = Interfaces::new(attached, watch, Vec::new());
        let there = |index: u32, name: &str| {
            Change::There(Interface { index, name: name.to_owned(), has_ethernet_header: true })
        };
        interfaces.follow(vec![there(7, "veth7"), there(8, "veth8"), there(9, "veth9")]);
        interfaces.follow(vec![Change::Gone(8), there(9, "web"), there(7, "veth7")]);
        let waiting: Vec<_> =
            interfaces.waiting.iter().map(|one| (one.index, one.name.as_str())).collect();
        assert_eq!(waiting, [(7, "veth7"), (9, "web")]);
        // Lost messages: what the kernel lists now is all that there is.
        interfaces.follow(vec![Change::Unknown]);
        assert!(interfaces.waiting.iter().any(|one| one.name == "lo"), "{:?}", interfaces.waiting);
        assert!(interfaces.waiting.iter().all(|one| one.name != "web"), "{:?}", interfaces.waiting);
    }
}
