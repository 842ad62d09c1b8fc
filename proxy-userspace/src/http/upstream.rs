//! Getting a request to a server: a slot, a connection, retries and redispatch.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    os::fd::AsFd,
    sync::atomic::Ordering::Relaxed,
    task::Poll,
    time::{Duration, Instant},
};

use super::{
    account::Account,
    client::Client,
    closes::{Class, Doing, Upstream as Named},
    counters::Count,
    event::{Cause, Phase, Termination},
    held::{HeldBackend, HeldServer},
    live::{Backend, Server},
    pool::Idle,
    pump::{Body, Pump},
    queue::{Slot, Ticket},
    session::Stop,
    settings::{Redispatch, Reuse},
    sock::Sock,
};

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

    /// The session was stopped while it waited; `late` is said if it was for too long.
    pub(crate) fn stopped(stop: Stop, phase: Phase, late: Self) -> Self {
        match stop {
            Stop::Timeout => late,
            Stop::Killed | Stop::Forced => Self::new(503, Cause::Killed, phase),
            Stop::Down => Self::new(503, Cause::Down, phase),
        }
    }
}

/// What is to be sent, and how.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    pub(crate) backend: &'a HeldBackend,
    pub(crate) key: u64,
    /// The head, or nothing in `mode tcp`.
    pub(crate) head: &'a [u8],
    /// What is left to be sent after it.
    pub(crate) body: Body,
    /// Bytes of the client's input that are the beginning of the body.
    pub(crate) prefix: usize,
    /// Whether a pooled connection may be taken.
    pub(crate) reuse: bool,
    pub(crate) class: Class,
}

/// Sends a request to a server.
pub(crate) async fn reach(
    client: &mut Client,
    errand: Errand<'_>,
    account: &mut Account,
) -> Result<Upstream, Fail> {
    let settings = &errand.backend.settings;
    let (mut attempt, mut fixed, mut avoid) = (0, None, None);
    loop {
        let slot = assign(client, &errand, fixed, avoid, account).await?;
        let server = slot.server().clone();
        if account.server.as_ref().is_some_and(|before| !before.is(&server)) {
            account.redispatched = true;
            client.worker.count(&errand.backend.counters, Count::Redispatches, 1);
            client.worker.count(&server.counters, Count::Redispatches, 1);
        }
        account.server = Some(server.clone());
        client.session.place(&slot.backend, &server);
        client.last_server = settings.prefer_last.then_some((errand.backend.index, server.index));
        if errand.reuse
            && attempt == 0
            && let Some((conn, sent)) = pooled(client, &errand, &server)
        {
            client.worker.count(&server.counters, Count::Reused, 1);
            return Ok(finish(client, errand, account, slot, conn, sent, true));
        }
        let late = match connect(client, &errand, &slot).await {
            Ok((conn, sent)) => {
                client.worker.count(&server.counters, Count::Opened, 1);
                return Ok(finish(client, errand, account, slot, conn, sent, false));
            }
            Err(Lost::Stopped(stop)) => {
                let cause = Fail::new(503, Cause::Client, Phase::Connect);
                return Err(Fail::stopped(stop, Phase::Connect, cause));
            }
            Err(Lost::Gone) => return Err(Fail::new(503, Cause::Client, Phase::Connect)),
            Err(Lost::Resources) => return Err(Fail::new(503, Cause::Resource, Phase::Connect)),
            Err(Lost::Refused) => false,
            Err(Lost::Late) => true,
        };
        drop(slot);
        if attempt == settings.retries {
            for counters in [&errand.backend.counters, &server.counters] {
                client.worker.count(counters, Count::ConnectErrors, 1);
            }
            let cause = if late { Cause::ServerTimeout } else { Cause::Server };
            return Err(Fail::new(503, cause, Phase::Connect));
        }
        attempt += 1;
        account.retries = attempt;
        client.worker.count(&errand.backend.counters, Count::Retries, 1);
        client.worker.count(&server.counters, Count::Retries, 1);
        if redispatches(errand.backend, &server, attempt) {
            (fixed, avoid) = (None, Some(server.index));
        } else {
            fixed = Some(server.index);
            if !late {
                let pause = settings.timeouts.connect.unwrap_or(PAUSE).min(PAUSE);
                rest(client, pause).await?;
            }
        }
    }
}

/// Between two attempts at the same server, as HAProxy does.
const PAUSE: Duration = Duration::from_secs(1);

fn finish(
    client: &mut Client,
    errand: Errand<'_>,
    account: &mut Account,
    slot: Slot,
    mut conn: Idle,
    sent: usize,
    reused: bool,
) -> Upstream {
    conn.doing.requests += 1;
    if reused {
        account.reused();
    } else {
        account.connected();
    }
    let mut request = Pump::new(errand.body, false);
    let prefix = &client.input[..errand.prefix];
    request.keep(&client.worker, &[errand.head, prefix], sent);
    request.taken = prefix.len() as u64;
    client.input.drain(..errand.prefix);
    client.worker.count(&slot.server().counters, Count::Sessions, 1);
    client.worker.count(&slot.server().counters, Count::Selected, 1);
    Upstream { conn, slot, reused, request }
}

