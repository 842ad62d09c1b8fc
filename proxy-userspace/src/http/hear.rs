//! Rules on what a server sends in `mode tcp`: `tcp-response content`, and waiting for what they need.

use std::{future::poll_fn, rc::Rc, task::Poll, time::Instant};

use super::{
    account::Account,
    client::Client,
    counters::Count,
    event::{Cause, Phase, Termination},
    inspect::judge,
    pool::Idle,
    rules::{Inspection, Verdict},
    sample::View,
    session::Stop,
    tunnel::{self, Ways, least},
};

/// Why the two sides are not let talk on.
enum Heard {
    /// Rules want both sides closed.
    Refused,
    /// Rules want the server's side ended.
    Ended,
    /// One side is gone, or was silent for too long.
    Lost(Termination),
    /// Somebody has shut it down.
    Stopped(Termination),
}

/// What of a server's output is still to come.
enum Output {
    Open,
    /// It has sent its FIN.
    Closed,
    Lost(Termination),
}

/// Follows the rules, and waits for what they need for as long as they may; whether the two sides may
/// talk on. What was read of the server is in `ways` then.
pub(super) async fn hear(
    client: &mut Client,
    conn: &Idle,
    hearing: &Inspection,
    ways: &mut Ways,
    account: &mut Account,
) -> bool {
    let Err(heard) = listen(client, conn, hearing, ways, account).await else { return true };
    account.bytes_in += ways.request.taken;
    let termination = match heard {
        Heard::Refused => {
            let all = [&client.frontend().counters, &conn.backend.counters, &conn.server.counters];
            for counters in all {
                client.worker.count(counters, Count::DeniedResponses, 1);
            }
            Termination::new(Cause::Proxy, Phase::Data)
        }
        Heard::Stopped(termination) => termination,
        Heard::Ended | Heard::Lost(_) => {
            client.session.resume();
            client.within(client.frontend().settings.timeouts.client);
            if client.send(&ways.rest).await.is_ok() {
                account.bytes_out += ways.rest.len() as u64;
            }
            match heard {
                Heard::Lost(termination) => termination,
                _ => Termination::NORMAL,
            }
        }
    };
    account.termination = termination;
    // As with HAProxy.
    if matches!(heard, Heard::Ended) {
        conn.sock.reset_on_close();
    } else {
        // It may be gone already.
        let _ = conn.sock.shutdown();
    }
    ways.request.recycle(&client.worker);
    // What the client has sent and nobody reads would make its FIN a RST.
    client.forget_input();
    false
}

async fn listen(
    client: &mut Client,
    conn: &Idle,
    hearing: &Inspection,
    ways: &mut Ways,
    account: &mut Account,
) -> Result<(), Heard> {
    let due = hearing.delay.map(|delay| Instant::now() + delay);
    let most = client.proxies.global.head_limit();
    let mut client_over = false;
    let mut output = Output::Open;
    loop {
        let is_over = due.is_none_or(|due| due <= Instant::now());
        let is_partial = matches!(output, Output::Open) && ways.rest.len() < most && !is_over;
        let sent = View { answered: Some(&ways.rest), is_partial, ..View::default() };
        match judge(client, hearing, sent, account) {
            Verdict::Refused(_) => return Err(Heard::Refused),
            Verdict::Ended => return Err(Heard::Ended),
            Verdict::Accepted { .. } => break,
            Verdict::Open => {}
        }
        output = more(client, conn, ways, due, &mut client_over).await?;
    }
    match output {
        Output::Lost(termination) => Err(Heard::Lost(termination)),
        Output::Open | Output::Closed => Ok(()),
    }
}

/// Waits until the server has sent more, one side has been silent for too long, or it is `due`. What the
/// client sends goes on meanwhile.
async fn more(
    client: &mut Client,
    conn: &Idle,
    ways: &mut Ways,
    due: Option<Instant>,
    client_over: &mut bool,
) -> Result<Output, Heard> {
    let worker = Rc::clone(&client.worker);
    let mut input = std::mem::take(&mut client.input);
    let mut mark = None;
    let waited = poll_fn(|cx| {
        if let Err(stop) = client.session.check(cx) {
            return Poll::Ready(Err(stop));
        }
        let (from, to) = (&client.sock, &conn.sock);
        if !*client_over {
            match ways.request.poll(cx, &worker, from, &mut input, to) {
                Poll::Ready(Ok(())) => {
                    *client_over = true;
                    // Whether it is gone shows when it is read.
                    let _ = to.shutdown();
                }
                Poll::Ready(Err(broken)) => {
                    return Poll::Ready(Ok(Output::Lost(tunnel::end(&broken, true))));
                }
                Poll::Pending => {}
            }
        }
        let mut scratch = worker.scratch.borrow_mut();
        match to.poll_recv(cx, &mut scratch) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Output::Closed)),
            Poll::Ready(Ok(count)) => {
                ways.rest.extend_from_slice(&scratch[..count]);
                return Poll::Ready(Ok(Output::Open));
            }
            Poll::Ready(Err(_)) => {
                let lost = Termination::new(Cause::Server, Phase::Data);
                return Poll::Ready(Ok(Output::Lost(lost)));
            }
            Poll::Pending => {}
        }
        let now = (ways.request.taken, ways.request.moved, *client_over);
        if mark.replace(now) != Some(now) {
            let silent = tunnel::patience(client, conn, *client_over, false);
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            client.within(least(silent, left));
            // The new deadline is nobody's yet who could wake this task.
            let _ = client.session.check(cx);
        }
        Poll::Pending
    })
    .await;
    client.input = input;
    match waited {
        Ok(output) => Ok(output),
        Err(Stop::Timeout) => {
            client.session.resume();
            if due.is_some_and(|due| due <= Instant::now()) {
                return Ok(Output::Open);
            }
            let theirs = conn.backend.settings.timeouts.server;
            let ours = client.frontend().settings.timeouts.client;
            let is_server = *client_over || least(ours, theirs) == theirs && ours != theirs;
            Ok(Output::Lost(tunnel::stopped(Stop::Timeout, is_server)))
        }
        Err(stop) => Err(Heard::Stopped(tunnel::stopped(stop, true))),
    }
}
