//! One request and its response.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    account::Account,
    answer::Answered,
    client::{After, Client},
    closes::Class,
    counters::Count,
    event::{Cause, Phase, Termination},
    framing::Asked,
    held::HeldBackend,
    hooks::Decision,
    local::{Rest, decided, fail_with},
    prepare::Prepared,
    pump::{Body, Broken, Pump, Waits},
    refusal::Refusal,
    session::Stop,
    settings::Connection,
    upstream::{Errand, Fail, Upstream, note_session, reach},
};

/// Why there is no head.
pub(super) enum Headless {
    /// The connection was closed without a byte.
    Unanswered,
    Fail(Fail),
}

/// A request under way.
pub(super) struct Exchange<'c> {
    pub(super) client: &'c mut Client,
    pub(super) prepared: &'c Prepared,
    pub(super) account: Account,
    pub(super) backend: HeldBackend,
    /// Received from the server: a part of a head, or what came after the body.
    pub(super) rest: Vec<u8>,
    pub(super) interim: u32,
    /// The request's body could not be sent on.
    pub(super) request_broken: bool,
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
                fail_with(client, &prepared, &mut account, fail, Rest::Unread).await
            }
            _ => decided(client, &prepared, &mut account).await,
        };
        account.finish(client, Some(&prepared));
        return recycle(client, prepared, after);
    };
    backend.sessions.rise();
    client.worker.count(&backend.counters, Count::Sessions, 1);
    let (after, account) = if prepared.decision == Decision::Pass {
        let mut exchange = Exchange {
            client,
            prepared: &prepared,
            account,
            backend: backend.clone(),
            rest: Vec::new(),
            interim: 0,
            request_broken: false,
        };
        let after = exchange.forward().await;
        (after, exchange.account)
    } else {
        (decided(client, &prepared, &mut account).await, account)
    };
    backend.sessions.fall();
    client.session.leave();
    account.finish(client, Some(&prepared));
    recycle(client, prepared, after)
}

fn recycle(client: &Client, prepared: Prepared, after: After) -> After {
    client.worker.give_back(prepared.out);
    after
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
            let tunnel =
                self.prepared.asked == Asked::Connect || self.prepared.mode == Connection::Tunnel;
            let class = if tunnel { Class::Tunnel } else { Class::Active };
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
                Err(fail) => return self.fail(fail, Rest::Unread).await,
            };
            note_session(self.client, upstream.slot.server(), self.account.mark());
            match self.head(&mut upstream).await {
                Ok((answered, pump)) if answered.tunnel => {
                    return self.tunnel(upstream, pump).await;
                }
                Ok((answered, pump)) => return self.body(upstream, answered, pump).await,
                Err(Headless::Unanswered) if upstream.reused => {
                    let repeatable = self.prepared.is_repeatable();
                    let before = self.account.termination;
                    self.account.termination = Termination::new(Cause::Server, Phase::Headers);
                    self.close(upstream);
                    self.account.termination = before;
                    if repeatable {
                        reuse = false;
                        continue;
                    }
                    // The server may have carried it out: the client has to decide.
                    return self.fail(self.unanswered(), Rest::Sent).await;
                }
                Err(headless) => {
                    let fail = match headless {
                        Headless::Unanswered => self.unanswered(),
                        Headless::Fail(fail) => fail,
                    };
                    let over = upstream.request.is_done() && !self.request_broken;
                    self.account.termination = fail.termination;
                    self.close(upstream);
                    return self.fail(fail, if over { Rest::Sent } else { Rest::Left }).await;
                }
            }
        }
    }

    async fn fail(&mut self, fail: Fail, rest: Rest) -> After {
        fail_with(self.client, self.prepared, &mut self.account, fail, rest).await
    }

    /// The server closed before its response was there. As with HAProxy a client that has had
    /// responses on its connection finds out for itself, when that is closed without another.
    pub(super) fn unanswered(&self) -> Fail {
        let status = if self.client.requests > 1 { 0 } else { 502 };
        Fail::new(status, Cause::Server, Phase::Headers)
    }

    /// The beginning of the body is already wrong.
    async fn refused_request(&mut self, refusal: Refusal) -> After {
        self.note_refusal(refusal, &self.client.input.clone(), None);
        self.account.discard();
        self.fail(Fail::new(refusal.status(), Cause::Proxy, Phase::Request), Rest::Left).await
    }

    /// Waits for the response's head, sending the rest of the request meanwhile.
    async fn head(&mut self, upstream: &mut Upstream) -> Result<(Answered, Pump), Headless> {
        self.within_server(upstream, self.account.mark());
        let mut pump = Pump::new(Body::Over, false);
        let answered = poll_fn(|cx| {
            if let Err(stop) = self.client.session.check(cx) {
                return Poll::Ready(Err(Headless::Fail(self.stopped(stop, upstream))));
            }
            if let Err(fail) = self.poll_request(cx, upstream) {
                return Poll::Ready(Err(Headless::Fail(fail)));
            }
            if self.client_left(cx) {
                let fail = if self.client.sock.is_reset() {
                    Fail::new(0, Cause::Client, Phase::Data)
                } else {
                    Fail::new(400, Cause::Client, Phase::Headers)
                };
                return Poll::Ready(Err(Headless::Fail(fail)));
            }
            self.poll_head(cx, upstream, &mut pump)
        })
        .await?;
        Ok((answered, pump))
    }

    pub(super) fn within_server(&self, upstream: &Upstream, now: Instant) {
        let waits_for_client =
            !upstream.request.is_done() && upstream.request.waits == Waits::Source;
        let client = self.client.frontend().settings.timeouts.client;
        let server = self.backend.settings.timeouts.server;
        self.client.within_from(now, if waits_for_client { client } else { server });
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
    pub(super) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
    ) -> Result<(), Fail> {
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
                    self.within_server(upstream, Instant::now());
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
                Err(Fail::new(0, Cause::Client, Phase::Data))
            }
            Poll::Ready(Err(Broken::Refused(refusal))) => {
                self.request_broken = true;
                self.note_refusal(refusal, b"", None);
                Err(Fail::new(refusal.status(), Cause::Proxy, Phase::Request))
            }
        }
    }

    /// Whether the client gave up, and whoever runs the backend wants to give up with it.
    pub(super) fn client_left(&self, cx: &mut Context<'_>) -> bool {
        self.backend.settings.abortonclose && self.client.poll_gone(cx)
    }
}
