//! Answers that no server gives: by the rules, and for failures.

use std::{future::poll_fn, task::Poll};

use super::{
    account::Account,
    client::{After, Client},
    counters::Count,
    edit,
    event::{Cause, Phase, Termination},
    framing::Asked,
    head::{self, MOST_FIELDS},
    held::HeldBackend,
    hooks::{Answer, Decision, Response, Rules, log_level},
    prepare::{Prepared, named},
    pump::Body,
    reply,
    rewrite::{self, Changes, Say},
    rules::Parting,
    sample::{View, status},
    settings::{ErrorPage, ErrorPages},
    upstream::Fail,
    variable::Scope,
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
    let mut decision = &prepared.decision;
    let mut phase = Phase::Request;
    match decision {
        Decision::Answer(_)
        | Decision::Page(_)
        | Decision::Monitor(_)
        | Decision::File { refuses: false, .. } => {
            client.worker.count(counters, Count::Intercepted, 1);
        }
        Decision::Refuse(_) | Decision::Deny(_) | Decision::File { .. } => {
            count_denied(client, prepared);
            account.server = named(client, prepared);
        }
        Decision::Tarpit(then) => {
            count_denied(client, prepared);
            account.server = named(client, prepared);
            hold_back(client, prepared).await;
            account.held_back();
            (decision, phase) = (then, Phase::Tarpit);
        }
        Decision::Reject(Parting::Closed) => {
            count_denied(client, prepared);
            account.rejected();
            return After::Close;
        }
        // HAProxy counts it as its frontend's alone.
        Decision::TurnAway(Parting::Closed) => {
            client.refused(Parting::Closed);
            account.rejected();
            return After::Close;
        }
        Decision::Reject(Parting::Silent) | Decision::TurnAway(Parting::Silent) => {
            drop_silently(client, prepared.backend.as_ref());
            account.rejected();
            return After::Close;
        }
        Decision::Failed => {
            let of_backend = prepared.backend.as_ref().map(|backend| &backend.counters);
            for counters in [Some(&client.frontend().counters), of_backend].into_iter().flatten() {
                client.worker.count(counters, Count::RewriteErrors, 1);
            }
        }
        Decision::Pass => return After::Close,
    }
    instead(client, prepared, account, (decision, phase), Rest::Unread).await
}

/// Sends what rules have decided in that phase, instead of a server's response.
pub(super) async fn instead(
    client: &mut Client,
    prepared: &Prepared,
    account: &mut Account,
    (decision, phase): (&Decision, Phase),
    rest: Rest,
) -> After {
    match decision {
        Decision::Answer(answer) => {
            account.stats = answer.stats;
            if answer.stats {
                account.served_here();
            }
            account.termination = Termination::new(Cause::Local, phase);
            answer_with(client, prepared, account, answer, rest).await
        }
        Decision::Refuse(answer) => {
            account.termination = Termination::new(Cause::Proxy, phase);
            answer_with(client, prepared, account, answer, rest).await
        }
        Decision::File { status, file, refuses } => {
            account.status = *status;
            let cause = if *refuses { Cause::Proxy } else { Cause::Local };
            account.termination = Termination::new(cause, phase);
            let (say, after) = persistence(client, prepared, *status, false, rest);
            let mut out = client.worker.buffer();
            reply::from_file(&mut out, file, say);
            let after = if out.is_empty() && after == After::Keep { After::Close } else { after };
            send(client, prepared, account, out, (say, after)).await
        }
        Decision::Page(status) => {
            account.status = *status;
            account.termination = Termination::new(Cause::Local, phase);
            page(client, prepared, account, *status, rest).await
        }
        Decision::Monitor(status) => {
            account.status = *status;
            account.is_logged = false;
            account.termination = Termination::new(Cause::Local, phase);
            page(client, prepared, account, *status, rest).await
        }
        Decision::Deny(status) => {
            let fail = Fail::new(*status, Cause::Proxy, phase);
            fail_with(client, prepared, account, fail, rest).await
        }
        Decision::Failed => {
            let fail = Fail::new(500, Cause::Proxy, phase);
            fail_with(client, prepared, account, fail, rest).await
        }
        Decision::Pass | Decision::Reject(_) | Decision::TurnAway(_) | Decision::Tarpit(_) => {
            After::Close
        }
    }
}

