//! A client's connection; `serve.rs` serves it in `mode http`, `tcp.rs` in `mode tcp`.

use std::{
    cell::Cell,
    net::SocketAddr,
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

use super::{
    closes::Doing,
    counters::Count,
    edit::{self, Edit},
    event,
    held::HeldProxies,
    live::Frontend,
    pool::Idle,
    presence::{Place, Presence},
    rules::Parting,
    session::Session,
    settings::Mode,
    sock::Sock,
    variable::Scope,
    worker::Worker,
};

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) proxies: Rc<HeldProxies>,
    pub(crate) sock: Sock,
    pub(crate) presence: Presence,
    pub(crate) session: Rc<Session>,
    _place: Place,
    /// Received and not yet looked at.
    pub(crate) input: Vec<u8>,
    pub(crate) local: Option<SocketAddr>,
    /// How long it took to hear whose connection it is, until the first request is over.
    pub(crate) handshake: Duration,
    /// Requests so far.
    pub(crate) requests: u64,
    /// The current request's [number](Self::number), once it is wanted.
    number: Cell<Option<u64>>,
    /// A server connection that nobody else may use (`http-reuse never`).
    pub(crate) own: Option<Idle>,
    /// When the current wait for a request began.
    pub(crate) since: Instant,
    /// When the current request's first byte came.
    pub(crate) begun: Instant,
    /// When the last byte came.
    pub(crate) heard: Instant,
    /// The last request's backend and server, by their places, where the next one prefers it.
    pub(crate) last_server: Option<(usize, usize)>,
    /// What the last request was doing when it ended.
    pub(crate) last: Doing,
    /// The variables that last as long as the connection.
    pub(crate) variables: Vec<Edit>,
    /// It is to hear as little of its end as can be.
    pub(crate) is_dropped: bool,
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    Keep,
    /// It is closed.
    Close,
    /// It is closed, but the client may still be sending: closing at once would reset it and
    /// lose the response.
    Linger,
}

impl Client {
    /// `proxies` are those of its frontend. Since when it is there, since when it is idle, and its
    /// requests so far, are `known` of it.
    pub(crate) fn new(
        worker: Rc<Worker>,
        proxies: Rc<HeldProxies>,
        serial: u64,
        sock: Sock,
        presence: Presence,
        addresses: [Option<SocketAddr>; 2],
        known: (Instant, Instant, u64),
    ) -> Self {
        let (accepted, since, requests) = known;
        let [client, local] = addresses;
        let frontend = Arc::clone(&presence.frontend);
        let session = Rc::new(Session::new(serial, client, frontend, accepted));
        let place = Place::take(Rc::clone(&worker), &session);
        Self {
            worker,
            proxies,
            sock,
            presence,
            session,
            _place: place,
            input: Vec::new(),
            local,
            handshake: Duration::ZERO,
            requests,
            number: Cell::new(None),
            own: None,
            since,
            begun: since,
            heard: since,
            last_server: None,
            last: Doing::default(),
            variables: Vec::new(),
            is_dropped: false,
        }
    }

    /// The current request's number, of the whole process: taken where a log or a rule wants it, as
    /// all workers count together.
    pub(crate) fn number(&self) -> u64 {
        let number = self.number.get().unwrap_or_else(|| self.worker.outside.request());
        self.number.set(Some(number));
        number
    }

    /// What comes is another request than what was.
    pub(crate) fn renumber(&self) {
        self.number.set(None);
    }

    /// What the connection alone says of a request that began then, for those who log it.
    pub(crate) fn blank(&self, began: Instant) -> event::Session<'_> {
        let frontend = self.frontend();
        event::Session {
            client: self.session.client,
            local: self.local,
            actconn: self.proxies.connections.now(),
            feconn: frontend.sessions.now(),
            is_first: self.requests <= 1,
            serial: self.number(),
            ..event::Session::new(frontend, self.worker.wall(began))
        }
    }

    /// What is known of a request that nothing has come of yet, for those who hear of closes.
    pub(crate) fn doing(&self) -> Doing {
        Doing { http: self.frontend().settings.mode == Mode::Http, ..Doing::default() }
    }

    pub(crate) fn frontend(&self) -> &Arc<Frontend> {
        &self.presence.frontend
    }

    /// Sets the deadline of what is waited for next.
    pub(crate) fn within(&self, timeout: Option<Duration>) {
        self.within_from(Instant::now(), timeout);
    }

    /// The same, for those who know what time it is.
    pub(crate) fn within_from(&self, now: Instant, timeout: Option<Duration>) {
        let deadline = timeout.map(|timeout| now + timeout);
        self.worker.sessions.set_deadline(&self.session, deadline);
    }

    /// The connection is closed next.
    pub(crate) fn part(&mut self) {
        self.note_requests();
        let passive = self.sock.peer_closed();
        if self.is_dropped {
            self.worker.drop_silently(self.sock.as_fd(), self.frontend(), &self.last);
        } else {
            self.worker.part(self.sock.as_fd(), self.frontend(), passive, &self.last);
        }
        self.sock.finish();
    }

    /// Rules have it closed: it is counted among the requests that were denied.
    pub(crate) fn refused(&mut self, parting: Parting) {
        self.worker.count(&self.frontend().counters, Count::DeniedRequests, 1);
        self.is_dropped = parting == Parting::Silent;
    }

    /// Completes what is said of the connection, whatever its last request was.
    pub(crate) fn note_requests(&mut self) {
        self.last.requests = u32::try_from(self.requests).unwrap_or(u32::MAX);
        self.last.http = self.frontend().settings.mode == Mode::Http;
    }

    /// How long the current request was waited for.
    pub(crate) fn idle(&self) -> Duration {
        self.begun.duration_since(self.since).saturating_sub(self.handshake)
    }

    /// Keeps the variables that last as long as the connection.
    pub(crate) fn remember(&mut self, variables: &[Edit]) {
        if !variables.is_empty() || !self.variables.is_empty() {
            self.variables = edit::left(variables, &[Scope::Session]);
        }
    }

    /// Whether the client is gone. One that only ended its sending (FIN) counts as gone here.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> bool {
        self.sock.poll_readable(cx, false).is_ready() && self.sock.peer_closed()
    }
}
