//! Getting a request to a server: a slot, a connection, retries and redispatch.

mod assign;
mod connect;
mod lost;

use std::{
    future::poll_fn,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    account::Account,
    client::Client,
    closes::Class,
    cookie::Choice,
    counters::Count,
    event::{Cause, Phase, Termination},
    held::HeldBackend,
    live::{Backend, Server, Sign},
    pool::Idle,
    pump::{Body, Pump},
    session::Stop,
    settings::Redispatch,
    slot::Slot,
    sock,
};
use assign::assign;
use connect::{connect, line, pooled};
use lost::Lost;

/// A request that was sent, its body perhaps not yet.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) conn: Idle,
    pub(crate) slot: Slot,
    /// The connection served other requests before.
    pub(crate) reused: bool,
    /// What is left of the request.
    pub(crate) request: Pump,
}

/// Why a request gets no response of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fail {
    /// The error page, 0 for none: the client is gone, or is to find out for itself.
    pub(crate) status: u16,
    pub(crate) termination: Termination,
}

impl Fail {
    pub(crate) const fn new(status: u16, cause: Cause, phase: Phase) -> Self {
        Self { status, termination: Termination::new(cause, phase) }
    }

    /// The client gave up: nobody waits for an answer.
    const fn given_up(lost: &Lost, phase: Phase) -> Self {
        Self { status: 0, termination: lost.termination(phase) }
    }

    /// The session was stopped while it waited; `late` is said if it was for too long.
    pub(crate) fn stopped(stop: Stop, phase: Phase, late: Self) -> Self {
        match stop {
            Stop::Timeout => late,
            // The server had its request: what is missing is its response.
            Stop::Shut(cause) if phase == Phase::Headers => Self::new(502, cause, phase),
            Stop::Shut(cause) => Self::new(503, cause, phase),
            // Nobody waits any more until an answer is sent.
            Stop::Forced => Self::new(0, Cause::Killed, phase),
        }
    }
}

/// What is to be sent, and how.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    pub(crate) backend: &'a HeldBackend,
    /// What the server is chosen by (`balance`).
    pub(crate) key: u64,
    /// The head, or nothing in `mode tcp`.
    pub(crate) head: &'a [u8],
    /// What is left to be sent after it.
    pub(crate) body: Body,
    /// Bytes of the client's input that are the beginning of the body.
    pub(crate) prefix: usize,
    /// Whether a pooled connection may be taken.
    pub(crate) reuse: bool,
    /// The account's server had it, and it is sent again all the same (`retry-on`).
    pub(crate) again: bool,
    pub(crate) class: Class,
}

impl Errand<'_> {
    /// Whether there is nothing to send yet, as may be in `mode tcp`.
    fn is_silent(&self) -> bool {
        self.head.is_empty() && self.prefix == 0
    }

    /// How the client gave its request up, which is not to be sent any more: it is gone, and there is
    /// `option abortonclose`, or nothing to send.
    fn given_up(&self, client: &Client, cx: &mut Context<'_>) -> Option<Lost> {
        let (aborts, is_silent) = (self.backend.settings.abortonclose, self.is_silent());
        if !(aborts || is_silent) || !client.poll_gone(cx) {
            return None;
        }
        match client.sock.end() {
            Some(Err(_)) if is_silent => Some(Lost::Reset),
            end => (aborts || end.is_some()).then_some(Lost::Gone),
        }
    }
}

/// Sends a request to a server.
pub(crate) async fn reach(
    client: &mut Client,
    errand: Errand<'_>,
    account: &mut Account,
) -> Result<Upstream, Fail> {
    let settings = &errand.backend.settings;
    let (mut attempt, mut fixed, mut avoid) = (0, account.choice.server, None);
    if let Some(server) = account.server.clone().filter(|_| errand.again) {
        attempt = account.retries + 1;
        (fixed, avoid) = further(errand.backend, &server, attempt, account);
    }
    loop {
        let slot = assign(client, &errand, fixed, avoid, account).await?;
        let server = slot.server().clone();
        let before = account.server.replace(server.clone());
        let elsewhere = before.as_ref().is_none_or(|before| !before.is(&server));
        if let Some(before) = before.filter(|_| attempt > 0) {
            account.redispatched |= elsewhere;
            if elsewhere {
                account.choice.moved();
            }
            let what = if elsewhere { Count::Redispatches } else { Count::Retries };
            count(client, errand.backend, &before, what);
        }
        client.worker.count(&server.counters, Count::Sessions, 1);
        client.session.place(&slot.backend, &server);
        // What is hashed stays with the server of its hash.
        let stays = settings.prefer_last && settings.balance.is_free();
        client.last_server = stays.then_some((errand.backend.index, server.index));
        let line = line(client, &server);
        if errand.reuse
            && elsewhere
            && let Some((conn, sent)) = pooled(client, &errand, &server, &line)
        {
            count(client, errand.backend, &server, Count::Reused);
            server.note(Sign::Connected);
            return Ok(finish(client, errand, account, slot, conn, (b"", sent), true));
        }
        count(client, errand.backend, &server, Count::Opened);
        let late = match open(client, &errand, &slot, &line).await {
            Ok((conn, sent)) => {
                server.note(Sign::Connected);
                return Ok(finish(client, errand, account, slot, conn, (&line, sent), false));
            }
            Err(lost) => is_late(lost)?,
        };
        drop(slot);
        server.note(Sign::Unconnected);
        if attempt >= settings.retries || !settings.retry_on.connect {
            let cause = if late { Cause::ServerTimeout } else { Cause::Server };
            return Err(Fail::new(503, cause, Phase::Connect));
        }
        attempt += 1;
        (fixed, avoid) = further(errand.backend, &server, attempt, account);
        let moves = avoid.is_some();
        // A redispatch without another server comes back to the same one.
        let stays = !moves || !has_other(errand.backend, &server);
        if stays && !late {
            let pause = settings.timeouts.connect.unwrap_or(PAUSE).min(PAUSE);
            rest(client, &errand, pause).await?;
        }
    }
}

