//! Bytes both ways: `mode tcp`, CONNECT, Upgrade, `option http-tunnel`.

use std::{future::poll_fn, task::Poll, time::Duration};

use super::{
    account::Account,
    client::Client,
    event::{Cause, Phase, Termination},
    pool::Idle,
    pump::{Body, Broken, Pump, Waits},
    session::Stop,
    sock::Sock,
};

/// The two directions, with what is still to be written of before.
pub(crate) struct Ways {
    pub(crate) request: Pump,
    pub(crate) response: Pump,
    /// Received from the server already.
    pub(crate) rest: Vec<u8>,
}

/// Passes bytes until both have closed, one has failed, or nothing happened for too long.
pub(crate) async fn run(client: &mut Client, conn: &Idle, ways: Ways, account: &mut Account) {
    let Ways { request, response, mut rest } = ways;
    let mut up = request.carry_on(Body::Close, false);
    let mut down = response.carry_on(Body::Close, false);
    // Who has closed, and was said to have to the other.
    let (mut client_over, mut server_over) = (false, false);
    let (mut mark, mut late) = (None, None);
    let mut input = std::mem::take(&mut client.input);
    let (client_sock, server_sock) = (&client.sock, &conn.sock);
    let worker = &client.worker;
    let result = poll_fn(|cx| {
        if let Err(stop) = client.session.check(cx) {
            let both_open = !client_over && !server_over && up.waits == Waits::Source;
            if stop == Stop::Timeout
                && both_open
                && let Some(rest) = after_the_client(client, conn)
            {
                // As HAProxy: a client that is silent for too long counts as one that closed.
                client.session.resume();
                late = Some(Termination::new(Cause::ClientTimeout, Phase::Data));
                let told = finish(Poll::Ready(Ok(())), &mut client_over, server_sock);
                if let Err(broken) = told {
                    return Poll::Ready(Err(end(&broken, true)));
                }
                mark = Some((up.taken, up.moved, down.taken, down.moved, true, false));
                client.within(rest);
                // The new deadline is nobody's yet who could wake this task.
                let _ = client.session.check(cx);
                return Poll::Pending;
            }
            // Of two who are silent for too long, HAProxy looks at the client first.
            let theirs = &conn.backend.settings.timeouts;
            let as_long = client.frontend().settings.timeouts.client == theirs.server;
            let both_silent = both_open && (as_long || theirs.tunnel.is_some());
            let waits_for_server = up.waits == Waits::Sink || down.waits == Waits::Source;
            let server = !both_silent && !server_over && (client_over || waits_for_server);
            return Poll::Ready(Err(stopped(stop, server)));
        }
        let sent = step(client_over, || up.poll(cx, worker, client_sock, &mut input, server_sock));
        if let Err(broken) = finish(sent, &mut client_over, server_sock) {
            return Poll::Ready(Err(end(&broken, true)));
        }
        let got = step(server_over, || down.poll(cx, worker, server_sock, &mut rest, client_sock));
        if let Err(broken) = finish(got, &mut server_over, client_sock) {
            return Poll::Ready(Err(end(&broken, false)));
        }
        if client_over && server_over {
            return Poll::Ready(Ok(()));
        }
        let now = (up.taken, up.moved, down.taken, down.moved, client_over, server_over);
        if mark.replace(now) != Some(now) {
            client.within(patience(client, conn, client_over, server_over));
        }
        Poll::Pending
    })
    .await;
    account.bytes_in += up.taken;
    account.bytes_out += down.moved;
    if let Some(termination) = late.or(result.err()) {
        account.termination = termination;
    }
    up.recycle(worker);
    down.recycle(worker);
}

fn step(over: bool, poll: impl FnOnce() -> Poll<Result<(), Broken>>) -> Poll<Result<(), Broken>> {
    if over { Poll::Pending } else { poll() }
}

/// A direction that is over is closed towards its sink.
fn finish(moved: Poll<Result<(), Broken>>, over: &mut bool, sink: &Sock) -> Result<(), Broken> {
    match moved {
        Poll::Pending => Ok(()),
        Poll::Ready(Ok(())) => {
            *over = true;
            sink.shutdown().map_err(Broken::Write)
        }
        Poll::Ready(Err(broken)) => Err(broken),
    }
}

/// How long both sides may be silent.
pub(super) fn patience(
    client: &Client,
    conn: &Idle,
    client_over: bool,
    server_over: bool,
) -> Option<Duration> {
    let ours = &client.frontend().settings.timeouts;
    let theirs = &conn.backend.settings.timeouts;
    if client_over {
        // The server is half closed by us.
        return theirs.server_fin.or(theirs.server).or(theirs.tunnel);
    }
    if server_over {
        return ours.client_fin.or(ours.client).or(theirs.tunnel);
    }
    theirs.tunnel.or(least(ours.client, theirs.server))
}

/// The shorter of two times; none is for ever.
pub(super) fn least(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

/// How long the server may be silent yet when the client has been so for too long; none where the
/// server has no time left either.
fn after_the_client(client: &Client, conn: &Idle) -> Option<Option<Duration>> {
    let ours = &client.frontend().settings.timeouts;
    let theirs = &conn.backend.settings.timeouts;
    if theirs.tunnel.is_some() {
        return None;
    }
    let silent = ours.client?;
    match (theirs.server_fin, theirs.server) {
        (_, Some(server)) if server <= silent => None,
        (Some(fin), _) => Some(Some(fin)),
        (None, server) => Some(server.map(|server| server - silent)),
    }
}

/// As it is logged that a session was ended.
pub(super) fn stopped(stop: Stop, server: bool) -> Termination {
    let cause = match stop {
        Stop::Timeout if server => Cause::ServerTimeout,
        Stop::Timeout => Cause::ClientTimeout,
        Stop::Shut(cause) => cause,
        Stop::Forced => Cause::Killed,
    };
    Termination::new(cause, Phase::Data)
}

/// As it is logged that a direction has failed.
pub(super) fn end(broken: &Broken, from_client: bool) -> Termination {
    let client = match broken {
        Broken::Read(_) | Broken::Cut | Broken::Refused(_) => from_client,
        Broken::Write(_) => !from_client,
    };
    Termination::new(if client { Cause::Client } else { Cause::Server }, Phase::Data)
}
