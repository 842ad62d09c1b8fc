//! A connection to a server, new or from the pool, with the request on it.

use super::Errand;
use super::lost::{Lost, lost};
use crate::http::client::Client;
use crate::http::closes::{Class, Doing, Upstream as Named};
use crate::http::event::Phase;
use crate::http::held::HeldServer;
use crate::http::live::Server;
use crate::http::pool::Idle;
use crate::http::proxy_line;
use crate::http::session::Stop;
use crate::http::settings::Reuse;
use crate::http::slot::Slot;
use crate::http::sock::Sock;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::task::Poll;
use std::time::Instant;

/// Sends the request on an idle connection, if there is one that takes it.
pub(super) fn pooled(
    client: &mut Client,
    errand: &Errand<'_>,
    server: &HeldServer,
    line: &[u8],
) -> Option<(Idle, usize)> {
    let mut dead = Vec::new();
    let first = client.requests <= 1;
    let own = client.own.take_if(|own| own.server.is(server) && own.is_fit());
    dead.extend(client.own.take());
    let found = own.or_else(|| {
        let (takes, proven) = match errand.backend.settings.reuse {
            Reuse::Never => (false, false),
            Reuse::Safe => (!first, false),
            Reuse::Aggressive => (true, first),
            Reuse::Always => (true, false),
        };
        let pool = &client.worker.pool;
        takes.then(|| pool.take(errand.backend, server, proven, line, &mut dead)).flatten()
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

/// The PROXY line that a connection of this client to that server begins with; nothing where it does
/// not.
pub(super) fn line(client: &Client, server: &Server) -> Vec<u8> {
    let mut line = Vec::new();
    if let Some(version) = server.settings.send_proxy {
        let ends = client.session.client.zip(client.local).map(|(from, to)| [from, to]);
        proxy_line::write(version, ends, &mut line);
    }
    line
}

/// Opens a connection and sends the request on it, behind that PROXY line. The first write is tried at
/// once: often the connection is established by then, and nothing has to be waited for.
pub(super) async fn connect(
    client: &Client,
    errand: &Errand<'_>,
    slot: &Slot,
    line: &[u8],
) -> Result<(Idle, usize), Lost> {
    let server = slot.server();
    let moves = server.moves();
    let named = Named { backend: &slot.backend, server };
    let closes = &client.worker.outside.closes;
    let address = server.address();
    let of_server = &server.settings;
    let (spares, watch) = (&client.worker.spares, &client.worker.runtime.watch);
    let sock =
        spares.open(&address, of_server.source_to(&address), of_server.tcp, watch).map_err(lost)?;
    if slot.backend.settings.smart_connect && !(errand.is_silent() && line.is_empty()) {
        sock.delay_ack();
    }
    let cookie = closes.opened(sock.as_fd(), named, errand.class);
    let established = match sock.connect(&address) {
        Ok(()) => establish(client, errand, &sock, line).await,
        Err(error) => Err(lost(error)),
    };
    let sent = match established {
        Ok(sent) => sent,
        Err(lost) => {
            let termination = lost.termination(Phase::Connect);
            let doing = Doing { termination, ..client.doing() };
            let class = if errand.class == Class::Tunnel { Class::Tunnel } else { Class::Active };
            closes.stated((sock.as_fd(), cookie), Some(named), class, false, &doing);
            return Err(lost);
        }
    };
    let (backend, server) = (slot.backend.clone(), server.clone());
    let (since, doing) = (Instant::now(), client.doing());
    let line = line.into();
    Ok((Idle { sock, backend, server, moves, since, proven: false, line, cookie, doing }, sent))
}

/// Waits until a connection stands; how many bytes of the line and the request are sent by then.
async fn establish(
    client: &Client,
    errand: &Errand<'_>,
    sock: &Sock,
    line: &[u8],
) -> Result<usize, Lost> {
    let prefix = &client.input[..errand.prefix];
    let slices = [line, errand.head, prefix].map(IoSlice::new);
    // That nothing was sent would not tell whether it stands.
    let nothing = errand.is_silent() && line.is_empty();
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
                if let Some(lost) = errand.given_up(client, cx) {
                    return Poll::Ready(Err(lost));
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
