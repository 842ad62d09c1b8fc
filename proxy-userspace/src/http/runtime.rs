//! A worker's runtime: its tasks, its sockets and its timers, all waited for by one epoll(7).
//!
//! Within tokio's runtime a worker's epoll was one descriptor among others: two waits for each
//! wake-up where there is one now, and a turn of a scheduler that is made for more than this
//! (docs/performance.md says what that was). Nothing here is a matter of a connection's, and tokio's
//! channels serve here as they do there; its timers and sockets do not.

mod bell;
mod timers;

pub(crate) use timers::Sleep;

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use async_task::Task;
use pin_project_lite::pin_project;
use slab::Slab;

use super::watch::Watch;
use bell::Bell;
use timers::Timers;

/// So many tasks have their turn before sockets are looked at again.
const TURNS: usize = 64;

/// The runtime of one thread.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// Its sockets.
    pub(crate) watch: Rc<Watch>,
    timers: Timers,
    bell: Arc<Bell>,
    tasks: Tasks,
}

/// Those that have not ended: each waits where its waker is, so that dropping all that they wait for
/// would have them wait for ever.
type Tasks = Rc<RefCell<Slab<Waker>>>;

impl Runtime {
    /// To be called on the thread that runs it.
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let bell = Arc::new(Bell::new()?);
        let watch = Watch::new()?;
        watch.hear(&*bell)?;
        Ok(Rc::new(Self { watch, timers: Timers::default(), bell, tasks: Tasks::default() }))
    }

    /// Has a task run beside the others. To drop what is returned ends it.
    pub(crate) fn spawn<F: Future<Output = ()> + 'static>(&self, future: F) -> Task<()> {
        let mut tasks = self.tasks.borrow_mut();
        let entry = tasks.vacant_entry();
        let listed = Listed { key: entry.key(), tasks: Rc::clone(&self.tasks) };
        let bell = Arc::clone(&self.bell);
        let job = Job { future, listed };
        let (task, handle) = async_task::spawn_local(job, move |task| bell.schedule(task));
        entry.insert(task.waker());
        drop(tasks);
        task.schedule();
        handle
    }

    /// Waits until then.
    pub(crate) fn sleep_until(&self, then: Instant) -> Sleep<'_> {
        self.timers.until(then)
    }

    /// Waits for so long.
    pub(crate) fn sleep(&self, time: Duration) -> Sleep<'_> {
        self.sleep_until(Instant::now() + time)
    }

    /// Runs until `future` has ended; then all tasks end.
    ///
    /// # Errors
    /// Where sockets cannot be watched any more.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> io::Result<F::Output> {
        let root = Arc::new(Root { woken: AtomicBool::new(true), bell: Arc::clone(&self.bell) });
        let waker = Waker::from(Arc::clone(&root));
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        let _end = End(self);
        loop {
            if root.woken.swap(false, Ordering::Acquire)
                && let Poll::Ready(output) = future.as_mut().poll(&mut cx)
            {
                return Ok(output);
            }
            let all_had_theirs = (0..TURNS).any(|_| bell::next().map(run).is_none());
            let idle = all_had_theirs && !root.woken.load(Ordering::Relaxed);
            let time = if idle { self.timers.time_left() } else { Some(Duration::ZERO) };
            self.watch.wait(time)?;
            self.bell.answer();
            self.timers.fire();
        }
    }
}

#[cfg(test)]
impl Runtime {
    /// Waits for `future`, but for no longer than that.
    pub(crate) async fn within<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        tokio::select! {
            output = future => Some(output),
            () = self.sleep(time) => None,
        }
    }
}

/// Gives a task its turn. What panics ends alone: that it did was said by the panic's hook.
fn run(task: async_task::Runnable) {
    let _ended = catch_unwind(AssertUnwindSafe(|| task.run()));
}

/// Lets others have their turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether what is run to its end was woken.
struct Root {
    woken: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for Root {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.bell.ring_from_afar();
    }
}

/// Ends all tasks when dropped.
struct End<'a>(&'a Runtime);

impl Drop for End<'_> {
    fn drop(&mut self) {
        // What ends may begin something else.
        loop {
            let tasks: Vec<Waker> =
                self.0.tasks.borrow().iter().map(|(_, waker)| waker.clone()).collect();
            if tasks.is_empty() {
                break;
            }
            tasks.into_iter().for_each(Waker::wake);
            self.0.bell.answer();
            while let Some(task) = bell::next() {
                drop(task);
            }
        }
    }
}

pin_project! {
    /// What a task does, and its place among the tasks for as long.
    struct Job<F> {
        #[pin]
        future: F,
        listed: Listed,
    }
}

impl<F: Future> Future for Job<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

/// A place among the tasks.
struct Listed {
    key: usize,
    tasks: Tasks,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let _waker = self.tasks.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests;
