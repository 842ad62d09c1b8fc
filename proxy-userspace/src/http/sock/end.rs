//! How a socket's connection ends, and what the socket is good for then.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, Shutdown, sockopt},
};

use super::{Delay, Sock};
use crate::http::settings::{ServerAddress, Tcp};

/// What stays with a socket from one connection to the next. The address does because the sequence
/// numbers go on (`tcp_disconnect`, net/ipv4/tcp.c): nobody but the same server can guess the next
/// initial one (RFC 6528).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    address: SocketAddr,
    tcp: Tcp,
}

impl Kind {
    /// Of a socket that [`Sock::open`] makes so; none if it is good for one connection only.
    pub(crate) fn of(
        address: &ServerAddress,
        source: Option<SocketAddr>,
        tcp: Tcp,
    ) -> Option<Self> {
        match (address, source) {
            (&ServerAddress::Inet(address), None) => Some(Self { address, tcp }),
            _ => None,
        }
    }
}

impl Sock {
    /// Whether the peer reset the connection.
    pub(crate) fn is_reset(&self) -> bool {
        matches!(self.end(), Some(Err(_)))
    }

    /// Whether the peer has sent its FIN and all before it was read; it may have sent a RST since.
    pub(crate) fn is_read_out(&self) -> bool {
        self.drained.get() || self.end() == Some(Ok(()))
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

    /// Sends a FIN.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.fd, Shutdown::Write)?)
    }

    /// Lets go of what waits for its FIN. The close would do so too, but not where it finds bytes
    /// that nobody has read: it is a RST then, and throws away what was not sent.
    pub(crate) fn finish(&self) {
        if self.held.take() {
            // On failure the connection is gone.
            let _ = self.shutdown();
        }
    }

    /// Makes the close a RST, and so the last thing that the socket does.
    pub(crate) fn reset_on_close(&self) {
        self.kind.set(None);
        reset_on_close(self.fd.as_fd());
    }

    /// What stays with it; none where it is good for one connection only.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.kind.get()
    }

    /// Whether the connection is over on this side: nothing is left to be sent or acknowledged, or
    /// the peer has reset it.
    pub(crate) fn is_over(&self) -> bool {
        rustix::net::getpeername(&self.fd).is_err_and(|error| error == Errno::NOTCONN)
    }

    /// Lets the socket be connected again; a connection that is not over is reset.
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        rustix::net::connect_unspec(&self.fd)?;
        // It may have left ECONNRESET.
        let _ = self.error();
        Ok(())
    }

    /// Forgets what was known of the last connection.
    pub(crate) fn renew(&self) {
        self.closed.set(false);
        self.drained.set(false);
        if let Some(watched) = self.watched.get() {
            watched.renew();
        }
        if self.delay.get() == Delay::Possible {
            self.delay.set(Delay::Unused);
        }
    }
}

/// Makes a socket's close as quiet as it can be without a capability, as HAProxy's `silent-drop` does:
/// what has come is acknowledged, so that the client does not ask for a RST by sending it again, and the
/// close's own RST does not get past the next router.
pub(crate) fn silence(socket: BorrowedFd<'_>) {
    const MOST: usize = 64;
    let mut space = [0; 4096];
    let mut receive = || rustix::net::recv(socket, &mut space[..], RecvFlags::DONTWAIT);
    // Who sends faster than this reads is heard of by a RST sooner or later.
    let _ = (0..MOST).take_while(|_| receive().is_ok_and(|(_, count)| count > 0)).count();
    // On failure it is a RST as any other.
    let _ = sockopt::set_tcp_quickack(socket, true);
    // Of the two the one counts that the packets are of, on an IPv6 socket either.
    let _ = sockopt::set_ip_ttl(socket, 1);
    let _ = sockopt::set_ipv6_unicast_hops(socket, Some(1));
    reset_on_close(socket);
}

/// Makes a socket's close a RST.
pub(crate) fn reset_on_close(socket: BorrowedFd<'_>) {
    // On failure it closes with FIN: nothing better can be done.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
