//! One request and its response.

use std::{
    future::poll_fn,
    io::IoSlice,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use super::{
    account::Account,
    client::{After, Client},
    closes::Class,
    counters::Count,
    event::{Cause, Phase, Termination},
    framing::{Asked, Framing},
    head,
    hooks::{Decision, Edit},
    live::{Backend, Invalid},
    prepare::Prepared,
    pump::{Body, Broken, Pump, Waits},
    refusal::Refusal,
    reply,
    rewrite::{self, Say},
    session::Stop,
    settings::{Connection, Reuse},
    tunnel,
    upstream::{Errand, Fail, Upstream, note_session, reach},
};

/// Heads of interim responses (1xx) before the final one.
const MOST_INTERIM: u32 = 32;

/// What a server's head said.
#[derive(Clone, Copy, Debug)]
struct Answered {
    status: u16,
    framing: Framing,
    /// The server keeps its connection, as far as its head says.
    persists: bool,
    /// The client keeps its connection.
    keep: bool,
    tunnel: bool,
}

/// Why there is no head.
enum Headless {
    /// The connection was closed without a byte.
    Unanswered,
    Fail(Fail),
}

/// A request under way.
struct Exchange<'c> {
    client: &'c mut Client,
    prepared: &'c Prepared,
    account: Account,
    backend: Arc<Backend>,
    /// Received from the server: a part of a head, or what came after the body.
    rest: Vec<u8>,
    interim: u32,
    /// The request's body could not be sent on.
    request_broken: bool,
}

/// Serves a request.
pub(crate) async fn run(client: &mut Client, prepared: Prepared) -> After {
    let mut account = Account::request(client, &prepared);
    let counters = &client.frontend().counters;
    client.worker.count(counters, Count::Requests, 1);
    let Some(backend) = prepared.backend.clone() else {
        let after = match &prepared.decision {
            Decision::Pass => {
                let fail = Fail::new(503, Cause::Server, Phase::Connect);
                fail_with(client, &prepared, &mut account, fail).await
            }
            _ => decided(client, &prepared, &mut account).await,
        };
        account.finish(client, Some(&prepared));
        return recycle(client, prepared, after);
    };
    backend.sessions.rise();
    client.worker.count(&backend.counters, Count::Sessions, 1);
    client.worker.count(&backend.counters, Count::Requests, 1);
    let (after, account) = if prepared.decision == Decision::Pass {
        let mut exchange = Exchange {
            client,
            prepared: &prepared,
            account,
            backend: Arc::clone(&backend),
            rest: Vec::new(),
            interim: 0,
            request_broken: false,
        };
        let after = exchange.forward().await;
        (after, exchange.account)
    } else {
        (decided(client, &prepared, &mut account).await, account)
    };
    account.finish(client, Some(&prepared));
    backend.sessions.fall();
    client.session.leave();
    recycle(client, prepared, after)
}

fn recycle(client: &Client, prepared: Prepared, after: After) -> After {
    client.worker.give_back(prepared.out);
    after
}

/// Sends what the rules decided.
async fn decided(client: &mut Client, prepared: &Prepared, account: &mut Account) -> After {
    let counters = match (&prepared.backend, prepared.by_backend) {
        (Some(backend), true) => &backend.counters,
        _ => &client.frontend().counters,
    };
    match &prepared.decision {
        Decision::Answer(answer) => {
            client.worker.count(counters, Count::Intercepted, 1);
            account.status = answer.status;
            account.stats = answer.stats;
            account.termination = Termination::new(Cause::Local, Phase::Request);
            let (say, after) = persistence(client, prepared, answer.status);
            let mut out = client.worker.buffer();
            reply::answer(&mut out, answer, say);
            send(client, prepared, account, out, after).await
        }
        Decision::Deny(status) => {
            client.worker.count(counters, Count::DeniedRequests, 1);
            let fail = Fail::new(*status, Cause::Proxy, Phase::Request);
            fail_with(client, prepared, account, fail).await
        }
        Decision::Pass => After::Close,
    }
}

