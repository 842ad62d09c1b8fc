//! Answers that no server gives: by the rules, and for failures.

use super::{
    account::Account,
    client::{After, Client},
    counters::Count,
    event::{Cause, Phase, Termination},
    framing::Asked,
    hooks::Decision,
    prepare::Prepared,
    reply,
    rewrite::Say,
    upstream::Fail,
};

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
pub(super) async fn fail_with(
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
