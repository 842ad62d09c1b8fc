//! The tasks that serve clients' connections, one after the other.
//!
//! A task is some kilobytes that are allocated, moved into place and linked in. Where each request
//! has a connection of its own that costs more than parsing the request, so that a few tasks that
//! are done wait for the next connection. Who waited for a second in vain goes: what stays in the
//! middle of the heap keeps the allocator from giving back what a crowd left behind.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::client::Client;

/// Tasks that wait, at most.
const WAITING: usize = 32;

/// A worker's tasks of one kind.
#[derive(Default)]
pub(crate) struct Crew {
    /// The last to be done is the first to go on: its memory is still near.
    waiting: RefCell<Vec<Rc<Seat>>>,
    /// The fewest that waited since [`Crew::dismiss`].
    fewest: Cell<usize>,
}

/// Where a task waits.
#[derive(Default)]
struct Seat {
    /// The next connection, or that there is none.
    next: Cell<Option<Option<Client>>>,
    waker: Cell<Option<Waker>>,
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("waiting", &self.waiting.borrow().len()).finish()
    }
}

impl Crew {
    /// Has a connection served by a task that waits, or by a new one. `by` is the same for all of
    /// a crew.
    pub(crate) fn serve<F>(self: &Rc<Self>, client: Client, by: fn(Client) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let seat = self.waiting.borrow_mut().pop();
        self.fewest.set(self.fewest.get().min(self.waiting.borrow().len()));
        if let Some(seat) = seat {
            seat.tell(Some(client));
        } else {
            tokio::task::spawn_local(work(Rc::clone(self), client, by));
        }
    }

    /// Ends those who have waited since the last time.
    pub(crate) fn dismiss(&self) {
        let idle: Vec<_> = self.waiting.borrow_mut().drain(..self.fewest.get()).collect();
        self.fewest.set(self.waiting.borrow().len());
        idle.iter().for_each(|seat| seat.tell(None));
    }

    /// Has the task wait; false if enough others do.
    fn sit(&self, seat: &Rc<Seat>) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let has_room = waiting.len() < WAITING;
        if has_room {
            waiting.push(Rc::clone(seat));
        }
        has_room
    }
}

impl Seat {
    /// Wakes the task that waits.
    fn tell(&self, next: Option<Client>) {
        self.next.set(Some(next));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Client>> {
        match self.next.take() {
            Some(next) => Poll::Ready(next),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// A task: serves a connection, and waits for another.
async fn work<F: Future<Output = ()>>(crew: Rc<Crew>, mut client: Client, by: fn(Client) -> F) {
    let seat = Rc::<Seat>::default();
    loop {
        by(client).await;
        if !crew.sit(&seat) {
            return;
        }
        match poll_fn(|cx| seat.poll(cx)).await {
            Some(next) => client = next,
            None => return,
        }
    }
}