/// Whether the next attempt may go to another server.
fn redispatches(backend: &Backend, server: &Server, attempt: u32) -> bool {
    let retries = backend.settings.retries;
    let by_rule = match backend.settings.redispatch {
        Redispatch::Never => return false,
        Redispatch::Last => attempt == retries,
        Redispatch::Every(n) => attempt.is_multiple_of(n.max(1)),
        Redispatch::BeforeLast(n) => attempt + n == retries + 1,
    };
    let others = backend.servers.iter().filter(|server| server.usable()).count() > 1;
    by_rule || !server.usable() || (others && backend.settings.balance.is_free())
}

/// A slot on a server, waited for if need be.
async fn assign(
    client: &Client,
    errand: &Errand<'_>,
    fixed: Option<usize>,
    avoid: Option<usize>,
    account: &mut Account,
) -> Result<Slot, Fail> {
    let backend = errand.backend;
    let nobody = Fail::new(503, Cause::Server, Phase::Connect);
    let pick = || backend.settings.balance.pick(backend, errand.key, avoid);
    let last = client.last_server.filter(|_| avoid.is_none()).and_then(|(of, index)| {
        let server = backend.servers.get(index).filter(|_| of == backend.index)?;
        (server.usable() && !server.full()).then_some(index)
    });
    let chosen = match fixed {
        Some(index) => Some(index),
        None => match pick() {
            _ if last.is_some() => last,
            Some(index) if overfull(&backend.servers[index]) => {
                let other = backend.settings.balance.pick(backend, errand.key, Some(index));
                other.filter(|&other| !overfull(&backend.servers[other]))
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
    if let Some(slot) = chosen.and_then(|index| Slot::take(backend, index)) {
        account.unqueued();
        return Ok(slot);
    }
    let mut ticket = Ticket::draw(backend, chosen);
    match chosen {
        Some(_) => account.srv_queue = ticket.before,
        None => account.backend_queue = ticket.before,
    }
    let timeouts = &backend.settings.timeouts;
    client.within(timeouts.queue.or(timeouts.connect));
    let granted = {
        let mut wait = std::pin::pin!(ticket.granted());
        poll_fn(|cx| {
            if let Err(stop) = client.session.check(cx) {
                return Poll::Ready(Err(Lost::Stopped(stop)));
            }
            if backend.settings.abortonclose && client.poll_gone(cx) {
                return Poll::Ready(Err(Lost::Gone));
            }
            wait.as_mut().poll(cx).map(Ok)
        })
        .await
    };
    account.queued();
    match granted {
        Ok(Some(slot)) => Ok(slot),
        Ok(None) => Err(nobody),
        Err(Lost::Stopped(stop)) => {
            client.session.resume();
            let late = Fail::new(503, Cause::ServerTimeout, Phase::Queue);
            Err(Fail::stopped(stop, Phase::Queue, late))
        }
        Err(_) => Err(Fail::new(503, Cause::Client, Phase::Queue)),
    }
}

/// Whether a server's queue is as long as it may be.
fn overfull(server: &Server) -> bool {
    let limit = server.settings.maxqueue;
    limit > 0 && server.full() && server.queue.len() >= limit
}

/// Sends the request on an idle connection, if there is one that takes it.
fn pooled(client: &mut Client, errand: &Errand<'_>, server: &HeldServer) -> Option<(Idle, usize)> {
    let mut dead = Vec::new();
    let first = client.requests <= 1;
    let own = client
        .own
        .take()
        .filter(|own| own.server.is(server) && !own.sock.stirred() && own.moves == server.moves());
    let found = own.or_else(|| {
        let (takes, proven) = match errand.backend.settings.reuse {
            Reuse::Never => (false, false),
            Reuse::Safe => (!first, false),
            Reuse::Aggressive => (true, first),
            Reuse::Always => (true, false),
        };
        let pool = &client.worker.pool;
        takes.then(|| pool.take(errand.backend, server, proven, &mut dead)).flatten()
    });
    let taken = found.and_then(|idle| {
        let slices = [IoSlice::new(errand.head), IoSlice::new(&client.input[..errand.prefix])];
        match idle.sock.try_send(&slices) {
            Ok(sent) => Some((idle, sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some((idle, 0)),
            Err(_) => {
                dead.push(idle);
                None
            }
        }
    });
    for idle in dead {
        client.worker.close_idle(idle, None);
    }
    taken
}

/// Why there is no connection.
enum Lost {
    Refused,
    Late,
    Stopped(Stop),
    /// The client gave up.
    Gone,
    /// No descriptor, no port, no memory.
    Resources,
}

impl Lost {
    /// What that would be in the log, were it the last attempt.
    const fn termination(&self) -> Termination {
        let cause = match self {
            Self::Refused => Cause::Server,
            Self::Late => Cause::ServerTimeout,
            Self::Stopped(Stop::Killed | Stop::Forced) => Cause::Killed,
            Self::Stopped(Stop::Down) => Cause::Down,
            Self::Stopped(Stop::Timeout) | Self::Gone => Cause::Client,
            Self::Resources => Cause::Resource,
        };
        Termination::new(cause, Phase::Connect)
    }
}

/// Opens a connection and sends the request on it. The first write is tried at once: often the
/// connection is established by then, and nothing has to be waited for.
async fn connect(client: &Client, errand: &Errand<'_>, slot: &Slot) -> Result<(Idle, usize), Lost> {
    let server = slot.server();
    let moves = server.moves();
    let named = Named { backend: &slot.backend, server };
    let closes = &client.worker.outside.closes;
    let address = server.address();
    let of_server = &server.settings;
    let sock = Sock::open(&address, of_server.source, of_server.keepalive).map_err(lost)?;
    let cookie = closes.opened(sock.as_fd(), named, errand.class);
    let established = match sock.connect(&address) {
        Ok(()) => establish(client, errand, &sock).await,
        Err(error) => Err(lost(error)),
    };
    let sent = match established {
        Ok(sent) => sent,
        Err(lost) => {
            let doing = Doing { termination: lost.termination(), ..client.doing() };
            let class = if errand.class == Class::Tunnel { Class::Tunnel } else { Class::Active };
            closes.stated((sock.as_fd(), cookie), Some(named), class, false, &doing);
            return Err(lost);
        }
    };
    let (backend, server) = (slot.backend.clone(), server.clone());
    let (since, doing) = (Instant::now(), client.doing());
    Ok((Idle { sock, backend, server, moves, since, proven: false, cookie, doing }, sent))
}

/// Waits until a connection stands; how many bytes of the request are sent by then.
async fn establish(client: &Client, errand: &Errand<'_>, sock: &Sock) -> Result<usize, Lost> {
    let slices = [IoSlice::new(errand.head), IoSlice::new(&client.input[..errand.prefix])];
    // In `mode tcp` there may be nothing to send yet, which would not tell whether it stands.
    let nothing = errand.head.is_empty() && errand.prefix == 0;
    let sent = if nothing { Err(io::ErrorKind::WouldBlock.into()) } else { sock.try_send(&slices) };
    let sent = match sent {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            client.within(errand.backend.settings.timeouts.connect);
            poll_fn(|cx| {
                match client.session.check(cx) {
                    Err(Stop::Timeout) => {
                        client.session.resume();
                        return Poll::Ready(Err(Lost::Late));
                    }
                    Err(stop) => return Poll::Ready(Err(Lost::Stopped(stop))),
                    Ok(()) => {}
                }
                if errand.backend.settings.abortonclose && client.poll_gone(cx) {
                    return Poll::Ready(Err(Lost::Gone));
                }
                sock.poll_writable(cx, false).map_err(lost).map(|ready| {
                    ready?;
                    sock.error().map_err(lost)
                })
            })
            .await?;
            if nothing { Ok(0) } else { sock.try_send(&slices) }
        }
        result => result,
    };
    match sent {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result.map_err(lost),
    }
}

fn lost(error: io::Error) -> Lost {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::TIMEDOUT) => Lost::Late,
        Some(
            rustix::io::Errno::MFILE
            | rustix::io::Errno::NFILE
            | rustix::io::Errno::NOBUFS
            | rustix::io::Errno::NOMEM
            | rustix::io::Errno::ADDRNOTAVAIL,
        ) => Lost::Resources,
        _ => Lost::Refused,
    }
}

/// Does nothing for a while.
async fn rest(client: &Client, time: Duration) -> Result<(), Fail> {
    client.within(Some(time));
    let stop = poll_fn(|cx| match client.session.check(cx) {
        Ok(()) => Poll::Pending,
        Err(stop) => Poll::Ready(stop),
    });
    match stop.await {
        Stop::Timeout => {
            client.session.resume();
            Ok(())
        }
        stop => {
            let late = Fail::new(503, Cause::Server, Phase::Connect);
            Err(Fail::stopped(stop, Phase::Connect, late))
        }
    }
}

/// Seconds since the proxies began, for the time of the last session.
pub(crate) fn note_session(client: &Client, server: &Server, now: Instant) {
    let seconds = now.duration_since(client.proxies.since).as_secs() + 1;
    // A store would take the line from the other workers, a look does not.
    if server.last_session.load(Relaxed) != seconds {
        server.last_session.store(seconds, Relaxed);
    }
}
