//! That a connection is there: for the gauges, and for its worker.

use std::{rc::Rc, sync::Arc};

use super::{counters::Gauge, live::Frontend, session::Session, worker::Worker};

/// Counts a connection as long as it is there.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) frontend: Arc<Frontend>,
    /// Of the process, and of the address.
    connections: [Arc<Gauge>; 2],
}

impl Presence {
    /// Counts a connection that was accepted.
    pub(crate) fn new(frontend: Arc<Frontend>, connections: [Arc<Gauge>; 2]) -> Self {
        frontend.sessions.rise();
        for gauge in &connections {
            gauge.rise();
        }
        Self { frontend, connections }
    }

    /// The same connection with another frontend.
    pub(crate) fn moved_to(&self, frontend: Arc<Frontend>) -> Self {
        Self::new(frontend, self.connections.clone())
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.frontend.sessions.fall();
        for gauge in &self.connections {
            gauge.fall();
        }
    }
}

/// A session's place among its worker's.
#[derive(Debug)]
pub(crate) struct Place {
    worker: Rc<Worker>,
    key: usize,
}

impl Place {
    /// Takes a place.
    pub(crate) fn take(worker: Rc<Worker>, session: &Rc<Session>) -> Self {
        let key = worker.sessions.insert(Rc::clone(session));
        Self { worker, key }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.sessions.remove(self.key);
    }
}
