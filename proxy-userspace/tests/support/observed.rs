//! An observer at work inside a namespace, on a thread of its own, and what it told.

use super::linux;
use super::netns::Netns;
use super::until::until;
use proxy_common::abi::{CloseRecord, Counter};
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::verdict::{self, Close};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use teardown::kernel::{Attachment, Count, Event, Observer, Options};
use tokio::sync::oneshot;

/// What the thread and the test share.
#[derive(Default)]
struct Shared {
    closes: Vec<(FlowKey, Flow)>,
    open: Vec<(FlowKey, Flow)>,
    attachments: Vec<Attachment>,
    reasons: Option<teardown::kernel::RstReasons>,
    counters: Vec<Count>,
}

/// A running [`Observer`]; dropped, it is off.
pub(crate) struct Observed {
    shared: Arc<Mutex<Shared>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The value of a counter.
pub(crate) fn value(counters: &[Count], counter: Counter) -> u64 {
    counters.iter().find(|count| count.counter == counter).expect("a counter").value
}

impl Observed {
    /// Starts to observe in `netns`; returns once everything is attached.
    pub(crate) fn start(netns: &Netns, options: Options) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (inside, into) = (netns.clone(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            inside.enter();
            observe(&options, &into, stopped, || ready.send(()).expect("the test waits"));
        });
        if is_ready.recv().is_err() {
            match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => panic!("the observer ended at once"),
            }
        }
        Self { shared, stop: Some(stop), thread: Some(thread) }
    }

    fn with<T>(&self, look: impl FnOnce(&Shared) -> T) -> T {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            panic!("the observer has failed");
        }
        look(&self.shared.lock().expect("the observer lives"))
    }

    /// Every close so far with its flow.
    pub(crate) fn flows(&self) -> Vec<(FlowKey, Flow)> {
        self.with(|shared| shared.closes.clone())
    }

    /// Every close so far of a connection with `port` at either end.
    pub(crate) fn closes(&self, port: u16) -> Vec<Close> {
        let flows = self.flows();
        let told = flows.iter().filter(|(key, _)| key.ends.iter().any(|end| end.port == port));
        told.map(|(key, flow)| verdict::close(key, flow)).collect()
    }

    /// Waits for the first close of a connection with `port`.
    pub(crate) fn wait_for(&self, port: u16) -> Close {
        self.wait_for_more(port, 1).remove(0)
    }

    /// Waits for this many closes of connections with `port`.
    pub(crate) fn wait_for_more(&self, port: u16, count: usize) -> Vec<Close> {
        until(&format!("{count} closes of port {port}: {:?}", self.counters()), || {
            let found = self.closes(port);
            (found.len() >= count).then_some(found)
        })
    }

    /// The connections that are open, as they stood a moment ago.
    pub(crate) fn open(&self) -> Vec<(FlowKey, Flow)> {
        self.with(|shared| shared.open.clone())
    }

    /// What is attached where, as it stood a moment ago.
    pub(crate) fn attachments(&self) -> Vec<Attachment> {
        self.with(|shared| shared.attachments.clone())
    }

    /// The counters, as they stood a moment ago.
    pub(crate) fn counters(&self) -> Vec<Count> {
        self.with(|shared| shared.counters.clone())
    }

    /// One counter.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        value(&self.counters(), counter)
    }

    /// Fails unless this reason was told, in the kernel's word, or the kernel tells none.
    pub(crate) fn expect_reason(&self, reason: Option<u32>, word: &str) {
        let word = linux::tells_why_it_resets().then_some(word);
        assert_eq!(self.reason(reason).as_deref(), word);
    }

    /// The kernel's word for a reason.
    fn reason(&self, reason: Option<u32>) -> Option<String> {
        let reasons = self.with(|shared| shared.reasons.clone())?;
        reasons.name(reason?).map(str::to_owned)
    }

    /// Ends it; gives every close and the last counters.
    pub(crate) fn stop(mut self) -> (Vec<(FlowKey, Flow)>, Vec<Count>) {
        self.end();
        let shared = self.shared.lock().expect("the observer ended well");
        (shared.closes.clone(), shared.counters.clone())
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ended_already = stop.send(());
        }
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's work.
fn observe(
    options: &Options,
    shared: &Mutex<Shared>,
    mut stop: oneshot::Receiver<()>,
    ready: impl FnOnce(),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut observer = Observer::start(options).unwrap_or_else(|error| panic!("{error}"));
        shared.lock().expect("shared").reasons = Some(observer.rst_reasons().clone());
        show(&observer, shared);
        ready();
        let mut events = Vec::new();
        let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            tokio::select! {
                _ = &mut stop => break,
                _ = look.tick() => show(&observer, shared),
                told = observer.next(&mut events) => told.expect("the observer works"),
            }
            keep(&mut events, shared);
        }
        observer.finish(&mut events);
        keep(&mut events, shared);
        show(&observer, shared);
    });
}

fn show(observer: &Observer, shared: &Mutex<Shared>) {
    let (counters, open) = (observer.counters(), observer.flows());
    let mut shared = shared.lock().expect("shared");
    shared.counters = counters.expect("the counters");
    shared.open = open.expect("the table");
    shared.attachments = observer.attachments().cloned().collect();
}

fn keep(events: &mut Vec<Event>, shared: &Mutex<Shared>) {
    for event in events.drain(..) {
        if let Event::Close(CloseRecord { key, flow, .. }) = event {
            shared.lock().expect("shared").closes.push((key, flow));
        }
    }
}
