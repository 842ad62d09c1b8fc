//! A non-blocking socket that is watched only when it must wait.
//!
//! Most short connections never wait to write, and some not even to read: each watch that is not
//! begun saves a system call.

use std::{
    cell::{Cell, OnceCell},
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags,
        SocketType, sockopt,
    },
};

use super::{
    settings::{ServerAddress, Tcp},
    watch::{Watch, Watched},
};

mod end;

pub(crate) use end::{Kind, reset_on_close, silence};

/// A stream socket.
#[derive(Debug)]
pub(crate) struct Sock {
    // Dropped before the descriptor that it names.
    watched: OnceCell<Watched>,
    watch: Rc<Watch>,
    /// It is watched for room to be written, too.
    writable: Cell<bool>,
    /// The peer's FIN, or its RST, was seen.
    closed: Cell<bool>,
    /// All that came before the peer's FIN was read.
    drained: Cell<bool>,
    delay: Cell<Delay>,
    /// Bytes wait in the kernel for the FIN that they are to travel with.
    held: Cell<bool>,
    /// None where it is good for one connection only.
    kind: Cell<Option<Kind>>,
    fd: OwnedFd,
}

/// Whether the kernel may hold small writes back until earlier ones are acknowledged (RFC 9293,
/// 3.7.4). It never does so with the first: connections with one write need no TCP_NODELAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    /// Nothing was written yet.
    Unused,
    /// The next write might be held back.
    Possible,
    /// It was turned off, or was never on.
    Off,
}

impl AsFd for Sock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Sock {
    /// The descriptor must be non-blocking.
    pub(crate) fn new(fd: OwnedFd, watch: &Rc<Watch>) -> Self {
        Self {
            watched: OnceCell::new(),
            watch: Rc::clone(watch),
            writable: Cell::new(false),
            closed: Cell::new(false),
            drained: Cell::new(false),
            delay: Cell::new(Delay::Off),
            held: Cell::new(false),
            kind: Cell::new(None),
            fd,
        }
    }

