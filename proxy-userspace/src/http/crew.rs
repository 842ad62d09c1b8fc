//! The tasks that serve clients' connections, one after the other.
//!
//! A task is some kilobytes that are allocated, moved into place and linked in. Where each request
//! has a connection of its own that costs more than parsing the request, so that a few tasks that
//! are done wait for the next connection. Who waited for a second in vain goes: what stays in the
//! middle of the heap keeps the allocator from giving back what a crowd left behind.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use tokio::sync::oneshot;

use super::runtime::Runtime;

/// Tasks that wait, at most.
const WAITING: usize = 32;

/// A worker's tasks of one kind, each of which serves a `T` at a time.
#[derive(Debug)]
pub(crate) struct Crew<T> {
    /// The last to be done is the first to go on: its memory is still near.
    waiting: RefCell<Vec<oneshot::Sender<T>>>,
    /// The fewest that waited since [`Crew::dismiss`].
    fewest: Cell<usize>,
}

impl<T> Default for Crew<T> {
    fn default() -> Self {
        Self { waiting: RefCell::default(), fewest: Cell::default() }
    }
}

impl<T: 'static> Crew<T> {
    /// Has a connection served by a task that waits, or by a new one. `by` is the same for all of
    /// a crew.
    pub(crate) fn serve<F>(self: &Rc<Self>, runtime: &Runtime, mut client: T, by: fn(T) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        while let Some(task) = self.call() {
            match task.send(client) {
                Ok(()) => return,
                Err(back) => client = back,
            }
        }
        runtime.spawn(work(Rc::clone(self), client, by)).detach();
    }

    /// Ends those who have waited since the last time.
    pub(crate) fn dismiss(&self) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.drain(..self.fewest.get());
        self.fewest.set(waiting.len());
    }

    /// Takes out a task that waits.
    fn call(&self) -> Option<oneshot::Sender<T>> {
        let mut waiting = self.waiting.borrow_mut();
        let task = waiting.pop();
        self.fewest.set(self.fewest.get().min(waiting.len()));
        task
    }

    /// Waits for another connection; none if enough tasks wait, or it was in vain.
    async fn next(&self) -> Option<T> {
        let (task, next) = oneshot::channel();
        {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.len() >= WAITING {
                return None;
            }
            waiting.push(task);
        }
        next.await.ok()
    }
}

/// A task: serves a connection, and waits for another.
async fn work<T: 'static, F: Future<Output = ()>>(crew: Rc<Crew<T>>, client: T, by: fn(T) -> F) {
    let mut next = Some(client);
    while let Some(client) = next {
        by(client).await;
        next = crew.next().await;
    }
}