/// The server that the next attempt goes to, or the one to avoid; `attempt` is its number.
fn further(
    backend: &Backend,
    server: &Server,
    attempt: u32,
    account: &mut Account,
) -> (Option<usize>, Option<usize>) {
    account.retries = attempt;
    if redispatches(backend, server, attempt, account.choice) {
        account.choice.server = None;
        (None, Some(server.index))
    } else {
        (Some(server.index), None)
    }
}

/// Opens a connection, if need be at the expense of idle ones.
async fn open(
    client: &mut Client,
    errand: &Errand<'_>,
    slot: &Slot,
    line: &[u8],
) -> Result<(Idle, usize), Lost> {
    loop {
        match connect(client, errand, slot, line).await {
            Err(Lost::Resources) if client.worker.close_all_idle() => {}
            connected => return connected,
        }
    }
}

/// Whether a server was too late, where another attempt may do better; an error where none can.
fn is_late(lost: Lost) -> Result<bool, Fail> {
    match lost {
        Lost::Refused => Ok(false),
        Lost::Late => Ok(true),
        Lost::Resources => Err(Fail::new(503, Cause::Resource, Phase::Connect)),
        Lost::Gone | Lost::Reset => Err(Fail::given_up(&lost, Phase::Connect)),
        Lost::Stopped(stop) => {
            let late = Fail::new(503, Cause::Client, Phase::Connect);
            Err(Fail::stopped(stop, Phase::Connect, late))
        }
    }
}

/// Between two attempts at the same server, as HAProxy does.
const PAUSE: Duration = Duration::from_secs(1);

/// What was sent is the number of bytes that of `line` and then of the errand have gone out.
fn finish(
    client: &mut Client,
    errand: Errand<'_>,
    account: &mut Account,
    slot: Slot,
    mut conn: Idle,
    (line, sent): (&[u8], usize),
    reused: bool,
) -> Upstream {
    conn.doing.requests += 1;
    if client.frontend().settings.logs_source {
        account.source = sock::local(&conn.sock);
    }
    if reused {
        account.reused();
    } else {
        account.connected();
    }
    let mut request = Pump::new(errand.body, false);
    let prefix = &client.input[..errand.prefix];
    request.keep(&client.worker, &[line, errand.head, prefix], sent);
    request.taken = prefix.len() as u64;
    client.input.drain(..errand.prefix);
    Upstream { conn, slot, reused, request }
}

/// Counts something of a server, which is its backend's too.
fn count(client: &Client, backend: &Backend, server: &Server, what: Count) {
    for counters in [&backend.counters, &server.counters] {
        client.worker.count(counters, what, 1);
    }
}

/// Whether the next attempt may go to another server.
fn redispatches(backend: &Backend, server: &Server, attempt: u32, choice: Choice) -> bool {
    let retries = backend.settings.retries;
    let by_rule = match backend.settings.redispatch {
        _ if choice.is_forced() => return false,
        Redispatch::Never => return false,
        Redispatch::Last => attempt == retries,
        Redispatch::Every(n) => attempt.is_multiple_of(n.max(1)),
        Redispatch::BeforeLast(n) => attempt + n == retries + 1,
    };
    by_rule
        || !server.is_running()
        || (choice.server.is_none()
            && has_other(backend, server)
            && backend.settings.balance.is_free())
}

/// Whether there is another server than this one that takes requests.
fn has_other(backend: &Backend, server: &Server) -> bool {
    backend.servers.iter().any(|other| other.index != server.index && other.usable())
}

/// Does nothing for a while, unless the client gives up.
async fn rest(client: &Client, errand: &Errand<'_>, time: Duration) -> Result<(), Fail> {
    client.within(Some(time));
    let stop = poll_fn(|cx| match client.session.check(cx) {
        Ok(()) => errand.given_up(client, cx).map_or(Poll::Pending, |lost| Poll::Ready(Err(lost))),
        Err(stop) => Poll::Ready(Ok(stop)),
    });
    match stop.await {
        Err(lost) => Err(Fail::given_up(&lost, Phase::Connect)),
        Ok(Stop::Timeout) => {
            client.session.resume();
            Ok(())
        }
        Ok(stop) => {
            let late = Fail::new(503, Cause::Server, Phase::Connect);
            Err(Fail::stopped(stop, Phase::Connect, late))
        }
    }
}

/// A session with a server begins: keeps when, in seconds since the proxies began.
pub(crate) fn note_session(client: &Client, server: &Server, now: Instant) {
    let seconds = now.duration_since(client.proxies.since).as_secs() + 1;
    // A store would take the line from the other workers, a look does not.
    if server.last_session.load(Relaxed) != seconds {
        server.last_session.store(seconds, Relaxed);
    }
}
