//! The last words to a client: refusals, timeouts, and a close that loses nothing.

use std::{
    future::poll_fn,
    io,
    task::{Poll, ready},
    time::Duration,
};

use super::{
    account::Account,
    client::Client,
    counters::Count,
    event::{Cause, Phase, Termination},
    live::Invalid,
    refusal::Refusal,
    reply,
    rewrite::Say,
    rules::Parting,
    session::Stop,
};

impl Client {
    /// Rules on connections have ended it: nobody hears of a request.
    pub(super) fn turned_away(&mut self, parting: Parting) {
        self.refused(parting);
        let mut account = Account::new(self);
        account.termination = Termination::new(Cause::Proxy, Phase::Request);
        account.finish(self, None);
    }

    /// Answers a request that is none.
    pub(super) async fn refuse(&mut self, refusal: Refusal) {
        let invalid = Invalid::new(self.session.client, None, refusal, &self.input);
        self.frontend().errors.request(invalid);
        self.count_bad();
        self.answer_badly(refusal.status(), Termination::new(Cause::Proxy, Phase::Request)).await;
    }

    /// No whole head came in time. A connection that had a request before, and sent nothing of
    /// another, is closed without a word.
    pub(super) async fn late(&mut self) {
        if self.requests > 0 && self.input.is_empty() {
            return;
        }
        if self.input.is_empty() && self.frontend().settings.ignore_probes {
            self.last.termination = Termination::new(Cause::ClientTimeout, Phase::Request);
            return;
        }
        if self.requests == 0 && self.input.is_empty() && self.frontend().settings.dontlognull {
            // A probe that sent nothing: HAProxy answers it, but does not log it.
            self.last.termination = Termination::new(Cause::ClientTimeout, Phase::Request);
            self.answer(408).await;
            return;
        }
        self.count_bad();
        let termination = Termination::new(Cause::ClientTimeout, Phase::Request);
        self.answer_badly(408, termination).await;
    }

    /// The client closed before its request was there. Who has sent a part of it is answered: it
    /// may only have ended its sending.
    pub(super) async fn gone(&mut self, midway: bool) {
        if self.requests > 0 && !midway {
            return;
        }
        let settings = &self.frontend().settings;
        if !midway && (settings.dontlognull || settings.ignore_probes) {
            self.last.termination = Termination::new(Cause::Client, Phase::Request);
            return;
        }
        self.count_bad();
        let termination = Termination::new(Cause::Client, Phase::Request);
        if midway {
            return self.answer_badly(400, termination).await;
        }
        let mut account = Account::new(self);
        account.status = 400;
        account.termination = termination;
        account.finish(self, None);
    }

    /// A request that is none is one in HAProxy's statistics.
    fn count_bad(&self) {
        for what in [Count::Requests, Count::RequestErrors] {
            self.worker.count(&self.frontend().counters, what, 1);
        }
    }

    async fn answer_badly(&mut self, status: u16, termination: Termination) {
        self.answer(status).await;
        let mut account = Account::new(self);
        account.status = status;
        account.termination = termination;
        account.finish(self, None);
        self.linger().await;
    }

    async fn answer(&mut self, status: u16) {
        let mut out = Vec::new();
        let pages = [Some(&self.frontend().settings.error_pages), None];
        // As HAProxy's: there is no request that a page could be made for.
        reply::error(&mut out, status, pages, Say::Close, None);
        self.within(self.frontend().settings.timeouts.client);
        let _ = self.send(&out).await;
    }

    /// Sends bytes of our own.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<(), Stop> {
        let mut sent = 0;
        poll_fn(|cx| {
            while sent < bytes.len() {
                self.session.check(cx)?;
                match ready!(self.sock.poll_send(cx, &[io::IoSlice::new(&bytes[sent..])])) {
                    Ok(count) => sent += count,
                    Err(_) => return Poll::Ready(Err(Stop::Shut(Cause::Client))),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Reads away what the client has sent: a close with unread bytes would be a RST. Says how much.
    pub(crate) fn forget_input(&self) -> usize {
        let mut scratch = self.worker.scratch.borrow_mut();
        self.sock.try_recv(&mut scratch).unwrap_or_default()
    }

    /// Says that nothing more comes and reads away what the client still sends, for a while: a
    /// close with unread bytes would be a RST, and the client might never see the response.
    pub(crate) async fn linger(&self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        const MOST: usize = 1024 * 1024;
        if self.sock.shutdown().is_err() {
            return;
        }
        self.session.resume();
        self.within(Some(PATIENCE));
        let mut total = 0;
        poll_fn(|cx| {
            loop {
                if self.session.check(cx).is_err() || total > MOST {
                    return Poll::Ready(());
                }
                let mut scratch = self.worker.scratch.borrow_mut();
                match ready!(self.sock.poll_recv(cx, &mut scratch)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(count) => total += count,
                }
            }
        })
        .await;
    }
}
