//! Rules on what a client sends in `mode tcp`: `tcp-request content`, and waiting for what they need.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use super::{
    account::Account,
    client::Client,
    event::{Cause, Phase, Termination},
    rules::{Inspection, Parting, Verdict},
    sample::View,
    session::Stop,
};

/// Why a connection does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Rules have said so.
    Refused(Parting),
    /// Its client has gone, or was silent for too long, and no rule minds.
    Left(Cause),
    /// Somebody has shut it down.
    Stopped(Cause),
}

impl Ended {
    /// As it is logged.
    pub(super) const fn termination(self) -> Termination {
        let cause = match self {
            Self::Refused(_) => Cause::Proxy,
            Self::Left(cause) | Self::Stopped(cause) => cause,
        };
        Termination::new(cause, Phase::Request)
    }
}

/// What of a client's input is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// It has sent its FIN.
    Ended,
    /// It has reset the connection, or was silent for too long.
    Lost(Cause),
}

/// Follows the rules, and waits for what they need for as long as they may.
pub(super) async fn inspect(
    client: &mut Client,
    inspection: &Inspection,
    account: &mut Account,
) -> Result<(), Ended> {
    let began = Instant::now();
    let due = inspection.delay.map(|delay| began + delay);
    let most = client.proxies.global.head_limit();
    let mut input = client.read_more(most);
    let mut waited = false;
    loop {
        let is_over = due.is_none_or(|due| due <= Instant::now());
        let is_partial = input == Input::Open && client.input.len() < most && !is_over;
        let sent = View { received: Some(&client.input), is_partial, ..View::default() };
        match judge(client, inspection, sent, account) {
            Verdict::Refused(parting) => return Err(Ended::Refused(parting)),
            Verdict::Accepted { .. } | Verdict::Ended => break,
            Verdict::Open => {}
        }
        waited = true;
        input = client.wait_for_more(due, most).await?;
    }
    if let Input::Lost(cause) = input {
        return Err(Ended::Left(cause));
    }
    if waited {
        account.queued();
    }
    Ok(())
}

/// Asks the rules of what a side has `sent`; what they have kept is the account's once they have
/// decided.
pub(super) fn judge(
    client: &Client,
    inspection: &Inspection,
    sent: View<'_>,
    account: &mut Account,
) -> Verdict {
    let mut edits = account.variables.clone();
    let session = account.session(client, None);
    let view =
        View { client: client.session.client, local: client.local, moment: Some(&session), ..sent };
    let verdict = inspection.rules.follow(view, &mut edits);
    if verdict != Verdict::Open {
        account.variables = edits;
    }
    verdict
}

impl Client {
    /// Reads what is there, up to so much in all.
    fn read_more(&mut self, most: usize) -> Input {
        let worker = Rc::clone(&self.worker);
        let mut scratch = worker.scratch.borrow_mut();
        let room = most.saturating_sub(self.input.len()).min(scratch.len());
        if room == 0 {
            return Input::Open;
        }
        let received = self.sock.try_recv(&mut scratch[..room]);
        self.received(received.map(|count| &scratch[..count]))
    }

    fn received(&mut self, received: io::Result<&[u8]>) -> Input {
        match received {
            Ok([]) => Input::Ended,
            Ok(bytes) => {
                self.heard = Instant::now();
                self.input.extend_from_slice(bytes);
                Input::Open
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Input::Open,
            Err(_) => Input::Lost(Cause::Client),
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Input> {
        let worker = Rc::clone(&self.worker);
        let mut scratch = worker.scratch.borrow_mut();
        let room = most.saturating_sub(self.input.len()).min(scratch.len());
        let received = ready!(self.sock.poll_recv(cx, &mut scratch[..room]));
        Poll::Ready(self.received(received.map(|count| &scratch[..count])))
    }

    /// Waits until there is more, the client has been silent for too long, or it is `due`.
    pub(super) async fn wait_for_more(
        &mut self,
        due: Option<Instant>,
        most: usize,
    ) -> Result<Input, Ended> {
        let silence = self.frontend().settings.timeouts.client.map(|time| self.heard + time);
        let next = [due, silence].into_iter().flatten().min();
        self.worker.sessions.set_deadline(&self.session, next);
        let waited = poll_fn(|cx| match self.session.check(cx) {
            Ok(()) => self.poll_more(cx, most).map(Ok),
            Err(stop) => Poll::Ready(Err(stop)),
        });
        match waited.await {
            Ok(input) => Ok(input),
            Err(Stop::Timeout) => {
                self.session.resume();
                let is_due = due == next;
                Ok(if is_due { Input::Open } else { Input::Lost(Cause::ClientTimeout) })
            }
            Err(Stop::Shut(cause)) => Err(Ended::Stopped(cause)),
            Err(Stop::Forced) => Err(Ended::Stopped(Cause::Killed)),
        }
    }
}
