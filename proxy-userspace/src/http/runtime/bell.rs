//! How tasks are woken: on their own thread by a place in its queue, from others with a bell, an
//! eventfd(2) that the thread's epoll watches.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_task::Runnable;
use rustix::event::{EventfdFlags, eventfd};

/// What a thread with a runtime has to do next.
struct Home {
    /// Its number; 0 where it has no runtime.
    number: Cell<u64>,
    queue: RefCell<VecDeque<Runnable>>,
}

thread_local! {
    static HOME: Home = const {
        Home { number: Cell::new(0), queue: RefCell::new(VecDeque::new()) }
    };
}

/// The last thread's number.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// The next woken task of this thread.
pub(super) fn next() -> Option<Runnable> {
    HOME.with(|home| home.queue.borrow_mut().pop_front())
}

/// What wakes a thread's tasks.
#[derive(Debug)]
pub(super) struct Bell {
    /// Whose tasks.
    home: u64,
    /// Those that other threads have woken.
    inbox: Mutex<Vec<Runnable>>,
    /// It was rung, and not answered yet.
    rung: AtomicBool,
    fd: OwnedFd,
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Bell {
    /// This thread's.
    pub(super) fn new() -> io::Result<Self> {
        let home = HOME.with(|home| {
            if home.number.get() == 0 {
                home.number.set(NUMBERS.fetch_add(1, Ordering::Relaxed) + 1);
            }
            home.number.get()
        });
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { home, inbox: Mutex::default(), rung: AtomicBool::new(false), fd })
    }

    /// A task was woken, by any thread.
    pub(super) fn schedule(&self, task: Runnable) {
        let mut task = Some(task);
        // A thread that is ending has no queue any more.
        let _ = HOME.try_with(|home| {
            if home.number.get() == self.home {
                home.queue.borrow_mut().extend(task.take());
            }
        });
        if let Some(task) = task {
            self.inbox().push(task);
            self.ring();
        }
    }

    /// Ends the thread's wait if another one calls; its own is not waiting.
    pub(super) fn ring_from_afar(&self) {
        if HOME.try_with(|home| home.number.get()) != Ok(self.home) {
            self.ring();
        }
    }

    /// Takes up what other threads have woken.
    pub(super) fn answer(&self) {
        if self.rung.load(Ordering::Relaxed) {
            // First of all: who comes later rings again.
            self.rung.store(false, Ordering::SeqCst);
            let tasks = std::mem::take(&mut *self.inbox());
            HOME.with(|home| home.queue.borrow_mut().extend(tasks));
        }
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // It fails once it was rung 2^64 times. It is never read: each write is told.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    fn inbox(&self) -> std::sync::MutexGuard<'_, Vec<Runnable>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
