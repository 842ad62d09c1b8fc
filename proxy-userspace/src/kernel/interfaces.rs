//! The interfaces with programs, as they come and go.

use super::attach::Attached;
use super::links::{self, Change, Interface, Watch, is_wanted};
use crate::passing::Passing;
use aya::Ebpf;
use std::time::Duration;
use tokio::time::Instant;

/// How long rtnetlink is left alone after it could not be read.
const DEAF: Duration = Duration::from_secs(1);

/// What is attached, and what is told of interfaces.
pub(super) struct Interfaces {
    pub(super) attached: Attached,
    watch: Watch,
    wanted: Vec<String>,
    passing: Passing,
    deaf_until: Option<Instant>,
}

impl Interfaces {
    /// Follows those that are `wanted`, all where none is named; some are attached already.
    pub(super) fn new(attached: Attached, watch: Watch, wanted: Vec<String>) -> Self {
        Self { attached, watch, wanted, passing: Passing::default(), deaf_until: None }
    }

    /// Waits for what [`Self::follow`] is to follow. Cancel safe.
    pub(super) async fn next(&mut self) -> Vec<Change> {
        if let Some(until) = self.deaf_until {
            tokio::time::sleep_until(until).await;
            self.deaf_until = None;
        }
        let told = self.watch.next().await;
        self.passing.over("reading rtnetlink", told).unwrap_or_else(|| {
            self.deaf_until = Some(Instant::now() + DEAF);
            vec![Change::Unknown]
        })
    }

    /// Attaches to interfaces that came, forgets those that went.
    pub(super) fn follow(&mut self, ebpf: &mut Ebpf, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::There(interface) => self.attach(ebpf, &interface),
                Change::Gone(index) => self.attached.forget(index),
                Change::Unknown => {
                    let there = self.passing.over("listing the interfaces", links::list());
                    if let Some(there) = there {
                        self.attached.keep(&there);
                        there.iter().for_each(|interface| self.attach(ebpf, interface));
                    }
                }
            }
        }
    }

    fn attach(&mut self, ebpf: &mut Ebpf, interface: &Interface) {
        if self.attached.knows(interface) || !is_wanted(&self.wanted, interface) {
            return;
        }
        match self.attached.add(ebpf, interface) {
            Ok(()) => tracing::info!(interface = interface.name, "attached to a new interface"),
            // An interface may be gone again before its message is read.
            Err(error) => tracing::warn!(interface = interface.name, %error, "not observed"),
        }
    }
}
