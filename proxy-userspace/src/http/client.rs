//! A client's connection in `mode http`: one request after the other.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use memchr::memchr;

use super::{
    closes::Doing,
    exchange,
    held::HeldProxies,
    live::Frontend,
    pool::Idle,
    prepare::{Origin, Prepared, prepare},
    presence::{Place, Presence},
    refusal::Refusal,
    session::{Session, Stop},
    settings::Mode,
    sock::Sock,
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
    /// Requests so far.
    pub(crate) requests: u64,
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
}

/// What a wait for a request brought.
enum Next {
    Request(Box<Prepared>),
    Refused(Refusal),
    /// Nothing came in time.
    Late,
    /// Nothing came for a while, on a connection that may be parked.
    Quiet,
    /// The client closed; `true` if in the middle of a head.
    Gone(bool),
    Stopped,
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
    /// `proxies` are those of its frontend. Since when it is there or idle, and its requests so far,
    /// are `known` of it.
    pub(crate) fn new(
        worker: Rc<Worker>,
        proxies: Rc<HeldProxies>,
        serial: u64,
        sock: Sock,
        presence: Presence,
        addresses: [Option<SocketAddr>; 2],
        known: (Instant, u64),
    ) -> Self {
        let (since, requests) = known;
        let [client, local] = addresses;
        let frontend = Arc::clone(&presence.frontend);
        let session = Rc::new(Session::new(serial, client, frontend, since));
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
            requests,
            own: None,
            since,
            begun: since,
            heard: since,
            last_server: None,
            last: Doing::default(),
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

    /// Serves requests until the connection is to be closed, or parked: then it comes back.
    pub(crate) async fn serve(mut self) -> Option<Self> {
        let mut now = Instant::now();
        loop {
            match self.next(now).await {
                Next::Request(prepared) => {
                    self.requests += 1;
                    match exchange::run(&mut self, *prepared).await {
                        After::Keep => {}
                        After::Close => break,
                        After::Linger => {
                            self.linger().await;
                            break;
                        }
                    }
                    now = self.since;
                }
                Next::Quiet if self.worker.stopping.get() => break,
                Next::Quiet => return Some(self),
                Next::Refused(refusal) => {
                    self.refuse(refusal).await;
                    break;
                }
                Next::Late => {
                    self.late().await;
                    break;
                }
                Next::Gone(midway) => {
                    self.gone(midway).await;
                    break;
                }
                Next::Stopped => break,
            }
        }
        if let Some(idle) = self.own.take() {
            self.worker.close_idle(idle, None);
        }
        self.part();
        None
    }

    /// The connection is closed next.
    pub(crate) fn part(&mut self) {
        self.note_requests();
        let passive = self.sock.peer_closed();
        self.worker.part(self.sock.as_fd(), self.frontend(), passive, &self.last);
        self.sock.finish();
    }

    /// Completes what is said of the connection, whatever its last request was.
    pub(crate) fn note_requests(&mut self) {
        self.last.requests = u32::try_from(self.requests).unwrap_or(u32::MAX);
        self.last.http = self.frontend().settings.mode == Mode::Http;
    }

    /// After a reload the next request follows the new configuration, if its frontend is there.
    fn renew(&mut self) {
        let proxies = self.worker.proxies.borrow();
        if !Rc::ptr_eq(&proxies, &self.proxies)
            && let Some(frontend) = proxies.frontend(&self.frontend().settings.name)
        {
            self.last_server = None;
            self.presence = self.presence.moved_to(Arc::clone(frontend));
            self.proxies = Rc::clone(&proxies);
        }
    }

    /// Until when it may be idle.
    pub(crate) fn idle_deadline(&self) -> Option<Instant> {
        let timeouts = self.frontend().settings.timeouts;
        let idle = timeouts.http_keep_alive.or(timeouts.http_request).or(timeouts.client);
        idle.map(|idle| self.since + idle)
    }

    /// Waits for a request's head.
    async fn next(&mut self, now: Instant) -> Next {
        let timeouts = self.frontend().settings.timeouts;
        let head = timeouts.http_request.or(timeouts.client);
        let idle = if self.requests == 0 { head } else { timeouts.http_keep_alive.or(head) };
        let may_park = self.requests > 0 && self.own.is_none() && self.input.is_empty();
        let park_after = self.proxies.global.park_after;
        let parks = may_park && idle.is_none_or(|idle| idle > park_after);
        self.within_from(now, if parks { Some(park_after) } else { idle });
        let mut fresh = !self.sock.is_registered();
        let mut begun = !self.input.is_empty();
        if begun {
            self.renew();
            self.within_from(now, head);
            (self.begun, self.heard) = (now, now);
        }
        if begun && let Some(next) = self.look() {
            return next;
        }
        loop {
            let read = poll_fn(|cx| {
                if let Err(stop) = self.session.check(cx) {
                    return Poll::Ready(Err(stop));
                }
                self.poll_head(cx, &mut fresh).map(Ok)
            });
            match read.await {
                Ok(Ok(Some(next))) => return next,
                Ok(Ok(None)) => {}
                Ok(Err(_)) => return Next::Gone(!self.input.is_empty()),
                Err(Stop::Timeout) if !begun && parks => {
                    self.session.resume();
                    return Next::Quiet;
                }
                Err(Stop::Timeout) => {
                    self.session.resume();
                    return Next::Late;
                }
                Err(_) => return Next::Stopped,
            }
            if !begun {
                begun = true;
                self.within(head);
            }
        }
    }

    /// Reads once; a head that is there in one piece is taken straight from the receive buffer.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        fresh: &mut bool,
    ) -> Poll<io::Result<Option<Next>>> {
        let worker = Rc::clone(&self.worker);
        let mut scratch = worker.scratch.borrow_mut();
        // While a head is incomplete, no more is read than a head may have.
        let limit = if self.input.is_empty() { scratch.len() } else { 16 * 1024 };
        let space = &mut scratch[..limit];
        let count = if std::mem::take(fresh) {
            match self.sock.try_recv(space) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.sock.poll_recv(cx, space))
                }
                result => result,
            }
        } else {
            ready!(self.sock.poll_recv(cx, space))
        }?;
        if count == 0 {
            return Poll::Ready(Ok(Some(Next::Gone(!self.input.is_empty()))));
        }
        let bytes = &scratch[..count];
        self.heard = Instant::now();
        if !self.input.is_empty() {
            self.input.extend_from_slice(bytes);
            // A head ends with a line: without a new one there is nothing new to find.
            let full = self.input.len() >= self.proxies.global.head_limit();
            let look = full || memchr(b'\n', bytes).is_some();
            return Poll::Ready(Ok(if look { self.look() } else { None }));
        }
        self.begun = self.heard;
        self.renew();
        let next = self.prepare(bytes);
        let used = match &next {
            Some(Next::Request(prepared)) => prepared.consumed,
            _ => 0,
        };
        self.input.extend_from_slice(&bytes[used..]);
        Poll::Ready(Ok(next))
    }

    /// Looks for a head in what was received before.
    fn look(&mut self) -> Option<Next> {
        let input = std::mem::take(&mut self.input);
        let next = self.prepare(&input);
        self.input = input;
        if let Some(Next::Request(prepared)) = &next {
            self.input.drain(..prepared.consumed);
        }
        next
    }

    fn prepare(&self, bytes: &[u8]) -> Option<Next> {
        let origin = Origin {
            frontend: self.frontend(),
            client: self.session.client,
            local: self.local,
            proxies: &self.proxies,
        };
        match prepare(&self.worker, origin, bytes) {
            Ok(Some(prepared)) => Some(Next::Request(Box::new(prepared))),
            Ok(None) => None,
            Err(refusal) => Some(Next::Refused(refusal)),
        }
    }

    /// Whether the client is gone. One that only ended its sending (FIN) counts as gone here.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> bool {
        self.sock.poll_readable(cx, false).is_ready() && self.sock.peer_closed()
    }
}
