//! The service manager that started the daemon and waits for its word (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager; nobody, where the daemon was started by hand.
#[derive(Debug)]
pub(super) struct Manager(Option<UnixDatagram>);

impl Manager {
    /// Connects to it. To be called before a chroot: behind one its socket is not found any more.
    pub(super) fn connect() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").and_then(|place| connect(&place).ok()))
    }

    pub(super) fn waits(&self) -> bool {
        self.0.is_some()
    }

    /// One that does not hear any more is nobody's loss.
    pub(super) fn tell(&self, word: &str) {
        if let Some(socket) = &self.0 {
            let _ = socket.send(word.as_bytes());
        }
    }
}

fn connect(place: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match place.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(place)?,
    }
    Ok(socket)
}
