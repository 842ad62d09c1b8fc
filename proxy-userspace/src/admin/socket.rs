//! The runtime socket's file: made for its owner alone, taken over from a dead daemon, never from
//! a living one.

use rustix::fs::Mode;
use rustix::process::umask;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Where the daemon listens when nothing else is said.
pub const DEFAULT_PATH: &str = "/run/teardown.sock";

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("{path} is in use by process {pid}; stop that one, or choose another with --socket", path = .path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Who listens on it.
        pid: String,
    },
    /// Something that is not ours to remove stands there.
    #[error("{path} exists and is not a socket; choose another with --socket", path = .path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen on {path}: {source}{hint}", path = .path.display(), hint = hint(source))]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// What helps who has not the right.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run it as root, or choose another with --socket",
        _ => "",
    }
}

/// A listening socket, whose file goes when it is dropped.
#[derive(Debug)]
pub struct RuntimeSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The file's device and inode: another's file in its place is not ours to remove.
    identity: (u64, u64),
}

impl RuntimeSocket {
    /// Listens on `path`, mode 0600. A socket that nobody answers on is replaced.
    ///
    /// # Errors
    /// Where somebody lives there already, where it is something else, or where the system refuses.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let refused = |source| SocketError::Refused { path: path.to_owned(), source };
        make_way(path)?;
        // The file must never be open to others, not even between bind and chmod.
        let before = umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let file = fs::symlink_metadata(path).map_err(refused)?;
        Ok(Self { listener, path: path.to_owned(), identity: (file.dev(), file.ino()) })
    }

    /// The listener, to be waited on by tokio; the file stays until `self` is dropped.
    ///
    /// # Errors
    /// Where its descriptor cannot be copied or registered.
    pub fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for RuntimeSocket {
    fn drop(&mut self) {
        let ours = |file: fs::Metadata| (file.dev(), file.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a dead daemon left at `path`.
fn make_way(path: &Path) -> Result<(), SocketError> {
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    if !file.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    let refused = |source| SocketError::Refused { path: path.to_owned(), source };
    match UnixStream::connect(path) {
        Ok(stream) => {
            let owner = rustix::net::sockopt::socket_peercred(&stream);
            let pid =
                owner.map_or_else(|_| "?".to_owned(), |who| who.pid.as_raw_nonzero().to_string());
            Err(SocketError::InUse { path: path.to_owned(), pid })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(refused)
        }
        Err(error) => Err(refused(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_its_owner_may_open_it_and_it_goes_at_the_end() {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let path = folder.path().join("teardown.sock");
        let socket = RuntimeSocket::bind(&path).expect("a free path");
        let _listener = socket.listener().expect("it is registered");
        assert_eq!(fs::metadata(&path).expect("the file").mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_living_owner_keeps_it_and_is_named() {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let path = folder.path().join("teardown.sock");
        let _living = RuntimeSocket::bind(&path).expect("a free path");
        let error = RuntimeSocket::bind(&path).expect_err("it is taken").to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn a_dead_owners_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let path = folder.path().join("teardown.sock");
        drop(UnixListener::bind(&path).expect("a free path"));
        assert!(path.exists(), "a plain listener leaves its file");
        RuntimeSocket::bind(&path).expect("nobody answers there");
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let path = folder.path().join("precious");
        fs::write(&path, "data").expect("a file");
        let error = RuntimeSocket::bind(&path).expect_err("it is no socket");
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read(&path).expect("the file"), b"data");
    }

    #[test]
    fn a_successors_file_is_not_removed() {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let path = folder.path().join("teardown.sock");
        let old = RuntimeSocket::bind(&path).expect("a free path");
        fs::remove_file(&path).expect("somebody removes it");
        let _new = RuntimeSocket::bind(&path).expect("the path is free again");
        drop(old);
        assert!(path.exists());
    }
}