/// Whether the connection is kept after an answer of our own.
fn persistence(client: &Client, prepared: &Prepared, status: u16) -> (Say, After) {
    let stopping = client.worker.stopping.get();
    let closes = matches!(status, 400 | 408 | 413) || stopping;
    if !prepared.framing.is_empty() {
        return (Say::Close, After::Linger);
    }
    if closes || !prepared.persists {
        return (Say::Close, After::Close);
    }
    (if prepared.minor == 0 { Say::KeepAlive } else { Say::Nothing }, After::Keep)
}

/// Sends the error page that belongs to a failure.
async fn fail_with(
    client: &mut Client,
    prepared: &Prepared,
    account: &mut Account,
    fail: Fail,
) -> After {
    account.termination = fail.termination;
    account.status = fail.status;
    if fail.status == 0 || fail.termination.cause == Cause::Client {
        return After::Close;
    }
    let (say, after) = persistence(client, prepared, fail.status);
    let mut out = client.worker.buffer();
    let of_backend = prepared.backend.as_ref().map(|backend| &backend.settings.error_pages);
    let pages = [of_backend, Some(&client.frontend().settings.error_pages)];
    reply::error(&mut out, fail.status, pages, say);
    send(client, prepared, account, out, after).await
}

async fn send(
    client: &mut Client,
    prepared: &Prepared,
    account: &mut Account,
    mut out: Vec<u8>,
    after: After,
) -> After {
    if prepared.asked == Asked::Head {
        reply::head_only(&mut out);
    }
    client.session.resume();
    client.within(client.frontend().settings.timeouts.client);
    let sent = client.send(&out).await;
    account.bytes_out += out.len() as u64;
    client.worker.give_back(out);
    if sent.is_ok() { after } else { After::Close }
}

