//! Waiting for a request's body before a server hears of the request (`option http-buffer-request`).

use std::time::Instant;

use super::{
    account::Account,
    client::Client,
    counters::Count,
    event::{Cause, Phase},
    inspect::{Ended, Input},
    live::Invalid,
    prepare::Prepared,
    pump::Body,
    upstream::Fail,
};

impl Client {
    /// Waits until all of it is there, or as much as there is room for. Without an error it is counted
    /// and logged as a part of the request.
    pub(super) async fn gather(
        &mut self,
        prepared: &Prepared,
        account: &mut Account,
    ) -> Result<(), Fail> {
        let due = self.frontend().settings.timeouts.http_request.map(|time| self.begun + time);
        let most = self.proxies.global.head_limit().saturating_sub(prepared.consumed);
        if prepared.continues && self.input.is_empty() {
            const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.within(self.frontend().settings.timeouts.client);
            if self.send(CONTINUE).await.is_ok() {
                account.bytes_out += CONTINUE.len() as u64;
            }
        }
        let mut waited = false;
        let gathered = loop {
            let mut body = Body::from(prepared.framing);
            if let Err(refusal) = body.follow(&self.input) {
                let invalid = Invalid::new(self.session.client, None, refusal, &self.input);
                self.frontend().errors.request(invalid);
                break Err(Fail::new(refusal.status(), Cause::Proxy, Phase::Request));
            }
            if body.is_over() || self.input.len() >= most {
                break Ok(());
            }
            if due.is_some_and(|due| due <= Instant::now()) {
                break Err(Fail::new(408, Cause::ClientTimeout, Phase::Request));
            }
            waited = true;
            match self.wait_for_more(due, most).await {
                Ok(Input::Open) => {}
                Ok(Input::Lost(Cause::ClientTimeout)) => {
                    break Err(Fail::new(408, Cause::ClientTimeout, Phase::Request));
                }
                Ok(Input::Ended | Input::Lost(_)) => {
                    break Err(Fail::new(0, Cause::Client, Phase::Request));
                }
                Err(Ended::Stopped(cause) | Ended::Left(cause)) => {
                    break Err(Fail::new(0, cause, Phase::Request));
                }
                Err(Ended::Refused(_)) => break Err(Fail::new(0, Cause::Proxy, Phase::Request)),
            }
        };
        if waited {
            account.requested();
        }
        if let Err(fail) = &gathered {
            self.worker.count(&self.frontend().counters, Count::RequestErrors, 1);
            account.bytes_in += self.input.len() as u64;
            if fail.status > 0 {
                account.unplaced();
            }
        }
        gathered
    }
}
