//! Serving a request: to a server and back, or with an answer of our own.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use super::{
    account::Account,
    answer::Answered,
    client::{After, Client},
    closes::Class,
    counters::Count,
    event::{Cause, Phase, Termination},
    exchange::{Exchange, Headless},
    framing::Asked,
    hooks::Decision,
    local::{Rest, decided, drop_silently, fail_with, instead},
    prepare::Prepared,
    pump::{Body, Pump, Waits},
    refusal::Refusal,
    rules::Parting,
    session::Stop,
    settings::Connection,
    upstream::{Errand, Fail, Upstream, note_session, reach},
};

/// Serves a request.
pub(crate) async fn run(client: &mut Client, prepared: Prepared) -> After {
    let mut account = Account::request(client, &prepared);
    let counters = &client.frontend().counters;
    client.worker.count(counters, Count::Requests, 1);
    let Some(backend) = prepared.backend.clone() else {
        let after = match &prepared.decision {
            Decision::Pass => {
                account.unplaced();
                let fail = Fail::new(503, Cause::Server, Phase::Connect);
                fail_with(client, &prepared, &mut account, fail, Rest::Unread).await
            }
            _ => decided(client, &prepared, &mut account).await,
        };
        account.finish(client, Some(&prepared));
        return recycle(client, prepared, after);
    };
    let mut lack = None;
    if prepared.gathers && prepared.decision == Decision::Pass {
        lack = client.gather(&prepared, &mut account).await.err();
        let of_frontend = client.frontend().settings.buffers_requests;
        if let Some(fail) = lack.filter(|fail| of_frontend && fail.status > 0) {
            // As HAProxy has it: no backend was asked for yet.
            account.backend = None;
            let after = fail_with(client, &prepared, &mut account, fail, Rest::Left).await;
            account.finish(client, Some(&prepared));
            return recycle(client, prepared, after);
        }
    }
    backend.sessions.rise();
    client.worker.count(&backend.counters, Count::Sessions, 1);
    let (after, account) = if let Some(fail) = lack {
        (fail_with(client, &prepared, &mut account, fail, Rest::Left).await, account)
    } else if prepared.decision == Decision::Pass {
        let mut exchange = Exchange {
            client,
            prepared: &prepared,
            account,
            backend: backend.clone(),
            rest: Vec::new(),
            request_broken: false,
            is_reset: false,
            kept: None,
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
        let (mut reuse, mut again) = (true, false);
        loop {
            let mut body = Body::from(self.prepared.framing);
            let prefix = match body.follow(&self.client.input) {
                Ok(prefix) => prefix,
                Err(refusal) => return self.refused_request(refusal).await,
            };
            // As with HAProxy: all of it fits into a buffer.
            let fits = self.prepared.out.len() + prefix <= self.client.proxies.global.head_limit();
            let keeps = fits && body.is_over() && self.backend.settings.retry_on.keeps_requests();
            self.kept = keeps.then(|| self.client.input[..prefix].to_vec());
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
                again,
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
                Err(headless) if self.is_retried(&headless) => {
                    self.give_up(upstream, &headless);
                    self.account.queued();
                    (reuse, again) = (false, true);
                }
                Err(headless) => {
                    let over = upstream.request.is_done() && !self.request_broken;
                    let rest = if over { Rest::Sent } else { Rest::Left };
                    let fail = match headless {
                        // Where it may have carried the request out, the client has to decide.
                        Headless::Unanswered
                            if upstream.reused && self.prepared.is_repeatable() =>
                        {
                            self.close_unanswered(upstream);
                            reuse = false;
                            continue;
                        }
                        Headless::Unanswered | Headless::Again => self.unanswered(),
                        Headless::Fail(fail) => fail,
                        Headless::Decided(decision) => {
                            return self.decided(upstream, decision, rest).await;
                        }
                    };
                    self.account.termination = fail.termination;
                    self.close(upstream);
                    return self.fail(fail, rest).await;
                }
            }
        }
    }

    /// Closes a connection whose request goes on by another one.
    fn give_up(&mut self, upstream: Upstream, headless: &Headless) {
        // HAProxy counts that beside what becomes of it: a redispatch, or a retry as of a connection.
        let server = &upstream.slot.server().counters;
        for counters in [&self.backend.counters, server] {
            self.client.worker.count(counters, Count::Retries, 1);
        }
        let before = self.account.termination;
        if let Headless::Fail(fail) = headless {
            self.account.termination = fail.termination;
        } else if let Headless::Unanswered = headless {
            self.account.termination = Termination::new(Cause::Server, Phase::Headers);
        }
        self.close(upstream);
        self.account.termination = before;
        self.rest.clear();
        (self.request_broken, self.is_reset) = (false, false);
        self.client.session.resume();
        if let Some(kept) = self.kept.take() {
            self.client.input.splice(..0, kept);
        }
    }

    /// Closes a connection on which the server had closed; the request goes on by another.
    fn close_unanswered(&mut self, upstream: Upstream) {
        let before = self.account.termination;
        self.account.termination = Termination::new(Cause::Server, Phase::Headers);
        self.close(upstream);
        self.account.termination = before;
    }

    async fn fail(&mut self, fail: Fail, rest: Rest) -> After {
        fail_with(self.client, self.prepared, &mut self.account, fail, rest).await
    }

    /// Sends what the rules have decided of a response.
    async fn decided(&mut self, upstream: Upstream, decision: Decision, rest: Rest) -> After {
        if matches!(
            decision,
            Decision::Deny(_) | Decision::Refuse(_) | Decision::File { refuses: true, .. }
        ) {
            let server = &upstream.slot.server().counters;
            let frontend = &self.client.frontend().counters;
            for counters in [frontend, &self.backend.counters, server] {
                self.client.worker.count(counters, Count::DeniedResponses, 1);
            }
        }
        self.close(upstream);
        if decision == Decision::Reject(Parting::Silent) {
            drop_silently(self.client, Some(&self.backend));
            self.account.dropped();
            return After::Close;
        }
        let answer = (&decision, Phase::Headers);
        instead(self.client, self.prepared, &mut self.account, answer, rest).await
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
            let answered = self.poll_head(cx, upstream, &mut pump);
            if answered.is_pending()
                && let Err(fail) = self.poll_interim(cx, upstream, &mut pump)
            {
                return Poll::Ready(Err(Headless::Fail(fail)));
            }
            answered
        })
        .await;
        if answered.is_err() {
            self.account.bytes_out += pump.moved;
        }
        match answered {
            Ok(answered) => Ok((answered, pump)),
            Err(headless) if pump.is_flushed() => Err(headless),
            // Nothing can follow on half an interim response.
            Err(Headless::Fail(fail)) => Err(Fail { status: 0, ..fail }.into()),
            Err(_) => Err(Fail::new(0, Cause::Proxy, Phase::Headers).into()),
        }
    }

    /// Sends on what a client that reads slowly has not taken of interim responses.
    fn poll_interim(
        &self,
        cx: &mut Context<'_>,
        upstream: &Upstream,
        pump: &mut Pump,
    ) -> Result<(), Fail> {
        if pump.is_flushed() {
            return Ok(());
        }
        let (worker, from, to) = (&self.client.worker, &upstream.conn.sock, &self.client.sock);
        match pump.poll(cx, worker, from, &mut Vec::new(), to) {
            Poll::Ready(Err(_)) => Err(Fail::new(0, Cause::Client, Phase::Data)),
            _ => Ok(()),
        }
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
}
