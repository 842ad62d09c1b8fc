//! Listening sockets: bound once, one per worker, kept over reloads.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{SocketAddr as UnixAddress, UnixListener},
        },
    },
    path::Path,
    sync::Arc,
};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::counters::Gauge;
use super::settings::{Bind, BindAddress, Frontend, Settings};
use crate::host;

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("frontend '{frontend}': cannot listen on {address}: {error}")]
pub struct BindError {
    /// The frontend's name.
    pub frontend: String,
    /// As in the configuration.
    pub address: String,
    /// Why.
    pub error: io::Error,
}

/// The listening sockets of all frontends, one of each for every worker.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    bound: Vec<Bound>,
}

/// An address and its sockets.
#[derive(Clone, Debug)]
struct Bound {
    bind: Bind,
    frontend: String,
    sockets: Vec<Arc<OwnedFd>>,
    /// Connections that were accepted on them and are open, of all workers.
    connections: Arc<Gauge>,
    /// The length of the kernel's queue.
    backlog: i32,
}

/// What a worker accepts from.
#[derive(Clone, Debug)]
pub(crate) struct Ear {
    pub(crate) frontend: String,
    pub(crate) socket: Arc<OwnedFd>,
    /// Connections at once on the address; 0 is no limit.
    pub(crate) maxconn: u32,
    pub(crate) connections: Arc<Gauge>,
    /// The name of the address.
    pub(crate) name: Arc<str>,
    /// A proxy connects there, and says first whose connection it passes on.
    pub(crate) accept_proxy: bool,
}

impl Listeners {
    /// Listens on everything that `settings` ask for. Sockets of `before` are kept where they are
    /// bound as is wanted now, and told what else has changed; nothing of them changes if something
    /// fails.
    pub fn bind(settings: &Settings, workers: usize, before: &Self) -> Result<Self, BindError> {
        let mut bound = Vec::new();
        // Each is kept once: where a second one joins an address, it has sockets of its own.
        let mut left: Vec<&Bound> = before.bound.iter().collect();
        let mut changed = Vec::new();
        for frontend in &settings.frontends {
            for bind in &frontend.binds {
                let backlog = backlog(frontend, bind);
                let kept = left.iter().position(|old| old.bind.is_bound_as(bind));
                let kept = kept.map(|at| left.remove(at));
                let connections = kept.map(|old| Arc::clone(&old.connections));
                let sockets = match kept {
                    Some(old) => Ok(old.sockets.clone()),
                    None => fresh(bind, backlog, workers),
                };
                let sockets = sockets.map_err(|error| BindError {
                    frontend: frontend.name.clone(),
                    address: shown(&bind.address),
                    error,
                })?;
                let (bind, frontend) = (bind.clone(), frontend.name.clone());
                let connections = connections.unwrap_or_default();
                if kept.is_some_and(|old| (&old.bind, old.backlog) != (&bind, backlog)) {
                    changed.push(bound.len());
                }
                bound.push(Bound { bind, frontend, sockets, connections, backlog });
            }
        }
        let listeners = Self { bound };
        listeners.listen(|_| true)?;
        for at in changed {
            let bound = &listeners.bound[at];
            bound.tell().map_err(|error| bound.failed(error))?;
        }
        Ok(listeners)
    }

    /// Has a frontend's addresses refuse connections, those that nobody has accepted yet included
    /// (`disable frontend`). As with HAProxy, Unix sockets and inherited ones go on listening:
    /// clients wait there until [`Listeners::resume`].
    pub(crate) fn pause(&self, frontend: &str) {
        for bound in self.bound.iter().filter(|bound| bound.frontend == frontend) {
            if matches!(bound.bind.address, BindAddress::Inet(_)) {
                for socket in &bound.sockets {
                    // On failure it did not listen.
                    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Read);
                }
            }
        }
    }

    /// Gives a frontend's sockets up: the last worker that lets go of them closes them.
    pub(crate) fn close(&mut self, frontend: &str) {
        self.bound.retain(|bound| bound.frontend != frontend);
    }

    /// Has them listen again.
    pub(crate) fn resume(&self, frontend: &str) -> Result<(), BindError> {
        self.listen(|bound| bound.frontend == frontend)
    }

    /// Has what was paused listen.
    fn listen(&self, which: impl Fn(&Bound) -> bool) -> Result<(), BindError> {
        for bound in self.bound.iter().filter(|bound| which(bound)) {
            for socket in &bound.sockets {
                let listens = rustix::net::sockopt::socket_acceptconn(socket);
                let listening = match listens {
                    Ok(false) => SockRef::from(socket).listen(bound.backlog),
                    _ => Ok(()),
                };
                listening.map_err(|error| bound.failed(error))?;
            }
        }
        Ok(())
    }

    /// What stands for sockets that another process has: they are not opened again.
    #[must_use]
    pub fn of_another(binds: impl IntoIterator<Item = Bind>) -> Self {
        let bound = |bind| Bound {
            bind,
            frontend: String::new(),
            sockets: Vec::new(),
            connections: Arc::default(),
            backlog: 0,
        };
        Self { bound: binds.into_iter().map(bound).collect() }
    }

    /// Where they listen, as the configuration says it.
    pub(crate) fn binds(&self) -> Vec<Bind> {
        self.bound.iter().map(|bound| bound.bind.clone()).collect()
    }

    /// A worker's sockets.
    pub(crate) fn of(&self, worker: usize) -> Vec<Ear> {
        let pick = |bound: &Bound| Ear {
            frontend: bound.frontend.clone(),
            socket: Arc::clone(&bound.sockets[worker % bound.sockets.len()]),
            maxconn: bound.bind.maxconn,
            connections: Arc::clone(&bound.connections),
            name: bound.bind.name.as_str().into(),
            accept_proxy: bound.bind.accept_proxy,
        };
        self.bound.iter().map(pick).collect()
    }

    /// The addresses in use, for port 0 and for the statistics.
    pub fn addresses(&self) -> Vec<(String, std::net::SocketAddr)> {
        let address = |bound: &Bound| {
            let address = SockRef::from(&bound.sockets[0]).local_addr().ok()?.as_socket()?;
            Some((bound.frontend.clone(), address))
        };
        self.bound.iter().filter_map(address).collect()
    }
}

