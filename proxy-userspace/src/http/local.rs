//! Answers that no server gives: by the rules, and for failures.

use super::{
    account::Account,
    client::{After, Client},
    counters::Count,
    event::{Cause, Phase, Termination},
    framing::Asked,
    hooks::{Answer, Decision},
    prepare::Prepared,
    pump::Body,
    reply,
    rewrite::{self, Say},
    upstream::Fail,
};

/// How much of the request that is answered was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Its head; what there is of its body is the client's input yet.
    Unread,
    /// All of it.
    Sent,
    /// Its body is still to come, and nobody wants it.
    Left,
}

/// Sends what the rules decided.
pub(super) async fn decided(
    client: &mut Client,
    prepared: &Prepared,
    account: &mut Account,
) -> After {
    let counters = match (&prepared.backend, prepared.by_backend) {
        (Some(backend), true) => &backend.counters,
        _ => &client.frontend().counters,
    };
    match &prepared.decision {
        Decision::Answer(answer) => {
            client.worker.count(counters, Count::Intercepted, 1);
            account.stats = answer.stats;
            if answer.stats {
                account.served_here();
            }
            account.termination = Termination::new(Cause::Local, Phase::Request);
            answer_with(client, prepared, account, answer).await
        }
        Decision::Refuse(answer) => {
            count_denied(client, prepared);
            account.termination = Termination::new(Cause::Proxy, Phase::Request);
            answer_with(client, prepared, account, answer).await
        }
        Decision::Page(status) => {
            client.worker.count(counters, Count::Intercepted, 1);
            account.status = *status;
            account.termination = Termination::new(Cause::Local, Phase::Request);
            page(client, prepared, account, *status, Rest::Unread).await
        }
        Decision::Ready => {
            client.worker.count(counters, Count::Intercepted, 1);
            account.status = 200;
            account.is_logged = false;
            account.termination = Termination::new(Cause::Local, Phase::Request);
            page(client, prepared, account, 200, Rest::Unread).await
        }
        Decision::Deny(status) => {
            count_denied(client, prepared);
            let fail = Fail::new(*status, Cause::Proxy, Phase::Request);
            fail_with(client, prepared, account, fail, Rest::Unread).await
        }
        Decision::Failed => {
            let of_backend = prepared.backend.as_ref().map(|backend| &backend.counters);
            for counters in [Some(&client.frontend().counters), of_backend].into_iter().flatten() {
                client.worker.count(counters, Count::RewriteErrors, 1);
            }
            let fail = Fail::new(500, Cause::Proxy, Phase::Request);
            fail_with(client, prepared, account, fail, Rest::Unread).await
        }
        Decision::Pass => After::Close,
    }
}

/// Counts a request that was denied; one that its backend denies is one of its frontend's, too.
fn count_denied(client: &Client, prepared: &Prepared) {
    let of_backend = prepared.backend.as_ref().filter(|_| prepared.by_backend);
    let of_backend = of_backend.map(|backend| &backend.counters);
    for counters in [Some(&client.frontend().counters), of_backend].into_iter().flatten() {
        client.worker.count(counters, Count::DeniedRequests, 1);
    }
}

/// Sends a response of the rules' own.
async fn answer_with(
    client: &mut Client,
    prepared: &Prepared,
    account: &mut Account,
    answer: &Answer,
) -> After {
    account.status = answer.status;
    let says_close = answer
        .fields
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("connection") && rewrite::says_close(value));
    let closes = says_close || answer.ends_bodies && !prepared.framing.is_empty();
    let (say, after) = persistence(client, prepared, answer.status, closes, Rest::Unread);
    let mut out = client.worker.buffer();
    reply::answer(&mut out, answer, say);
    send(client, prepared, account, out, after).await
}

/// Whether the connection is kept after an answer of our own: only where the next request's
/// beginning is known, and the answer does not say that it `closes`.
fn persistence(
    client: &mut Client,
    prepared: &Prepared,
    status: u16,
    closes: bool,
    rest: Rest,
) -> (Say, After) {
    let stopping = client.worker.stopping.get();
    let closes = closes || matches!(status, 400 | 408 | 413) || stopping;
    let over = match rest {
        Rest::Unread => swallow(client, prepared),
        Rest::Sent => true,
        Rest::Left => false,
    };
    if !over {
        return (Say::Close, After::Linger);
    }
    if closes || !prepared.persists {
        return (Say::Close, After::Close);
    }
    (if prepared.minor == 0 { Say::KeepAlive } else { Say::Nothing }, After::Keep)
}

/// Takes the request's body off the client's input, if all of it is there.
fn swallow(client: &mut Client, prepared: &Prepared) -> bool {
    let mut body = Body::from(prepared.framing);
    let Ok(length) = body.follow(&client.input) else { return false };
    client.input.drain(..length);
    body.is_over()
}

/// Sends the error page that belongs to a failure.
pub(super) async fn fail_with(
    client: &mut Client,
    prepared: &Prepared,
    account: &mut Account,
    fail: Fail,
    rest: Rest,
) -> After {
    account.failed(fail.status, fail.termination);
    if fail.status == 0 {
        return After::Close;
    }
    page(client, prepared, account, fail.status, rest).await
}

/// Sends the error page of a status. An empty one is a close without a word.
async fn page(
    client: &mut Client,
    prepared: &Prepared,
    account: &mut Account,
    status: u16,
    rest: Rest,
) -> After {
    let (say, after) = persistence(client, prepared, status, false, rest);
    let mut out = client.worker.buffer();
    let of_backend = prepared.backend.as_ref().map(|backend| &backend.settings.error_pages);
    let pages = [of_backend, Some(&client.frontend().settings.error_pages)];
    reply::error(&mut out, status, pages, say);
    let after = if out.is_empty() && after == After::Keep { After::Close } else { after };
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
