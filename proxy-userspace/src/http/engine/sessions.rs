//! What may be known of the connections that are open.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::http::{
    live::{Backend, Server},
    reception::Reception,
};

/// A connection as `show sess` shows it.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its number.
    pub serial: u64,
    /// The worker that serves it.
    pub worker: usize,
    /// The client; none on a Unix socket.
    pub client: Option<SocketAddr>,
    /// The frontend's name.
    pub frontend: String,
    /// Backend and server, while a request is there.
    pub server: Option<(String, String)>,
    /// Since when.
    pub age: Duration,
    /// Until its deadline.
    pub expires: Option<Duration>,
    /// Idle between two requests...
    pub idle: bool,
    /// ...for long enough to have no task of its own any more.
    pub parked: bool,
}

/// All connections of a worker.
pub(super) fn of(reception: &Reception) -> Vec<SessionInfo> {
    let worker = &reception.worker;
    let now = Instant::now();
    let expires = |deadline: Option<Instant>| {
        deadline.map(|deadline| deadline.saturating_duration_since(now))
    };
    let mut all = Vec::new();
    worker.sessions.for_each(|session| {
        let server = session.server.borrow();
        all.push(SessionInfo {
            serial: session.serial,
            worker: worker.index,
            client: session.client,
            frontend: session.frontend.settings.name.clone(),
            server: server.as_ref().map(|(backend, server, _)| names(backend, server)),
            age: now.duration_since(session.accepted),
            expires: expires(session.deadline()),
            idle: server.is_none(),
            parked: false,
        });
    });
    reception.lot.for_each(|parked| {
        all.push(SessionInfo {
            serial: parked.serial,
            worker: worker.index,
            client: parked.addresses[0],
            frontend: parked.presence.frontend.settings.name.clone(),
            server: None,
            age: now.duration_since(parked.accepted()),
            expires: expires(parked.deadline()),
            idle: true,
            parked: true,
        });
    });
    all
}

fn names(backend: &Backend, server: &Server) -> (String, String) {
    (backend.settings.name.clone(), server.settings.name.clone())
}
