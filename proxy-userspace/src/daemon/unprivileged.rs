//! A thread without capabilities. What reads strangers' bytes beside the proxy's workers runs on it,
//! answers to health checks and requests for metrics: the daemon's own thread keeps some
//! capabilities, for the kernel side.

use crate::privilege;
use anyhow::Context;
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// The thread, until it is dropped; what runs on it ends with it.
pub(super) struct Unprivileged {
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Unprivileged {
    /// Starts it.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(super) fn start() -> anyhow::Result<Self> {
        let (end, ended) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let body = move || {
            // Who waits for the answer is there; `ended` comes by dropping, with nothing to tell.
            match runtime() {
                Ok(runtime) => {
                    let _ = ready.send(Ok(runtime.handle().clone()));
                    let _: Result<(), _> = runtime.block_on(ended);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        };
        let thread = thread::Builder::new().name("unprivileged".into()).spawn(body)?;
        let runtime = started
            .recv()
            .context("it ended at once")
            .flatten()
            .context("cannot start a thread without capabilities")?;
        Ok(Self { runtime, end: Some(end), thread: Some(thread) })
    }

    /// Where tasks are spawned on it.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Unprivileged {
    fn drop(&mut self) {
        drop(self.end.take());
        // A panic of it has been said on its way.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the thread runs, once it can do no more than any other.
fn runtime() -> anyhow::Result<Runtime> {
    privilege::drop_all()?;
    Ok(Builder::new_current_thread().enable_all().build()?)
}
