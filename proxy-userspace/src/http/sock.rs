//! A non-blocking socket that is registered with the runtime only when it must wait.
//!
//! Most short connections never wait to write, and some not even to read: each registration that
//! is not made saves two system calls.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix,
        SocketFlags, SocketType, sockopt,
    },
};
use tokio::io::{Interest, Ready, unix::AsyncFd};

use super::settings::ServerAddress;

/// A stream socket.
#[derive(Debug)]
pub(crate) struct Sock {
    // Dropped before the descriptor that it names.
    registration: RefCell<Option<AsyncFd<RawFd>>>,
    writable: Cell<bool>,
    /// The peer's FIN, or its RST, was seen.
    closed: Cell<bool>,
    delay: Cell<Delay>,
    /// Bytes wait in the kernel for the FIN that they are to travel with.
    held: Cell<bool>,
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

impl From<OwnedFd> for Sock {
    /// The descriptor must be non-blocking.
    fn from(fd: OwnedFd) -> Self {
        Self {
            registration: RefCell::new(None),
            writable: Cell::new(false),
            closed: Cell::new(false),
            delay: Cell::new(Delay::Off),
            held: Cell::new(false),
            fd,
        }
    }
}

impl Sock {
    /// A socket from which `address` can be reached.
    pub(crate) fn open(
        address: &ServerAddress,
        source: Option<SocketAddr>,
        keepalive: bool,
    ) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let family = match address {
            ServerAddress::Inet(SocketAddr::V4(_)) => AddressFamily::INET,
            ServerAddress::Inet(SocketAddr::V6(_)) => AddressFamily::INET6,
            ServerAddress::Unix(_) => AddressFamily::UNIX,
        };
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        let sock = Self::from(fd);
        if family != AddressFamily::UNIX {
            sock.delay.set(Delay::Unused);
            if keepalive {
                sockopt::set_socket_keepalive(&sock.fd, true)?;
            }
            if let Some(source) = source {
                rustix::net::bind(&sock.fd, &source)?;
            }
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

    /// Takes the descriptor out of the runtime.
    pub(crate) fn into_fd(self) -> OwnedFd {
        drop(self.registration.take());
        self.fd
    }

    /// Reads without waiting.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = retry(|| rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty()));
        let (_, count) = received?;
        if count == 0 {
            self.closed.set(true);
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

    /// Lets go of what waits for its FIN. The close would do so too, but not where it finds bytes
    /// that nobody has read: it is a RST then, and throws away what was not sent.
    pub(crate) fn finish(&self) {
        if self.held.take() {
            // On failure the connection is gone.
            let _ = self.shutdown();
        }
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

    /// Reads once there is something to read. 0 is the peer's FIN.
    pub(crate) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            self.register(false)?;
            let registration = self.registration.borrow();
            let registration = registration.as_ref().expect("registered above");
            let mut guard = ready!(registration.poll_read_ready(cx))?;
            if guard.ready().is_read_closed() {
                self.closed.set(true);
            }
            match retry(|| rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty())) {
                Ok((_, count)) => {
                    if count < buffer.len() {
                        // All that was there: the next wait needs no EAGAIN first.
                        guard.clear_ready();
                    }
                    if count == 0 {
                        self.closed.set(true);
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
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
        self.register(false)?;
        let registration = self.registration.borrow();
        let registration = registration.as_ref().expect("registered above");
        if blocked {
            let mut guard = ready!(registration.poll_read_ready(cx))?;
            guard.clear_ready();
        }
        let guard = ready!(registration.poll_read_ready(cx))?;
        if guard.ready().is_read_closed() {
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
        if self.register(true)? {
            // Whoever waits to read waited at the registration that is gone.
            cx.waker().wake_by_ref();
        }
        let registration = self.registration.borrow();
        let registration = registration.as_ref().expect("registered above");
        if blocked {
            let mut guard = ready!(registration.poll_write_ready(cx))?;
            guard.clear_ready();
        }
        drop(ready!(registration.poll_write_ready(cx))?);
        Poll::Ready(Ok(()))
    }

    /// Registers for reading, or for both; says whether a registration was replaced.
    fn register(&self, write: bool) -> io::Result<bool> {
        let mut registration = self.registration.borrow_mut();
        if registration.is_some() && (self.writable.get() || !write) {
            return Ok(false);
        }
        let replaced = registration.take().is_some();
        let interest =
            if write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        // SAFETY: the descriptor stays open as long as the registration, which is a field before
        // it and is taken out before it is given away.
        let watched = unsafe { AsyncFd::register_with_interest(self.fd.as_raw_fd(), interest) };
        *registration = Some(watched?);
        self.writable.set(write);
        Ok(replaced)
    }

    /// Whether the runtime watches it.
    pub(crate) fn is_registered(&self) -> bool {
        self.registration.borrow().is_some()
    }

    /// Whether the peer reset the connection.
    pub(crate) fn is_reset(&self) -> bool {
        matches!(self.end(), Some(Err(_)))
    }

    /// Whether the peer has closed, as far as the runtime knows: no system call is made.
    pub(crate) fn peer_closed(&self) -> bool {
        self.closed.get() || self.readiness().is_some_and(Ready::is_read_closed)
    }

    /// Whether the peer has closed, or sent anything, by now.
    pub(crate) fn stirred(&self) -> bool {
        // Asked so, the runtime takes no note of a waker.
        let ready =
            self.registration.borrow().as_ref().is_none_or(|registration| {
                registration.try_io(Interest::READABLE, |_| Ok(())).is_ok()
            });
        ready && self.poll_stirred(Waker::noop())
    }

    fn readiness(&self) -> Option<Ready> {
        let registration = self.registration.borrow();
        let mut cx = Context::from_waker(Waker::noop());
        match registration.as_ref()?.poll_read_ready(&mut cx) {
            Poll::Ready(Ok(guard)) => Some(guard.ready()),
            Poll::Ready(Err(_)) => Some(Ready::READ_CLOSED),
            Poll::Pending => None,
        }
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

    /// How the peer has ended, where nothing of what it sent is left to be read: an error is its RST,
    /// which is told once.
    pub(crate) fn end(&self) -> Option<rustix::io::Result<()>> {
        match self.peek() {
            Ok(0) => Some(Ok(())),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn peek(&self) -> rustix::io::Result<usize> {
        rustix::net::recv(&self.fd, &mut [0_u8; 1][..], RecvFlags::PEEK).map(|(_, count)| count)
    }

    /// Sends a FIN.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.fd, Shutdown::Write)?)
    }

    /// Makes the close a RST.
    pub(crate) fn reset_on_close(&self) {
        reset_on_close(self.fd.as_fd());
    }

    /// The pending error, taken.
    pub(crate) fn error(&self) -> io::Result<()> {
        Ok(sockopt::socket_error(&self.fd)??)
    }
}

/// The address of this end; none of a Unix socket.
pub(crate) fn local(socket: impl AsFd) -> Option<SocketAddr> {
    let address = rustix::net::getsockname(socket).ok()?;
    SocketAddr::try_from(address).ok()
}

/// Makes a socket's close a RST.
pub(crate) fn reset_on_close(socket: BorrowedFd<'_>) {
    // On failure it closes with FIN: nothing better can be done.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
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
