//! A response's body, and what becomes of the two connections after it.

use std::{future::poll_fn, task::Poll};

use super::{
    answer::Answered,
    client::After,
    closes::Class,
    counters::Count,
    event::{Cause, Phase, Termination},
    exchange::Exchange,
    framing::Framing,
    pump::{Broken, Pump, Waits},
    refusal::Refusal,
    session::Stop,
    settings::{Connection, Reuse},
    tunnel,
    upstream::Upstream,
};

impl Exchange<'_> {
    /// Moves the response's body, and ends the exchange.
    pub(super) async fn body(
        &mut self,
        mut upstream: Upstream,
        answered: Answered,
        mut pump: Pump,
    ) -> After {
        let result = if pump.is_done() {
            Ok(())
        } else {
            let moved = self.move_body(&mut upstream, &mut pump).await;
            self.account.touch();
            moved
        };
        self.account.settle();
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
            // The response was whole: this is no error of its own.
            self.note_response(Refusal::Unasked, &rest, &upstream);
        }
        let reusable = answered.persists && request_over && !unasked;
        self.part(upstream, answered, reusable);
        match (answered.keep && request_over, request_over) {
            (true, _) => After::Keep,
            (false, true) => After::Close,
            (false, false) => After::Linger,
        }
    }

    async fn move_body(
        &mut self,
        upstream: &mut Upstream,
        pump: &mut Pump,
    ) -> Result<(), Termination> {
        let mut mark = None;
        poll_fn(|cx| {
            if let Err(stop) = self.client.session.check(cx) {
                return Poll::Ready(Err(stopped(stop, pump)));
            }
            if self.client_left(cx) {
                return Poll::Ready(Err(Termination::new(Cause::Client, Phase::Data)));
            }
            // What becomes of the request matters no more than the response shows.
            let _ = self.poll_request(cx, upstream);
            let (worker, server) = (&self.client.worker, &upstream.conn.sock);
            let moved = pump.poll(cx, worker, server, &mut self.rest, &self.client.sock);
            if moved.is_pending() {
                let now = (pump.taken, pump.moved, pump.waits);
                if mark.replace(now) != Some(now) {
                    self.client.within(match pump.waits {
                        Waits::Source => self.backend.settings.timeouts.server,
                        Waits::Sink => self.client.frontend().settings.timeouts.client,
                    });
                }
            }
            moved.map_err(|broken| match broken {
                Broken::Read(_) | Broken::Cut => Termination::new(Cause::Server, Phase::Data),
                Broken::Write(_) => Termination::new(Cause::Client, Phase::Data),
                Broken::Refused(refusal) => {
                    self.refused_response(refusal, b"", upstream);
                    Termination::new(Cause::Proxy, Phase::Data)
                }
            })
        })
        .await
    }

    /// Keeps the server's connection after a complete exchange, or closes it.
    fn part(&mut self, mut upstream: Upstream, answered: Answered, reusable: bool) {
        let keeps = self.prepared.mode == Connection::KeepAlive;
        let most = upstream.conn.server.settings.max_reuse;
        let reusable = reusable && most.is_none_or(|most| upstream.conn.doing.requests <= most);
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
        conn.since = self.account.mark();
        self.account.describe(&mut conn.doing, Some(self.prepared));
        if self.backend.settings.reuse == Reuse::Never {
            let unwanted = if answered.keep { self.client.own.replace(conn) } else { Some(conn) };
            if let Some(conn) = unwanted {
                self.client.worker.close_idle(conn, None);
            }
        } else if let Some(conn) = self.client.worker.pool.put(conn) {
            self.client.worker.close_idle(conn, None);
        }
        drop(slot);
    }

    pub(super) fn close(&self, mut upstream: Upstream) {
        upstream.request.recycle(&self.client.worker);
        self.account.describe(&mut upstream.conn.doing, Some(self.prepared));
        self.client.worker.close_idle(upstream.conn, None);
    }

    /// From now on bytes are passed both ways.
    pub(super) async fn tunnel(&mut self, upstream: Upstream, pump: Pump) -> After {
        let rest = std::mem::take(&mut self.rest);
        let Upstream { mut conn, slot, request, .. } = upstream;
        let ways = tunnel::Ways { request, response: pump, rest };
        tunnel::run(self.client, &conn, ways, &mut self.account).await;
        self.account.describe(&mut conn.doing, Some(self.prepared));
        self.client.worker.close_idle(conn, Some(Class::Tunnel));
        drop(slot);
        After::Close
    }
}

fn stopped(stop: Stop, pump: &Pump) -> Termination {
    let cause = match (stop, pump.waits) {
        (Stop::Timeout, Waits::Source) => Cause::ServerTimeout,
        (Stop::Timeout, Waits::Sink) => Cause::ClientTimeout,
        (Stop::Shut(cause), _) => cause,
        (Stop::Forced, _) => Cause::Killed,
    };
    Termination::new(cause, Phase::Data)
}