impl Bound {
    /// Tells its sockets what bound ones can be told.
    fn tell(&self) -> io::Result<()> {
        for socket in &self.sockets {
            if matches!(self.bind.address, BindAddress::Inet(_)) {
                self.bind.tcp.apply_anew(socket)?;
                tell(socket, &self.bind, self.backlog)?;
            }
            SockRef::from(socket).listen(self.backlog)?;
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> BindError {
        let (frontend, address) = (self.frontend.clone(), shown(&self.bind.address));
        BindError { frontend, address, error }
    }
}

/// Sockets that were not there before.
fn fresh(bind: &Bind, backlog: i32, workers: usize) -> io::Result<Vec<Arc<OwnedFd>>> {
    let open = || open(bind, backlog, workers);
    let sockets = match &bind.address {
        // It is this process that has inherited it.
        BindAddress::Fd(_) => open(),
        _ => host::sockets(open),
    }?;
    Ok(sockets.into_iter().map(Arc::new).collect())
}

fn shown(address: &BindAddress) -> String {
    match address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Unix(path) => path.display().to_string(),
        BindAddress::Abstract(name) => format!("abns@{}", name.escape_ascii()),
        BindAddress::Fd(fd) => format!("fd@{fd}"),
    }
}

fn backlog(frontend: &Frontend, bind: &Bind) -> i32 {
    let backlog = match (bind.backlog, frontend.maxconn) {
        (0, 0) => 4096,
        (0, maxconn) => maxconn,
        (backlog, _) => backlog,
    };
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

fn open(bind: &Bind, backlog: i32, workers: usize) -> io::Result<Vec<OwnedFd>> {
    match &bind.address {
        BindAddress::Inet(address) => {
            // Port 0 is one port for all workers: the first socket's.
            let mut address = *address;
            let mut sockets = Vec::new();
            for _ in 0..workers {
                let socket = inet(bind, address, backlog)?;
                if address.port() == 0
                    && let Some(local) = socket.local_addr()?.as_socket()
                {
                    address = local;
                }
                sockets.push(socket.into());
            }
            Ok(sockets)
        }
        BindAddress::Unix(path) => {
            let socket = unix(bind, path)?;
            socket.listen(backlog)?;
            Ok(vec![socket.into()])
        }
        BindAddress::Abstract(name) => {
            let listener = UnixListener::bind_addr(&UnixAddress::from_abstract_name(name)?)?;
            listener.set_nonblocking(true)?;
            SockRef::from(&listener).listen(backlog)?;
            Ok(vec![listener.into()])
        }
        BindAddress::Fd(fd) => Ok(vec![inherited(*fd)?]),
    }
}

fn inet(bind: &Bind, address: std::net::SocketAddr, backlog: i32) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // As HAProxy: an IPv6 address takes IPv4 only where the configuration says so.
        socket.set_only_v6(bind.v6only.unwrap_or(true))?;
    }
    if bind.transparent {
        be_transparent(&socket, address)?;
    }
    if let Some(interface) = &bind.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    // Inherited by what is accepted.
    socket.set_tcp_nodelay(true)?;
    bind.tcp.apply(&socket)?;
    tell(&socket, bind, backlog)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// Says what holds for a listening socket and what it accepts; 0 is what a new one does.
fn tell(socket: impl AsFd, bind: &Bind, backlog: i32) -> io::Result<()> {
    // The worker is woken only when a connection has data; after a minute all the same.
    let patience = if bind.defer_accept { 60 } else { 0 };
    let set_tcp = |option, value| set(&socket, libc::IPPROTO_TCP, option, value);
    set_tcp(libc::TCP_DEFER_ACCEPT, patience)?;
    set_tcp(libc::TCP_MAXSEG, bind.mss.unwrap_or(0).into())?;
    set_tcp(libc::TCP_FASTOPEN, if bind.fast_open { backlog } else { 0 })
}

/// Lets a socket have an address that the host has not, and take what the firewall redirects to it
/// (TPROXY). Who has not the privilege for that may have the address all the same, as with HAProxy.
fn be_transparent(socket: &Socket, address: std::net::SocketAddr) -> io::Result<()> {
    let (level, option) = match address.is_ipv4() {
        true => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
        false => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
    };
    set(socket, level, option, 1).or_else(|_| socket.set_freebind_v4(true))
}

fn set(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(4);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, and the pointer and the size are those of `value`.
    let result = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A socket at a path, with its mode and its owner. It does not listen yet, so that nobody connects
/// who may not.
fn unix(bind: &Bind, path: &Path) -> io::Result<Socket> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = bind.unix_mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    if bind.unix_uid.is_some() || bind.unix_gid.is_some() {
        std::os::unix::fs::chown(path, bind.unix_uid, bind.unix_gid)?;
    }
    Ok(socket)
}

/// A listening socket of the process that started this one.
fn inherited(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: only borrowed for this one call, which says so if the descriptor is not open.
    let given = unsafe { BorrowedFd::borrow_raw(fd) };
    let copy = rustix::io::fcntl_dupfd_cloexec(given, 0)?;
    if !rustix::net::sockopt::socket_acceptconn(&copy)? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a socket that does not listen: who starts teardown must call listen(2) on it",
        ));
    }
    let socket = Socket::from(copy);
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
