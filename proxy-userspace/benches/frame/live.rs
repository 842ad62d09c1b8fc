//! The kernel side at work in a namespace, its events read and thrown away.

use crate::support::netns::Netns;
use proxy_common::policy::Policy;
use std::sync::mpsc;
use std::thread::JoinHandle;
use teardown::kernel::{Covered, Observer, Options, Policies, Scope};
use tokio::sync::oneshot;

/// A thread that observes until this is dropped.
pub(crate) struct Live {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Comes back once everything is attached.
    pub(crate) fn start(netns: &Netns, options: Options) -> Self {
        Self::with_rule(netns, options, None)
    }

    /// The same with one rule.
    pub(crate) fn with_rule(
        netns: &Netns,
        options: Options,
        rule: Option<(Covered, Policy)>,
    ) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (attached, ready) = mpsc::channel();
        let netns = netns.clone();
        let thread = std::thread::spawn(move || {
            netns.enter();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio");
            runtime.block_on(async {
                let mut observer =
                    Observer::start(&options).unwrap_or_else(|error| panic!("{error}"));
                if let Some((peers, policy)) = rule {
                    let rules = observer.rules().expect("closes may be changed");
                    let scope = Scope { peers: vec![peers], ..Scope::default() };
                    let policies = Policies { traffic: policy, ..Policies::default() };
                    rules.set(1, &scope, policies).expect("a rule");
                }
                attached.send(()).expect("somebody waits");
                let mut events = Vec::new();
                loop {
                    events.clear();
                    tokio::select! {
                        biased;
                        _ = &mut stopped => break,
                        next = observer.next(&mut events) => next.expect("the ring"),
                    }
                }
            });
        });
        ready.recv().expect("the observer starts");
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _it_may_have_ended = self.stop.take().expect("once").send(());
        let _it_said_so_itself = self.thread.take().expect("once").join();
    }
}
