//! Serving a client in `mode http`: one request after the other.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use memchr::memchr;

use super::{
    client::{After, Client},
    forward,
    hooks::Decision,
    prepare::{Prepared, prepare},
    refusal::Refusal,
    rules::Parting,
    session::Stop,
};

/// What a wait for a request brought.
enum Next {
    Request(Box<Prepared>),
    Refused(Refusal),
    /// Rules on connections do not let it through.
    TurnedAway(Parting),
    /// Nothing came in time.
    Late,
    /// Nothing came for a while, on a connection that may be parked.
    Quiet,
    /// The client closed; `true` if in the middle of a head.
    Gone(bool),
    Stopped,
}

impl Client {
    /// Serves requests until the connection is to be closed, or parked: then it comes back.
    pub(crate) async fn serve(mut self) -> Option<Self> {
        let mut now = Instant::now();
        loop {
            match self.next(now).await {
                Next::Request(prepared) => {
                    self.requests += 1;
                    match forward::run(&mut self, *prepared).await {
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
                Next::TurnedAway(parting) => {
                    self.turned_away(parting);
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

    /// A request begins. After a reload it follows the new configuration, if its frontend is there.
    fn begin(&mut self) {
        self.renumber();
        let proxies = self.worker.proxies.borrow();
        if !Rc::ptr_eq(&proxies, &self.proxies)
            && let Some(frontend) = proxies.frontend(&self.frontend().settings.name)
        {
            self.last_server = None;
            self.presence = self.presence.moved_to(Arc::clone(frontend));
            self.proxies = Rc::clone(&proxies);
        }
    }

    /// Waits for a request's head.
    async fn next(&mut self, now: Instant) -> Next {
        let timeouts = self.frontend().settings.timeouts;
        let head = timeouts.http_request.or(timeouts.client);
        let idle = if self.requests == 0 { head } else { timeouts.between_requests() };
        let has_something = self.own.is_some() || !self.variables.is_empty();
        let may_park = self.requests > 0 && !has_something && self.input.is_empty();
        let park_after = self.proxies.global.park_after;
        let parks = may_park && idle.is_none_or(|idle| idle > park_after);
        self.within_from(now, if parks { Some(park_after) } else { idle });
        let mut fresh = !self.sock.is_watched();
        let mut begun = !self.input.is_empty();
        if begun {
            self.begin();
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
        let most = if self.input.is_empty() { usize::MAX } else { self.proxies.global.bufsize };
        let limit = most.min(scratch.len());
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
        self.begin();
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
        match prepare(self, bytes) {
            Ok(Some(Prepared {
                backend: None,
                decision: Decision::TurnAway(parting),
                out,
                ..
            })) => {
                self.worker.give_back(out);
                Some(Next::TurnedAway(parting))
            }
            Ok(Some(prepared)) => Some(Next::Request(Box::new(prepared))),
            Ok(None) => None,
            Err(refusal) => Some(Next::Refused(refusal)),
        }
    }
}
