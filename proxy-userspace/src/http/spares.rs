//! Sockets whose connections to servers are over, each to be given its next one.
//!
//! To make a socket and to free it costs an eighth of a short connection. Linux lets a socket whose
//! connection is over connect again (connect(2), `AF_UNSPEC`); what it does so to one whose
//! connection is not over is a RST, as SO_LINGER 0 is to close(2).

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    net::SocketAddr,
    rc::Rc,
};

use super::{
    settings::{ServerAddress, Tcp},
    sock::{Kind, Sock},
    watch::Watch,
};

/// So many of each list are kept.
const MOST: usize = 64;

/// The spare sockets of a worker.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    /// They have no connection; the last for the shortest time.
    free: RefCell<Vec<Sock>>,
    /// How many were free at any time since the last [`Spares::tidy`].
    unused: Cell<usize>,
    /// They have sent their FIN, and wait until it is acknowledged; the first for the longest time.
    leaving: RefCell<VecDeque<Sock>>,
    /// How many of them were leaving already at the last [`Spares::tidy`].
    old: Cell<usize>,
}

impl Spares {
    /// Resets a connection, and keeps its socket.
    pub(crate) fn reset(&self, sock: Sock) {
        let mut free = self.free.borrow_mut();
        if sock.kind().is_some() && free.len() < MOST && sock.disconnect().is_ok() {
            free.push(sock);
        } else {
            sock.reset_on_close();
        }
    }

    /// Closes a connection that the peer has closed, and keeps its socket.
    pub(crate) fn close(&self, sock: Sock) {
        // The close of a socket with something unread is a RST.
        if sock.kind().is_none() || !sock.is_read_out() || sock.shutdown().is_err() {
            return;
        }
        let mut leaving = self.leaving.borrow_mut();
        if leaving.len() == MOST {
            leaving.pop_front();
            self.old.set(self.old.get().saturating_sub(1));
        }
        leaving.push_back(sock);
    }

    /// A socket from which `address` can be reached: a spare one, or as [`Sock::open`] makes it.
    pub(crate) fn open(
        &self,
        address: &ServerAddress,
        source: Option<SocketAddr>,
        tcp: Tcp,
        watch: &Rc<Watch>,
    ) -> io::Result<Sock> {
        let kind = Kind::of(address, source, tcp);
        match kind.and_then(|kind| self.take(kind)) {
            Some(sock) => Ok(sock),
            None => Sock::open(address, source, tcp, watch),
        }
    }

    /// A socket of this kind that can be connected.
    fn take(&self, kind: Kind) -> Option<Sock> {
        let sock = self.take_free(kind).or_else(|| self.take_left(kind))?;
        // It may have been told of the last connection's end only now.
        sock.renew();
        Some(sock)
    }

    fn take_free(&self, kind: Kind) -> Option<Sock> {
        let mut free = self.free.borrow_mut();
        let at = free.iter().rposition(|sock| sock.kind() == Some(kind))?;
        let sock = free.remove(at);
        self.unused.set(self.unused.get().min(free.len()));
        Some(sock)
    }

    fn take_left(&self, kind: Kind) -> Option<Sock> {
        let mut leaving = self.leaving.borrow_mut();
        let at = leaving.iter().position(|sock| sock.kind() == Some(kind))?;
        if !leaving[at].is_over() {
            return None;
        }
        self.old.set(self.old.get() - usize::from(at < self.old.get()));
        leaving.remove(at).filter(|sock| sock.disconnect().is_ok())
    }

    /// Called every second: closes what nobody has needed since the last time, and what has waited
    /// for longer, so that the kernel's own timeouts hold for it.
    pub(crate) fn tidy(&self) {
        let mut free = self.free.borrow_mut();
        free.drain(..self.unused.get());
        self.unused.set(free.len());
        let mut leaving = self.leaving.borrow_mut();
        leaving.drain(..self.old.get());
        self.old.set(leaving.len());
    }

    /// Closes all; false if there are none.
    pub(crate) fn clear(&self) -> bool {
        self.unused.set(0);
        self.old.set(0);
        let (free, leaving) = (self.free.take(), self.leaving.take());
        !free.is_empty() || !leaving.is_empty()
    }
}

#[cfg(test)]
mod tests;