impl Exchange<'_> {
    async fn forward(&mut self) -> After {
        let mut reuse = true;
        loop {
            let mut body = Body::from(self.prepared.framing);
            let prefix = match body.follow(&self.client.input) {
                Ok(prefix) => prefix,
                Err(refusal) => return self.refused_request(refusal).await,
            };
            let class =
                if self.prepared.asked == Asked::Connect { Class::Tunnel } else { Class::Active };
            let errand = Errand {
                backend: &self.backend,
                key: self.prepared.key,
                head: &self.prepared.out,
                body,
                prefix,
                reuse,
                class,
            };
            let mut upstream = match reach(self.client, errand, &mut self.account).await {
                Ok(upstream) => upstream,
                Err(fail) => return self.fail(fail).await,
            };
            note_session(self.client, upstream.slot.server());
            match self.head(&mut upstream).await {
                Ok((answered, pump)) if answered.tunnel => {
                    return self.tunnel(upstream, pump).await;
                }
                Ok((answered, pump)) => return self.body(upstream, answered, pump).await,
                Err(Headless::Unanswered) if upstream.reused => {
                    let repeatable = self.prepared.is_repeatable();
                    self.close(upstream);
                    if repeatable {
                        reuse = false;
                        continue;
                    }
                    // The server may have carried it out: the client has to decide. On a kept
                    // connection it does, when that is closed without an answer.
                    let status = if self.client.requests > 1 { 0 } else { 502 };
                    let fail = Fail::new(status, Cause::Server, Phase::Headers);
                    return self.fail(fail).await;
                }
                Err(headless) => {
                    let fail = match headless {
                        Headless::Unanswered => Fail::new(502, Cause::Server, Phase::Headers),
                        Headless::Fail(fail) => fail,
                    };
                    self.account.termination = fail.termination;
                    self.close(upstream);
                    return self.fail(fail).await;
                }
            }
        }
    }

    async fn fail(&mut self, fail: Fail) -> After {
        fail_with(self.client, self.prepared, &mut self.account, fail).await
    }

    /// The beginning of the body is already wrong.
    async fn refused_request(&mut self, refusal: Refusal) -> After {
        self.note_refusal(refusal, &self.client.input.clone(), None);
        self.fail(Fail::new(refusal.status(), Cause::Proxy, Phase::Request)).await
    }

    /// Waits for the response's head, sending the rest of the request meanwhile.
    async fn head(&mut self, upstream: &mut Upstream) -> Result<(Answered, Pump), Headless> {
        self.within_server(upstream);
        let mut pump = Pump::new(Body::Over, false);
        let answered = poll_fn(|cx| {
            if let Err(stop) = self.client.session.check(cx) {
                return Poll::Ready(Err(Headless::Fail(self.stopped(stop, upstream))));
            }
            if let Err(fail) = self.poll_request(cx, upstream) {
                return Poll::Ready(Err(Headless::Fail(fail)));
            }
            if self.client_left(cx) {
                let fail = Fail::new(400, Cause::Client, Phase::Headers);
                return Poll::Ready(Err(Headless::Fail(fail)));
            }
            self.poll_head(cx, upstream, &mut pump)
        })
        .await?;
        self.account.responded();
        Ok((answered, pump))
    }

    fn within_server(&self, upstream: &Upstream) {
        let waits_for_client =
            !upstream.request.is_done() && upstream.request.waits == Waits::Source;
        let client = self.client.frontend().settings.timeouts.client;
        let server = self.backend.settings.timeouts.server;
        self.client.within(if waits_for_client { client } else { server });
    }

    fn stopped(&self, stop: Stop, upstream: &Upstream) -> Fail {
        let waits_for_client =
            !upstream.request.is_done() && upstream.request.waits == Waits::Source;
        self.client.session.resume();
        let late = if waits_for_client {
            Fail::new(408, Cause::ClientTimeout, Phase::Headers)
        } else {
            Fail::new(504, Cause::ServerTimeout, Phase::Headers)
        };
        Fail::stopped(stop, Phase::Headers, late)
    }

    /// Sends on what the client sends of the request's body.
    fn poll_request(&mut self, cx: &mut Context<'_>, upstream: &mut Upstream) -> Result<(), Fail> {
        if self.request_broken || upstream.request.is_done() {
            return Ok(());
        }
        let before = (upstream.request.taken, upstream.request.moved);
        let (worker, client) = (&self.client.worker, &self.client.sock);
        let server = &upstream.conn.sock;
        let moved = upstream.request.poll(cx, worker, client, &mut self.client.input, server);
        let progress = before != (upstream.request.taken, upstream.request.moved);
        match moved {
            Poll::Pending | Poll::Ready(Ok(())) => {
                if progress {
                    self.within_server(upstream);
                }
                Ok(())
            }
            // The server may have answered before it closed.
            Poll::Ready(Err(Broken::Write(_))) => {
                self.request_broken = true;
                Ok(())
            }
            Poll::Ready(Err(Broken::Read(_) | Broken::Cut)) => {
                self.request_broken = true;
                Err(Fail::new(400, Cause::Client, Phase::Headers))
            }
            Poll::Ready(Err(Broken::Refused(refusal))) => {
                self.request_broken = true;
                self.note_refusal(refusal, b"", None);
                Err(Fail::new(refusal.status(), Cause::Proxy, Phase::Request))
            }
        }
    }

    /// Whether the client gave up while it should wait.
    fn client_left(&self, cx: &mut Context<'_>) -> bool {
        let watch = self.backend.settings.abortonclose || self.client.sock.is_registered();
        if !watch || !self.client.poll_gone(cx) {
            return false;
        }
        self.backend.settings.abortonclose || self.client.sock.is_reset()
    }

    /// Reads from the server until there is a final head.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        pump: &mut Pump,
    ) -> Poll<Result<Answered, Headless>> {
        let worker = std::rc::Rc::clone(&self.client.worker);
        let broken = |fresh: bool| {
            if fresh {
                Headless::Unanswered
            } else {
                Headless::Fail(Fail::new(502, Cause::Server, Phase::Headers))
            }
        };
        loop {
            let mut scratch = worker.scratch.borrow_mut();
            let fresh = self.rest.is_empty() && self.interim == 0;
            let count = match ready!(upstream.conn.sock.poll_recv(cx, &mut scratch)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(broken(fresh))),
                Ok(count) => count,
            };
            let result = if self.rest.is_empty() {
                self.look(&scratch[..count], upstream, pump)
            } else {
                let mut early = std::mem::take(&mut self.rest);
                early.extend_from_slice(&scratch[..count]);
                self.look(&early, upstream, pump)
            };
            match result {
                Ok(Some(answered)) => return Poll::Ready(Ok(answered)),
                Ok(None) => {}
                Err(fail) => return Poll::Ready(Err(Headless::Fail(fail))),
            }
        }
    }

    /// Looks at what the server sent so far, and sends on what can be.
    fn look(
        &mut self,
        bytes: &[u8],
        upstream: &Upstream,
        pump: &mut Pump,
    ) -> Result<Option<Answered>, Fail> {
        let mut out = self.client.worker.buffer();
        let mut at = 0;
        let answered = loop {
            let mut room = head::room::<256>();
            let room = &mut room[..self.client.proxies.global.max_headers.clamp(1, 256)];
            let limit = self.client.proxies.global.head_limit();
            let asked = self.prepared.asked;
            let parsed = head::response(&bytes[at..], room, asked, self.client.session.client);
            let head = match parsed {
                Ok(None) if bytes.len() - at >= limit => Err(Refusal::HeadLength),
                Ok(Some(head)) if head.len > limit => Err(Refusal::HeadLength),
                other => other,
            };
            let head = match head {
                Ok(Some(head)) => head,
                Ok(None) => {
                    self.rest = bytes[at..].to_vec();
                    break None;
                }
                Err(refusal) => return Err(self.refused_response(refusal, &bytes[at..], upstream)),
            };
            at += head.len;
            if head.view.status >= 200 || head.view.status == 101 {
                match self.final_head(&head, upstream, &mut out) {
                    Ok(answered) => break Some(answered),
                    Err(refusal) => {
                        return Err(self.refused_response(
                            refusal,
                            &bytes[at - head.len..],
                            upstream,
                        ));
                    }
                }
            }
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                return Err(self.refused_response(Refusal::Unasked, &bytes[at..], upstream));
            }
            if self.prepared.minor > 0 {
                rewrite::response(&mut out, &head, Say::Nothing, head.odd, &[]);
            }
        };
        if let Some(answered) = &answered {
            self.account.status = answered.status;
            let unframed = answered.framing == Framing::Chunked && self.prepared.minor == 0;
            *pump = std::mem::replace(pump, Pump::new(Body::Over, false)).carry_on(
                if answered.tunnel { Body::Over } else { answered.framing.into() },
                unframed,
            );
            self.rest = Vec::new();
        }
        self.first_bytes(out, if answered.is_some() { &bytes[at..] } else { b"" }, pump, upstream)?;
        Ok(answered)
    }

    /// Sends a head and the first bytes of the body in one call.
    fn first_bytes(
        &mut self,
        out: Vec<u8>,
        after: &[u8],
        pump: &mut Pump,
        upstream: &Upstream,
    ) -> Result<(), Fail> {
        let mut own = Vec::new();
        let (used, body) = match pump.first(after, &mut own) {
            Ok(first) => first,
            Err(refusal) => return Err(self.refused_response(refusal, after, upstream)),
        };
        self.rest.extend_from_slice(&after[used..]);
        if out.is_empty() && body.is_empty() {
            return Ok(());
        }
        let slices = [IoSlice::new(&out), IoSlice::new(body)];
        let sent = match self.client.sock.try_send(if pump.is_flushed() { &slices } else { &[] }) {
            Ok(sent) => sent,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(Fail::new(0, Cause::Client, Phase::Data)),
        };
        pump.keep(&self.client.worker, &[&out, body], sent);
        self.client.worker.give_back(out);
        Ok(())
    }

    /// Judges and rewrites the final head.
    fn final_head(
        &mut self,
        head: &head::ResponseHead<'_>,
        upstream: &Upstream,
        out: &mut Vec<u8>,
    ) -> Result<Answered, Refusal> {
        let status = head.view.status;
        let switched = status == 101;
        if switched && !self.prepared.upgrade {
            return Err(Refusal::Switched);
        }
        let connected = self.prepared.asked == Asked::Connect && status < 300;
        let mut edits: Vec<Edit> = Vec::new();
        let of_frontend = &self.client.frontend().settings.rules;
        for rules in [&self.backend.settings.rules, of_frontend].into_iter().flatten() {
            rules.response(&head.view, &mut edits);
        }
        let unframed = head.framing == Framing::Chunked && self.prepared.minor == 0;
        let request_over = upstream.request.is_done() && !self.request_broken;
        let keep = self.prepared.persists
            && request_over
            && !unframed
            && !connected
            && head.framing != Framing::Close
            && !self.client.worker.stopping.get();
        let say = if switched {
            Say::Upgrade
        } else if connected {
            Say::Nothing
        } else if keep {
            let old = self.prepared.minor == 0 || head.view.minor == 0;
            if old { Say::KeepAlive } else { Say::Nothing }
        } else if head.view.minor > 0 {
            Say::Close
        } else {
            Say::Nothing
        };
        rewrite::response(out, head, say, unframed || head.odd, &edits);
        Ok(Answered {
            status,
            framing: head.framing,
            persists: head.options.persists(head.view.minor)
                && head.framing != Framing::Close
                && !head.odd,
            keep,
            tunnel: switched || connected || self.prepared.mode == Connection::Tunnel,
        })
    }

    fn refused_response(&mut self, refusal: Refusal, bytes: &[u8], upstream: &Upstream) -> Fail {
        let server = upstream.slot.server();
        for counters in [&self.backend.counters, &server.counters] {
            self.client.worker.count(counters, Count::ResponseErrors, 1);
        }
        let names = (self.backend.settings.name.clone(), server.settings.name.clone());
        self.note_refusal(refusal, bytes, Some(names));
        Fail::new(502, Cause::Proxy, Phase::Headers)
    }

    fn note_refusal(&self, reason: Refusal, bytes: &[u8], peer: Option<(String, String)>) {
        let head = bytes[..bytes.len().min(16 * 1024)].to_vec();
        let of_server = peer.is_some();
        let client = self.client.session.client;
        let invalid = Invalid { when: SystemTime::now(), client, peer, reason, head };
        if of_server {
            self.backend.errors.response(invalid);
        } else {
            let frontend = self.client.frontend();
            self.client.worker.count(&frontend.counters, Count::RequestErrors, 1);
            frontend.errors.request(invalid);
        }
    }

    /// Moves the response's body.
    async fn body(&mut self, mut upstream: Upstream, answered: Answered, mut pump: Pump) -> After {
        let mut mark = None;
        let result = if pump.is_done() {
            Ok(())
        } else {
            poll_fn(|cx| {
                if let Err(stop) = self.client.session.check(cx) {
                    return Poll::Ready(Err(self.stopped_body(stop, &pump)));
                }
                // What becomes of the request matters no more than the response shows.
                let _ = self.poll_request(cx, &mut upstream);
                let (worker, server) = (&self.client.worker, &upstream.conn.sock);
                let moved = pump.poll(cx, worker, server, &mut self.rest, &self.client.sock);
                if moved.is_pending() {
                    let now = (pump.taken, pump.moved, pump.waits);
                    if mark.replace(now) != Some(now) {
                        let settings = self.client.frontend();
                        self.client.within(match pump.waits {
                            Waits::Source => self.backend.settings.timeouts.server,
                            Waits::Sink => settings.settings.timeouts.client,
                        });
                    }
                }
                moved.map_err(|broken| match broken {
                    Broken::Read(_) | Broken::Cut => Termination::new(Cause::Server, Phase::Data),
                    Broken::Write(_) => Termination::new(Cause::Client, Phase::Data),
                    Broken::Refused(refusal) => {
                        self.refused_response(refusal, b"", &upstream);
                        Termination::new(Cause::Proxy, Phase::Data)
                    }
                })
            })
            .await
        };
        self.account.bytes_out += pump.moved;
        self.account.bytes_in += upstream.request.taken;
        pump.recycle(&self.client.worker);
        if let Err(termination) = result {
            self.account.termination = termination;
            let counters = [&self.backend.counters, &upstream.slot.server().counters];
            for counters in counters {
                self.client.worker.count(counters, Count::CutShort, 1);
            }
            self.close(upstream);
            return After::Close;
        }
        let request_over = upstream.request.is_done() && !self.request_broken;
        let unasked = !self.rest.is_empty();
        if unasked {
            let rest = std::mem::take(&mut self.rest);
            self.refused_response(Refusal::Unasked, &rest, &upstream);
        }
        let reusable = answered.persists && request_over && !unasked;
        self.part(upstream, answered, reusable);
        match (answered.keep && request_over, request_over) {
            (true, _) => After::Keep,
            (false, true) => After::Close,
            (false, false) => After::Linger,
        }
    }

    fn stopped_body(&self, stop: Stop, pump: &Pump) -> Termination {
        let cause = match (stop, pump.waits) {
            (Stop::Timeout, Waits::Source) => Cause::ServerTimeout,
            (Stop::Timeout, Waits::Sink) => Cause::ClientTimeout,
            (Stop::Down, _) => Cause::Down,
            (Stop::Killed | Stop::Forced, _) => Cause::Killed,
        };
        Termination::new(cause, Phase::Data)
    }

    /// Keeps the server's connection after a complete exchange, or closes it.
    fn part(&mut self, mut upstream: Upstream, answered: Answered, reusable: bool) {
        let keeps = self.prepared.mode == Connection::KeepAlive;
        if !reusable || !keeps || self.client.worker.stopping.get() {
            let until_close = answered.framing == Framing::Close;
            if self.backend.settings.nolinger && until_close {
                upstream.conn.sock.reset_on_close();
            }
            self.close(upstream);
            return;
        }
        upstream.request.recycle(&self.client.worker);
        let Upstream { mut conn, slot, reused, .. } = upstream;
        conn.proven |= reused;
        conn.since = Instant::now();
        if self.backend.settings.reuse == Reuse::Never {
            if answered.keep {
                self.client.own = Some(conn);
            } else {
                self.client.worker.close_idle(conn, None, self.account.doing(Some(self.prepared)));
            }
        } else if let Err(conn) = self.client.worker.pool.put(conn) {
            self.client.worker.close_idle(conn, None, self.account.doing(Some(self.prepared)));
        }
        drop(slot);
    }

    fn close(&self, mut upstream: Upstream) {
        upstream.request.recycle(&self.client.worker);
        let doing = self.account.doing(Some(self.prepared));
        self.client.worker.close_idle(upstream.conn, None, doing);
    }

    /// From now on bytes are passed both ways.
    async fn tunnel(&mut self, upstream: Upstream, pump: Pump) -> After {
        let rest = std::mem::take(&mut self.rest);
        let Upstream { conn, slot, request, .. } = upstream;
        let ways = tunnel::Ways { request, response: pump, rest };
        tunnel::run(self.client, &conn, ways, &mut self.account).await;
        let doing = self.account.doing(Some(self.prepared));
        self.client.worker.close_idle(conn, Some(Class::Tunnel), doing);
        drop(slot);
        After::Close
    }
}
