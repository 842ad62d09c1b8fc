//! Accepting connections and having each served by a task.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::{io::Errno, net::SocketFlags};

use super::{
    admission,
    client::Client,
    counters::Count,
    held::HeldProxies,
    listener::Ear,
    live::{Frontend, Proxies},
    presence::Presence,
    reception::Reception,
    runtime::yield_now,
    sock::{self, Sock},
    watch::Lent,
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
///
/// # Errors
/// What says that nothing more can be accepted on this socket: it does not listen any more.
pub(crate) async fn run(
    reception: Rc<Reception>,
    proxies: Rc<HeldProxies>,
    door: Door,
) -> io::Result<()> {
    let runtime = &reception.worker.runtime;
    loop {
        let Err(error) = listen(&reception, &proxies, &door).await;
        let enabled = || door.frontend.enabled.load(Relaxed);
        // Paused, or paused for a moment: `Engine::resume` has it listen before it says so.
        if enabled() && !rustix::net::sockopt::socket_acceptconn(&door.ear.socket)? {
            return Err(error);
        }
        loop {
            runtime.sleep(PAUSE).await;
            if enabled() {
                break;
            }
        }
    }
}

/// Accepts until the socket does not listen any more.
async fn listen(
    reception: &Rc<Reception>,
    proxies: &Rc<HeldProxies>,
    door: &Door,
) -> Result<Infallible, io::Error> {
    let runtime = &reception.worker.runtime;
    // A place for each time that it listens: what has ended once has for ever.
    let watched = Lent::new(&runtime.watch, &door.ear.socket)?;
    let local = sock::local(&door.ear.socket);
    // Of `bind :80` only the connection knows which address its client took.
    let any = local.is_some_and(|local| local.ip().is_unspecified());
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    loop {
        if !has_room(proxies, door) {
            runtime.sleep(PAUSE).await;
            continue;
        }
        let ready = watched.readable().await;
        for _ in 0..BATCH {
            if !has_room(proxies, door) {
                break;
            }
            match rustix::net::acceptfrom_with(&door.ear.socket, flags) {
                Ok((fd, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    let local = if any { sock::local(&fd) } else { local };
                    welcome(reception, proxies, door, fd, [peer, local]);
                }
                // It listened no more in between: this place is ready for ever.
                Err(Errno::AGAIN) if ready.closed => {
                    return Err(Errno::AGAIN.into());
                }
                Err(Errno::AGAIN) => {
                    watched.read_all();
                    break;
                }
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    // Nothing to be had: let others finish. The rest waits in the backlog.
                    if !reception.worker.close_all_idle() {
                        runtime.sleep(PAUSE * 10).await;
                    }
                    break;
                }
                Err(error) if is_of_one(error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        yield_now().await;
    }
}

/// Whether an error is of one connection alone, as accept(2) lists them: its client was faster than
/// us, its network broke down, a firewall forbids it; or a signal came. The next one may be taken.
fn is_of_one(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNABORTED
            | Errno::INTR
            | Errno::PERM
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NONET
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
    )
}

fn has_room(proxies: &Proxies, door: &Door) -> bool {
    let Door { ear, frontend } = door;
    let of_process = proxies.maxconn.load(Relaxed);
    frontend.enabled.load(Relaxed)
        && frontend.sessions.now() < frontend.maxconn.load(Relaxed)
        && (ear.maxconn == 0 || ear.connections.now() < ear.maxconn)
        && (of_process == 0 || proxies.connections.now() < of_process)
        && proxies.throttle.has_room(Instant::now)
        && frontend.throttle.has_room(Instant::now)
}

fn welcome(
    reception: &Rc<Reception>,
    proxies: &Rc<HeldProxies>,
    door: &Door,
    fd: OwnedFd,
    addresses: [Option<SocketAddr>; 2],
) {
    let worker = &reception.worker;
    let frontend = &door.frontend;
    worker.count(&frontend.counters, Count::Connections, 1);
    proxies.throttle.count(Instant::now);
    frontend.throttle.count(Instant::now);
    let Some(admitted) = admission::connection(worker, frontend, &fd, addresses) else { return };
    let of_process = Arc::clone(&proxies.connections);
    let of_address = Arc::clone(&door.ear.connections);
    let presence = Presence::new(Arc::clone(frontend), [of_process, of_address]);
    let sock = Sock::new(fd, &worker.runtime.watch);
    let serial = worker.outside.serial();
    let now = Instant::now();
    let known = (now, now, 0);
    let (own, proxies) = (Rc::clone(worker), Rc::clone(proxies));
    let mut client = Client::new(own, proxies, serial, sock, presence, addresses, known);
    client.variables = admitted.variables;
    if door.ear.accept_proxy || admitted.greets {
        reception.greet(client, Arc::clone(&door.ear.name));
    } else {
        reception.begin(client, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{listener::Listeners, park::Lot, runtime::Runtime, settings, worker::Worker};

    /// A frontend on a port of its own.
    fn settings() -> settings::Settings {
        let loopback = settings::BindAddress::Inet(SocketAddr::from(([127, 0, 0, 1], 0)));
        let frontend = settings::Frontend {
            name: "front".into(),
            binds: vec![settings::Bind::new(loopback)],
            ..Default::default()
        };
        settings::Settings { frontends: vec![frontend], ..Default::default() }
    }

    fn listening() -> Listeners {
        Listeners::bind(&settings(), 1, &Listeners::default()).unwrap()
    }

    /// The accepting, what it runs on, and the listeners.
    fn accepting() -> (impl Future<Output = io::Result<()>>, Rc<Runtime>, Listeners, Arc<Frontend>)
    {
        let listeners = listening();
        let ear = listeners.of(0).remove(0);
        let proxies = Arc::new(Proxies::new(settings(), 1, Arc::default()));
        let frontend = Arc::clone(proxies.frontend("front").unwrap());
        let worker = Worker::alone(&proxies);
        let runtime = Rc::clone(&worker.runtime);
        let reception = Reception::new(worker, Lot::new().unwrap());
        let door = Door { ear, frontend: Arc::clone(&frontend) };
        (run(reception, HeldProxies::new(proxies), door), runtime, listeners, frontend)
    }

    #[test]
    fn a_frontend_lets_in_as_many_as_it_may() {
        let room = |configured, set: Option<u32>| {
            let frontend = settings::Frontend { maxconn: configured, ..Default::default() };
            let settings = settings::Settings { frontends: vec![frontend], ..Default::default() };
            let proxies = Proxies::new(settings, 1, Arc::default());
            let frontend = Arc::clone(&proxies.frontends[0]);
            if let Some(set) = set {
                frontend.maxconn.store(set, Relaxed);
            }
            let (ear, connections) = (listening().of(0).remove(0), Arc::clone(&frontend));
            let door = Door { ear, frontend };
            let mut count = 0;
            while count < 5 && has_room(&proxies, &door) {
                connections.sessions.rise();
                count += 1;
            }
            count
        };
        assert_eq!((room(0, None), room(3, None)), (5, 3));
        assert_eq!((room(3, Some(2)), room(3, Some(0)), room(0, Some(0))), (2, 0, 0));
    }

    #[test]
    fn a_socket_that_no_longer_listens_ends_the_accepting() {
        let (accepting, runtime, listeners, _) = accepting();
        // Another process that has the same socket can do that.
        let socket = &listeners.of(0)[0].socket;
        rustix::net::shutdown(socket, rustix::net::Shutdown::Both).unwrap();
        let ended = runtime.block_on(runtime.within(Duration::from_secs(10), accepting));
        let error = ended.unwrap().expect("it does not try for ever").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_socket_that_listens_again_is_waited_for_and_not_looked_at_all_the_time() {
        let (accepting, runtime, listeners, frontend) = accepting();
        let mut accepting = std::pin::pin!(accepting);
        let mut looks = 0;
        let mut within = async |time: Duration| {
            let looking = std::future::poll_fn(|cx| {
                looks += 1;
                accepting.as_mut().poll(cx)
            });
            assert!(runtime.within(time, looking).await.is_none(), "it goes on");
            std::mem::take(&mut looks)
        };
        let test = async {
            within(PAUSE * 2).await;
            for _ in 0..3 {
                frontend.enabled.store(false, Relaxed);
                listeners.pause("front");
                within(PAUSE * 2).await;
                listeners.resume("front").unwrap();
                frontend.enabled.store(true, Relaxed);
                // It has seen that by then.
                within(PAUSE * 5).await;
                let looks = within(PAUSE * 5).await;
                assert!(looks < 10, "{looks}");
            }
        };
        runtime.block_on(test).unwrap();
    }
}