/// Waits for as long as a tarpit holds, or until the client gives up.
async fn hold_back(client: &Client, prepared: &Prepared) {
    let of_frontend = client.frontend().settings.timeouts.tarpit;
    let of_backend = || prepared.backend.as_ref().and_then(|b| b.settings.timeouts.tarpit);
    let timeout = if prepared.by_backend { of_backend() } else { of_frontend };
    client.within(Some(timeout.unwrap_or_default()));
    poll_fn(|cx| {
        let is_over = client.session.check(cx).is_err() || client.poll_gone(cx);
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    client.session.resume();
}

/// Has the client hear as little as can be; the backend that it is at counts it, too.
pub(super) fn drop_silently(client: &mut Client, backend: Option<&HeldBackend>) {
    client.refused(Parting::Silent);
    if let Some(backend) = backend {
        client.worker.count(&backend.counters, Count::DeniedRequests, 1);
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
    rest: Rest,
) -> After {
    account.status = answer.status;
    let says_close = answer
        .fields
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("connection") && rewrite::says_close(value));
    let closes = says_close || answer.ends_bodies && !prepared.framing.is_empty();
    let (say, after) = persistence(client, prepared, answer.status, closes, rest);
    let mut out = client.worker.buffer();
    reply::answer(&mut out, answer, say);
    send(client, prepared, account, out, (say, after)).await
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
        // Who still sends would take a close for a RST.
        let sends = fail.termination == Termination::new(Cause::Server, Phase::Data);
        return if sends { After::Linger } else { After::Close };
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
    let made = |pages: &&ErrorPages| matches!(pages.0.get(&status), Some(ErrorPage::Reply(_)));
    if pages.iter().flatten().any(made) {
        let mut room = head::room::<MOST_FIELDS>();
        let ends = (client.session.client, client.local);
        let request = head::written(&prepared.out, &mut room, ends);
        let session = account.session(client, Some(prepared));
        let view = View {
            request: request.as_ref(),
            client: ends.0,
            local: ends.1,
            moment: Some(&session),
            edits: &account.variables,
            ..View::default()
        };
        reply::error(&mut out, status, pages, say, Some(&view));
    } else {
        reply::error(&mut out, status, pages, say, None);
    }
    let after = if out.is_empty() && after == After::Keep { After::Close } else { after };
    send(client, prepared, account, out, (say, after)).await
}

async fn send(
    client: &mut Client,
    prepared: &Prepared,
    account: &mut Account,
    mut out: Vec<u8>,
    (say, mut after): (Say, After),
) -> After {
    let of_backend = prepared.backend.as_ref().and_then(|b| b.settings.rules.as_deref());
    let rules = [of_backend, client.frontend().settings.rules.as_deref()];
    if rules.into_iter().flatten().any(Rules::has_last) && !out.is_empty() {
        let rewritten = rewritten(client, prepared, account, rules, (&out, say)).or_else(|| {
            // What a rule put into it is no field. Without these rules nothing is to go out.
            out.clear();
            reply::error(&mut out, 500, [None; 2], say, None);
            account.status = 500;
            rewritten(client, prepared, account, rules, (&out, say))
        });
        if let Some((new, status, closes)) = rewritten {
            account.status = status.unwrap_or(account.status);
            after = if closes && after == After::Keep { After::Close } else { after };
            client.worker.give_back(std::mem::replace(&mut out, new));
        }
    }
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

/// A response of our own after the rules for what goes to clients: the response, its status where they
/// have said one, and whether it says now that the connection ends with it.
fn rewritten(
    client: &Client,
    prepared: &Prepared,
    account: &mut Account,
    rules: [Option<&dyn Rules>; 2],
    (own, say): (&[u8], Say),
) -> Option<(Vec<u8>, Option<u16>, bool)> {
    let mut room = head::room::<MOST_FIELDS>();
    let head = head::response(own, &mut room, prepared.asked, client.session.client).ok()??;
    let view = Response { local: client.local, ..head.view };
    let mut edits = account.variables.clone();
    let session = account.session(client, Some(prepared));
    for rules in rules.into_iter().flatten() {
        rules.last(&view, &session, &mut edits);
    }
    let level = log_level(&edits);
    account.log_at(level);
    account.variables = edit::left(&edits, Scope::AFTER);
    let closes = rewrite::asks_to_close(&edits);
    let mut out = client.worker.buffer();
    let say = if closes { Say::Close } else { say };
    rewrite::response(&mut out, &head, say, false, Changes { edits: &edits, in_place: &[] });
    out.extend_from_slice(&own[head.len..]);
    let (status, reason) = status(head.view.status, &edits);
    Some((out, reason.map(|_| status), closes))
}
