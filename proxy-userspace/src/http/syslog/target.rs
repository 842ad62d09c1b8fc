//! A `log` line's way to whoever reads it.

use super::Header;
use super::writers::Writers;
use crate::host;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// UDP.
    Udp(SocketAddr),
    /// A Unix datagram socket's path.
    Unix(PathBuf),
    /// An inherited descriptor: 1 and 2 are standard output and error.
    Fd(i32),
}

/// One `log` line.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it is.
    pub place: Place,
    /// The header.
    pub header: Header,
    /// The facility's number.
    pub facility: u8,
    /// The least urgent level that is sent.
    pub level: u8,
    /// Levels more urgent than this are sent as this.
    pub min_level: u8,
    /// The longest message in bytes.
    pub length: usize,
    sender: Arc<Sender>,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        (&self.place, self.header, self.facility, self.level, self.min_level, self.length)
            == (
                &other.place,
                other.header,
                other.facility,
                other.level,
                other.min_level,
                other.length,
            )
    }
}

#[derive(Debug)]
enum Sender {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Fd(i32),
}

impl Target {
    /// Opens the way to `place`; to be done before a chroot.
    ///
    /// # Errors
    /// The system's refusal. A syslog server that is not there is no error: it may come.
    pub fn open(place: Place) -> io::Result<Self> {
        let sender = match &place {
            Place::Udp(to) => {
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                Sender::Udp(socket)
            }
            Place::Unix(path) => {
                let opened = host::sockets(|| {
                    let socket = UnixDatagram::unbound()?;
                    socket.set_nonblocking(true)?;
                    // Within a chroot the path may be another one: what is there now is kept.
                    let _ = socket.connect(path);
                    Ok(vec![socket.into()])
                })?;
                let socket = opened.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
                Sender::Unix(socket.into())
            }
            Place::Fd(fd) => Sender::Fd(*fd),
        };
        Ok(Self {
            place,
            header: Header::Local,
            facility: 16,
            level: 7,
            min_level: 0,
            length: 1024,
            sender: Arc::new(sender),
        })
    }

    /// Sends a message; says whether it went.
    pub(super) fn send(&self, message: &[u8], writers: &Writers) -> bool {
        match (&*self.sender, &self.place) {
            (Sender::Udp(socket), Place::Udp(to)) => socket.send_to(message, to).is_ok(),
            (Sender::Unix(socket), Place::Unix(path)) => {
                // A syslog server that was started anew is found by its path.
                socket.send(message).is_ok() || socket.send_to(message, path).is_ok()
            }
            (Sender::Fd(fd), _) => writers.send(*fd, message),
            _ => false,
        }
    }
}
