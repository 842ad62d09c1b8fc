//! A slot on a server: which one, and the wait for it.

use super::lost::Lost;
use super::{Errand, Fail, count};
use crate::http::account::Account;
use crate::http::client::Client;
use crate::http::counters::Count;
use crate::http::event::{Cause, Phase};
use crate::http::live::{Backend, Server};
use crate::http::settings::Redispatch;
use crate::http::slot::{Slot, Ticket};
use std::future::poll_fn;
use std::task::Poll;

/// A slot on a server, waited for if need be; elsewhere where its server is not to be waited for any
/// more.
pub(super) async fn assign(
    client: &Client,
    errand: &Errand<'_>,
    fixed: Option<usize>,
    avoid: Option<usize>,
    account: &mut Account,
) -> Result<Slot, Fail> {
    let backend = errand.backend;
    let mut fixed = leave_full(client, errand, fixed, account)?;
    loop {
        let chosen = choose(client, errand, fixed, avoid, account)?;
        if let Some(slot) = chosen.and_then(|index| Slot::take(backend, index)) {
            account.unqueued();
            return Ok(slot);
        }
        if let Some(slot) = wait(client, errand, chosen, account).await? {
            return Ok(slot);
        }
        fixed = None;
        if let Some(index) = chosen {
            leave(client, errand, index, account);
            account.server = None;
        }
    }
}

/// The server that a request is to go to; none is any that has room first.
fn choose(
    client: &Client,
    errand: &Errand<'_>,
    fixed: Option<usize>,
    avoid: Option<usize>,
    account: &mut Account,
) -> Result<Option<usize>, Fail> {
    let backend = errand.backend;
    let nobody = Fail::new(503, Cause::Server, Phase::Connect);
    let last = client.last_server.filter(|_| avoid.is_none()).and_then(|(of, index)| {
        let server = backend.servers.get(index).filter(|_| of == backend.index)?;
        (server.usable() && !server.full(backend)).then_some(index)
    });
    let chosen = match fixed.or(last) {
        Some(index) => Some(index),
        None => match backend.settings.balance.pick(backend, errand.key, avoid) {
            Some(index) if overfull(backend, &backend.servers[index]) => {
                let other = backend.settings.balance.pick(backend, errand.key, Some(index));
                other.filter(|&other| !overfull(backend, &backend.servers[other]))
            }
            Some(index) => Some(index),
            None => {
                if !backend.servers.iter().any(|server| server.usable()) {
                    account.timers_none();
                    return Err(nobody);
                }
                None
            }
        },
    };
    if let Some(index) = chosen.filter(|_| fixed.is_none()) {
        count(client, backend, &backend.servers[index], Count::Selected);
    }
    Ok(chosen)
}

/// Waits for a slot, of that server or of any; none comes where that one is not to be waited for.
async fn wait(
    client: &Client,
    errand: &Errand<'_>,
    chosen: Option<usize>,
    account: &mut Account,
) -> Result<Option<Slot>, Fail> {
    let backend = errand.backend;
    let mut ticket = Ticket::draw(backend, chosen, account.choice.is_forced());
    match chosen {
        Some(_) => account.srv_queue = ticket.place,
        None => account.backend_queue = ticket.place,
    }
    let timeouts = &backend.settings.timeouts;
    client.within(timeouts.queue.or(timeouts.connect));
    let granted = {
        let mut wait = std::pin::pin!(ticket.granted());
        poll_fn(|cx| {
            if let Err(stop) = client.session.check(cx) {
                return Poll::Ready(Err(Lost::Stopped(stop)));
            }
            if let Some(lost) = errand.given_up(client, cx) {
                return Poll::Ready(Err(lost));
            }
            wait.as_mut().poll(cx).map(Ok)
        })
        .await
    };
    account.queued();
    if let (Err(_), Some(index)) = (&granted, chosen) {
        account.server = Some(backend.server(index).clone());
    }
    match granted {
        Ok(slot) => Ok(slot),
        Err(Lost::Stopped(stop)) => {
            client.session.resume();
            let late = Fail::new(503, Cause::ServerTimeout, Phase::Queue);
            Err(Fail::stopped(stop, Phase::Queue, late))
        }
        Err(lost) => Err(Fail::given_up(&lost, Phase::Queue)),
    }
}

/// A server that a cookie names may have a queue that is as long as it may be: then the request goes to
/// another one, if it may (`option redispatch`).
fn leave_full(
    client: &Client,
    errand: &Errand<'_>,
    fixed: Option<usize>,
    account: &mut Account,
) -> Result<Option<usize>, Fail> {
    let backend = errand.backend;
    let is_overfull = |at: &usize| overfull(backend, &backend.servers[*at]);
    let Some(index) = account.choice.server.filter(is_overfull) else {
        return Ok(fixed);
    };
    account.server = Some(backend.server(index).clone());
    if backend.settings.redispatch == Redispatch::Never || account.choice.is_forced() {
        return Err(Fail::new(503, Cause::Server, Phase::Queue));
    }
    leave(client, errand, index, account);
    Ok(None)
}

/// A request leaves its server for another one before it was there.
fn leave(client: &Client, errand: &Errand<'_>, index: usize, account: &mut Account) {
    account.choice.server = None;
    account.choice.moved();
    account.redispatched = true;
    count(client, errand.backend, &errand.backend.servers[index], Count::Redispatches);
}

/// Whether a server's queue is as long as it may be.
fn overfull(backend: &Backend, server: &Server) -> bool {
    let limit = server.settings.maxqueue;
    limit > 0 && server.full(backend) && server.queue.len() >= limit
}
