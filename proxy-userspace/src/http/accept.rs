//! Accepting connections and having each served by a task.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::{io::Errno, net::SocketFlags};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    client::Client,
    counters::Count,
    held::HeldProxies,
    listener::Ear,
    live::{Frontend, Proxies},
    park::Parked,
    presence::Presence,
    settings::Mode,
    sock::Sock,
    tcp,
    worker::Worker,
};

/// Connections accepted before others get their turn.
const BATCH: usize = 32;

/// How soon a full frontend, or a process without descriptors, looks again.
const PAUSE: Duration = Duration::from_millis(10);

/// A listening socket that a worker accepts from.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) ear: Ear,
    pub(crate) frontend: Arc<Frontend>,
}

/// Accepts, for ever.
pub(crate) async fn run(
    worker: Rc<Worker>,
    proxies: Rc<HeldProxies>,
    door: Door,
) -> io::Result<()> {
    let raw = door.ear.socket.as_raw_fd();
    // SAFETY: the door holds the socket open for longer than this registration lives.
    let watched = unsafe { AsyncFd::register_with_interest(raw, Interest::READABLE) }?;
    let local = socket2::SockRef::from(&door.ear.socket).local_addr().ok();
    let local = local.and_then(|local| local.as_socket());
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    loop {
        if !has_room(&proxies, &door) {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let mut guard = watched.readable().await?;
        for _ in 0..BATCH {
            if !has_room(&proxies, &door) {
                break;
            }
            match rustix::net::acceptfrom_with(&door.ear.socket, flags) {
                Ok((fd, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    welcome(&worker, &proxies, &door, fd, [peer, local]);
                }
                Err(Errno::AGAIN) => {
                    guard.clear_ready();
                    break;
                }
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    // Nothing to be had: let others finish. The rest waits in the backlog.
                    tokio::time::sleep(PAUSE * 10).await;
                    break;
                }
                // The client was faster than us, or a signal came.
                Err(_) => {}
            }
        }
        drop(guard);
        tokio::task::yield_now().await;
    }
}

fn has_room(proxies: &Proxies, door: &Door) -> bool {
    let Door { ear, frontend } = door;
    let limit = frontend.maxconn.load(Relaxed);
    let of_process = proxies.maxconn.load(Relaxed);
    frontend.enabled.load(Relaxed)
        && (limit == 0 || frontend.sessions.now() < limit)
        && (ear.maxconn == 0 || ear.connections.now() < ear.maxconn)
        && (of_process == 0 || proxies.connections.now() < of_process)
}

fn welcome(
    worker: &Rc<Worker>,
    proxies: &Proxies,
    door: &Door,
    fd: OwnedFd,
    addresses: [Option<SocketAddr>; 2],
) {
    let frontend = &door.frontend;
    worker.count(&frontend.counters, Count::Sessions, 1);
    worker.count(&frontend.counters, Count::Connections, 1);
    let of_process = Arc::clone(&proxies.connections);
    let of_address = Arc::clone(&door.ear.connections);
    let presence = Presence::new(Arc::clone(frontend), [of_process, of_address]);
    let sock = Sock::from(fd);
    let client = Client::new(Rc::clone(worker), sock, presence, addresses, Instant::now(), 0);
    match frontend.settings.mode {
        Mode::Http => worker.http_crew.serve(client, http),
        Mode::Tcp => worker.tcp_crew.serve(client, tcp::serve),
    }
}

/// Goes on with a connection that was parked.
pub(crate) fn resume(worker: &Rc<Worker>, parked: Parked) {
    let Parked { fd, presence, addresses, requests, since, last, .. } = parked;
    let sock = Sock::from(fd);
    let mut client = Client::new(Rc::clone(worker), sock, presence, addresses, since, requests);
    client.last = last;
    worker.http_crew.serve(client, http);
}

async fn http(client: Client) {
    let worker = Rc::clone(&client.worker);
    if let Some(client) = client.serve().await {
        worker.lot.park(client);
    }
}