    /// A socket from which `address` can be reached.
    pub(crate) fn open(
        address: &ServerAddress,
        source: Option<SocketAddr>,
        tcp: Tcp,
        watch: &Rc<Watch>,
    ) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let family = match address {
            ServerAddress::Inet(SocketAddr::V4(_)) => AddressFamily::INET,
            ServerAddress::Inet(SocketAddr::V6(_)) => AddressFamily::INET6,
            ServerAddress::Unix(_) => AddressFamily::UNIX,
        };
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        let sock = Self::new(fd, watch);
        if family != AddressFamily::UNIX {
            sock.delay.set(Delay::Unused);
            tcp.apply(&sock.fd)?;
            if let Some(source) = source {
                come_from(&sock.fd, source)?;
            }
            sock.kind.set(Kind::of(address, source, tcp));
        }
        Ok(sock)
    }

    /// Before connecting: the handshake's last ACK waits for the first write and travels with it
    /// (RFC 9293, 3.8.6.3).
    pub(crate) fn delay_ack(&self) {
        // On failure there is one segment more.
        let _ = sockopt::set_tcp_quickack(&self.fd, false);
    }

    /// Starts connecting. That it is established shows in the first write.
    pub(crate) fn connect(&self, address: &ServerAddress) -> io::Result<()> {
        let result = match address {
            ServerAddress::Inet(address) => rustix::net::connect(&self.fd, address),
            ServerAddress::Unix(path) => {
                rustix::net::connect(&self.fd, &SocketAddrUnix::new(path.as_path())?)
            }
        };
        match result {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// To be called before each write: none but the first may be held back.
    pub(crate) fn hurry(&self) {
        if self.delay.get() == Delay::Possible {
            // On failure the write is late, not lost.
            let _ = sockopt::set_tcp_nodelay(&self.fd, true);
            self.delay.set(Delay::Off);
        }
    }

    /// Takes the descriptor out of the watch.
    pub(crate) fn into_fd(mut self) -> OwnedFd {
        if let Some(watched) = self.watched.take() {
            watched.end(&self.fd);
        }
        self.fd
    }

    /// Reads without waiting.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = retry(|| rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty()));
        let (_, count) = received?;
        if count == 0 {
            self.closed.set(true);
            self.drained.set(true);
        }
        Ok(count)
    }

    /// Writes without waiting, all slices in one call.
    pub(crate) fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(slices, SendFlags::empty())
    }

    /// The same for bytes that [`Sock::finish`] follows at once: the FIN travels with them.
    pub(crate) fn try_send_last(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.held.set(true);
        self.write(slices, SendFlags::MORE)
    }

    fn write(&self, slices: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
        self.hurry();
        let flags = flags | SendFlags::NOSIGNAL;
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        let sent = match (filled.next(), filled.next()) {
            (None, _) => return Ok(0),
            // One piece needs no list of pieces to be copied into the kernel and checked.
            (Some(only), None) => retry(|| rustix::net::send(&self.fd, only, flags)),
            _ => {
                let mut none = SendAncillaryBuffer::default();
                retry(|| rustix::net::sendmsg(&self.fd, slices, &mut none, flags))
            }
        }?;
        if self.delay.get() == Delay::Unused {
            self.delay.set(Delay::Possible);
        }
        Ok(sent)
    }

    /// Looks at what is there to be read, once there is something, and leaves it there. 0 is the
    /// peer's FIN.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let watched = self.watched()?;
        loop {
            ready!(watched.poll_read(cx));
            match retry(|| rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::PEEK)) {
                Ok((_, count)) => return Poll::Ready(Ok(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => watched.read_all(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads once there is something to read. 0 is the peer's FIN.
    pub(crate) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let watched = self.watched()?;
        loop {
            let closed = ready!(watched.poll_read(cx)).closed;
            if closed {
                self.closed.set(true);
            }
            match retry(|| rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty())) {
                Ok((_, count)) => {
                    if count < buffer.len() {
                        // All that was there: the next wait needs no EAGAIN first.
                        watched.read_all();
                        self.drained.set(closed || count == 0);
                    }
                    if count == 0 {
                        self.closed.set(true);
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => watched.read_all(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Waits until there may be something to read; `blocked` says that a read just found nothing.
    pub(crate) fn poll_readable(
        &self,
        cx: &mut Context<'_>,
        blocked: bool,
    ) -> Poll<io::Result<()>> {
        let watched = self.watched()?;
        if blocked {
            watched.read_all();
        }
        if ready!(watched.poll_read(cx)).closed {
            self.closed.set(true);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes as soon as something can be written.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.try_send(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.poll_writable(cx, true))?;
        }
    }

    /// Waits until something can be written; `blocked` says that a write just could not.
    pub(crate) fn poll_writable(
        &self,
        cx: &mut Context<'_>,
        blocked: bool,
    ) -> Poll<io::Result<()>> {
        let watched = self.watched()?;
        if blocked {
            watched.is_full();
        }
        if !self.writable.replace(true) {
            watched.widen(&self.fd)?;
        }
        ready!(watched.poll_write(cx));
        Poll::Ready(Ok(()))
    }

    /// Its place in the worker's watch, taken when it is first needed.
    fn watched(&self) -> io::Result<&Watched> {
        if let Some(watched) = self.watched.get() {
            return Ok(watched);
        }
        let new = Watched::new(&self.watch, &self.fd)?;
        Ok(self.watched.get_or_init(|| new))
    }

    /// Whether it had to be waited for.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.get().is_some()
    }

    /// Whether the peer has closed, as far as is known: no system call is made.
    pub(crate) fn peer_closed(&self) -> bool {
        self.closed.get() || self.watched.get().is_some_and(|watched| watched.ready().closed)
    }

    /// Whether the peer has closed, or sent anything, by now.
    pub(crate) fn stirred(&self) -> bool {
        // Asked so, no waker is kept.
        let ready = self.watched.get().is_none_or(|watched| watched.ready().read);
        ready && self.poll_stirred(Waker::noop())
    }

    /// As [`Sock::stirred`]; if not, the waker is woken when it does.
    pub(crate) fn poll_stirred(&self, waker: &Waker) -> bool {
        let mut cx = Context::from_waker(waker);
        let mut blocked = false;
        loop {
            if self.poll_readable(&mut cx, blocked).is_pending() {
                return false;
            }
            // Readiness may be left over from a body that went through a pipe.
            if self.closed.get() || self.peek() != Err(Errno::AGAIN) {
                return true;
            }
            blocked = true;
        }
    }

    fn peek(&self) -> rustix::io::Result<usize> {
        rustix::net::recv(&self.fd, &mut [0_u8; 1][..], RecvFlags::PEEK).map(|(_, count)| count)
    }

    /// The pending error, taken.
    pub(crate) fn error(&self) -> io::Result<()> {
        Ok(sockopt::socket_error(&self.fd)??)
    }
}

/// Binds a socket that is to be connected. Where the port is the kernel's to choose, it chooses one that
/// no other connection to the same place has, only then.
pub(crate) fn come_from(socket: impl AsFd, source: SocketAddr) -> io::Result<()> {
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if source.port() == 0 {
        let (on, size) = (1_i32, libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(4));
        let (level, name) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
        let fd = socket.as_fd().as_raw_fd();
        // On failure ports run out sooner.
        // SAFETY: the descriptor is open, and the pointer and the size are those of `on`.
        unsafe { libc::setsockopt(fd, level, name, (&raw const on).cast(), size) };
    }
    Ok(rustix::net::bind(socket, &source)?)
}

/// The address of this end; none of a Unix socket.
pub(crate) fn local(socket: impl AsFd) -> Option<SocketAddr> {
    let address = rustix::net::getsockname(socket).ok()?;
    SocketAddr::try_from(address).ok()
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests;
