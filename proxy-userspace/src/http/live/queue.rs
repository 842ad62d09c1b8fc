//! Requests that wait for a server's free slot.
//!
//! A slot is a share of a server's `maxconn`. Who releases one, who has just queued and who changes a
//! server all hand out what is free, so that no wake-up is lost between them.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;

use super::{Backend, Server};
use crate::http::{counters::Gauge, settings::Redispatch};

/// Requests in their order; empty costs one load.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Gauge,
    list: Mutex<VecDeque<Waiting>>,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    ticket: oneshot::Sender<usize>,
    /// It waits for this server whatever becomes of that (`force-persist`).
    stays: bool,
}

impl Queue {
    /// Requests that wait (`qcur`).
    pub fn len(&self) -> u32 {
        self.waiting.now()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most that ever waited (`qmax`).
    pub fn max(&self) -> u32 {
        self.waiting.max()
    }

    /// Forgets the most.
    pub fn clear_max(&self) {
        self.waiting.clear();
    }

    /// Adds the last one, which may have to stay whatever becomes of the server.
    pub(crate) fn push(&self, ticket: oneshot::Sender<usize>, stays: bool) {
        let mut list = self.list();
        list.push_back(Waiting { since: Instant::now(), ticket, stays });
        // Under the lock: nobody takes out what is not counted yet.
        self.waiting.rise();
    }

    fn pop(&self) -> Option<oneshot::Sender<usize>> {
        let mut list = self.list();
        let first = list.pop_front()?;
        self.waiting.fall();
        Some(first.ticket)
    }

    /// Since when its first one waits.
    fn since(&self) -> Option<Instant> {
        self.list().front().map(|first| first.since)
    }

    fn list(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the tickets whose requests have given up.
    pub(crate) fn sweep(&self) {
        self.retain(|waiting| !waiting.ticket.is_closed());
    }

    /// Drops the tickets that fail the test, and says how many those were.
    fn retain(&self, keep: impl Fn(&Waiting) -> bool) -> usize {
        let mut list = self.list();
        let before = list.len();
        list.retain(keep);
        let dropped = before - list.len();
        (0..dropped).for_each(|_| self.waiting.fall());
        dropped
    }
}

impl Backend {
    /// Gives all free slots to those who wait. Who makes room, by a state, a weight or a limit, calls it.
    pub(crate) fn hand_out_all(&self) {
        for index in 0..self.servers.len() {
            self.hand_out(index);
        }
    }

    /// Has those who wait for a server wait elsewhere, where they may (`option redispatch`): who has
    /// lost the ticket has a server chosen anew. Says how many those are.
    pub(super) fn send_away(&self, server: &Server) -> usize {
        let may = self.settings.redispatch != Redispatch::Never && !self.settings.persist;
        if may { server.queue.retain(|waiting| waiting.stays) } else { 0 }
    }

    /// Gives the server's free slots to those who wait, for it or for any server; says how many of the
    /// latter have one.
    pub(crate) fn hand_out(&self, index: usize) -> usize {
        let server = &self.servers[index];
        let mut came = 0;
        while let Some(queue) = self.next_queue(server) {
            if !server.sessions.rise_below(server.limit(self)) {
                break;
            }
            let Some(ticket) = queue.pop() else {
                server.sessions.fall();
                continue;
            };
            if ticket.send(index).is_err() {
                // Its request has given up; the next one may have it.
                server.sessions.fall();
            } else if std::ptr::eq(queue, &self.queue) {
                came += 1;
            }
        }
        came
    }

    /// Where the server's next request waits: who has waited for the longest goes first.
    fn next_queue<'a>(&'a self, server: &'a Server) -> Option<&'a Queue> {
        let (own, any) = (&server.queue, &self.queue);
        let from_any =
            !any.is_empty() && self.candidates().any(|candidate| candidate.index == server.index);
        match (!own.is_empty(), from_any) {
            (false, false) => None,
            (true, false) => Some(own),
            (false, true) => Some(any),
            (true, true) => Some(if own.since() <= any.since() { own } else { any }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads that queue and take out at the same time never see fewer than none waiting.
    #[test]
    fn those_who_wait_are_counted_before_they_can_be_taken_out() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        queue.push(oneshot::channel().0, false);
                    }
                });
                scope.spawn(|| (0..50_000).for_each(|_| drop(queue.pop())));
            }
        });
        while queue.pop().is_some() {}
        assert_eq!(queue.len(), 0);
        assert!(queue.max() <= 100_000, "{}", queue.max());
    }
}
