//! What waits for a time to come: a few tasks of each worker. Connections have their deadlines in
//! `session.rs`.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// The timers of a runtime, by their time and a number.
#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    numbers: Cell<u64>,
}

impl Timers {
    pub(super) fn until(&self, then: Instant) -> Sleep<'_> {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        Sleep { timers: self, key: (then, number), waits: false }
    }

    /// How long until the next one; none without any.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let (next, _) = *self.waiting.borrow().first_key_value()?.0;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Wakes those whose time has come.
    pub(super) fn fire(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let Some(first) = waiting.first_entry() else { return };
        let now = Instant::now();
        if first.key().0 > now {
            return;
        }
        let later = waiting.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut *waiting, later);
        drop(waiting);
        due.into_values().for_each(Waker::wake);
    }
}

/// A wait for a time.
#[derive(Debug)]
pub(crate) struct Sleep<'a> {
    timers: &'a Timers,
    key: (Instant, u64),
    waits: bool,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.timers.waiting.borrow_mut();
        if !self.waits {
            if self.key.0 <= Instant::now() {
                return Poll::Ready(());
            }
            waiting.insert(self.key, cx.waker().clone());
            drop(waiting);
            self.waits = true;
            return Poll::Pending;
        }
        match waiting.get_mut(&self.key) {
            Some(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if self.waits {
            let _waker = self.timers.waiting.borrow_mut().remove(&self.key);
        }
    }
}
