//! A request under way, and what its steps share: `answer.rs` brings the response's head,
//! `deliver.rs` its body, and `forward.rs` leads through them.

use std::{
    io,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    account::Account,
    client::Client,
    counters::Count,
    event::{Cause, Phase, Termination},
    held::HeldBackend,
    hooks::Decision,
    live::Invalid,
    prepare::Prepared,
    pump::{Broken, Waits},
    refusal::Refusal,
    upstream::{Fail, Upstream},
};

/// Why there is no head.
pub(super) enum Headless {
    /// The connection was closed without a byte.
    Unanswered,
    Fail(Fail),
    /// There is one, and rules have something else go to the client.
    Decided(Decision),
    /// There is one, and its status has the request sent again.
    Again,
}

impl From<Fail> for Headless {
    fn from(fail: Fail) -> Self {
        Self::Fail(fail)
    }
}

/// A request under way.
pub(super) struct Exchange<'c> {
    pub(super) client: &'c mut Client,
    pub(super) prepared: &'c Prepared,
    pub(super) account: Account,
    pub(super) backend: HeldBackend,
    /// Received from the server: a part of a head, or what came after the body.
    pub(super) rest: Vec<u8>,
    /// The request's body could not be sent on.
    pub(super) request_broken: bool,
    /// The server has reset its connection before it had all of the request.
    pub(super) is_reset: bool,
    /// The request's body, where it is all there and the request may be sent again (`retry-on`).
    pub(super) kept: Option<Vec<u8>>,
}

impl Exchange<'_> {
    /// Whether the request may be sent again: nothing of a response has gone to the client, and there is an
    /// attempt left.
    pub(super) fn may_retry(&self) -> bool {
        let most = self.backend.settings.retries;
        self.kept.is_some() && self.account.interim == 0 && self.account.retries < most
    }

    /// Whether that is what the configuration wants after this.
    pub(super) fn is_retried(&self, headless: &Headless) -> bool {
        let on = &self.backend.settings.retry_on;
        let wanted = match headless {
            Headless::Again => true,
            Headless::Unanswered => on.empty,
            Headless::Decided(_) => false,
            Headless::Fail(Fail { termination: Termination { cause, phase }, .. }) => {
                *phase == Phase::Headers
                    && match cause {
                        Cause::Server => on.empty,
                        Cause::ServerTimeout => on.late,
                        Cause::Proxy => on.junk,
                        _ => false,
                    }
            }
        };
        wanted && self.may_retry()
    }

    /// The server closed before its response was there. As with HAProxy a client that has had
    /// responses on its connection finds out for itself, when that is closed without another.
    pub(super) fn unanswered(&self) -> Fail {
        let status = if self.client.requests > 1 { 0 } else { 502 };
        Fail::new(status, Cause::Server, Phase::Headers)
    }

    /// The server's connection is over before its response was there. As with HAProxy a client whose request
    /// is still under way hears nothing of a RST.
    pub(super) fn cut(&self, upstream: &Upstream, is_reset: bool, fresh: bool) -> Headless {
        if (is_reset || self.is_reset) && !upstream.request.body.is_over() {
            Headless::Fail(Fail::new(0, Cause::Server, Phase::Data))
        } else if fresh {
            Headless::Unanswered
        } else {
            Headless::Fail(self.unanswered())
        }
    }

    pub(super) fn within_server(&self, upstream: &Upstream, now: Instant) {
        let waits_for_client =
            !upstream.request.is_done() && upstream.request.waits == Waits::Source;
        let client = self.client.frontend().settings.timeouts.client;
        let server = self.backend.settings.timeouts.server;
        self.client.within_from(now, if waits_for_client { client } else { server });
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
            Poll::Ready(Err(Broken::Write(error))) => {
                self.request_broken = true;
                self.is_reset = error.kind() == io::ErrorKind::ConnectionReset;
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

    /// Keeps what was refused for `show errors`; `peer` is who sent it, where it was a server.
    pub(super) fn note_refusal(
        &self,
        reason: Refusal,
        bytes: &[u8],
        peer: Option<(String, String)>,
    ) {
        let of_server = peer.is_some();
        let invalid = Invalid::new(self.client.session.client, peer, reason, bytes);
        if of_server {
            self.backend.errors.response(invalid);
        } else {
            let frontend = self.client.frontend();
            self.client.worker.count(&frontend.counters, Count::RequestErrors, 1);
            frontend.errors.request(invalid);
        }
    }
}
