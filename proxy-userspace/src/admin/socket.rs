//! The runtime socket's file: made for its owner alone, taken over from a dead daemon, never from
//! a living one.

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::process::umask;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where the daemon listens when nothing else is said.
pub const DEFAULT_PATH: &str = "/run/teardown.sock";

/// How long others are let finish that take a socket in the same folder.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// This process listens there already.
    #[error("{path} is asked for twice: each socket needs a path of its own", path = .path.display())]
    Twice {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not ours to remove stands there.
    #[error("{path} exists and is no stream socket; choose another path", path = .path.display())]
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
        // Until it listens: another one that starts now would take the file for a dead daemon's.
        let _others_wait = alone_in_the_folder(path);
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

/// A lock on the folder of `path`. Who cannot have it goes on without: anybody who may read the folder
/// could keep daemons from starting else.
fn alone_in_the_folder(path: &Path) -> Option<OwnedFd> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(folder.unwrap_or(Path::new(".")), flags, Mode::empty()).ok()?;
    let patient = Instant::now() + PATIENCE;
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(folder),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < patient => {
                sleep(Duration::from_millis(5));
            }
            Err(_) => return None,
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
            let path = path.to_owned();
            match pid == std::process::id().to_string() {
                true => Err(SocketError::Twice { path }),
                false => Err(SocketError::InUse { path, pid }),
            }
        }
        Err(error) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => {
            Err(SocketError::NotASocket { path: path.to_owned() })
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
    use std::os::unix::net::UnixDatagram;
    use std::sync::Barrier;

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
    fn of_many_that_want_a_dead_owners_at_once_one_has_it() {
        for _ in 0..100 {
            let folder = tempfile::tempdir().expect("a folder of its own");
            let path = folder.path().join("teardown.sock");
            drop(UnixListener::bind(&path).expect("a free path"));
            let all = Barrier::new(4);
            let bind = || {
                all.wait();
                RuntimeSocket::bind(&path)
            };
            let bound: Vec<_> = std::thread::scope(|scope| {
                let each = [(); 4].map(|()| scope.spawn(bind));
                each.map(|one| one.join().expect("no panic")).into()
            });
            let refused = |one: &Result<_, _>| matches!(one, Err(SocketError::Twice { .. }));
            assert_eq!(bound.iter().filter(|one| refused(one)).count(), 3, "{bound:?}");
            UnixStream::connect(&path).expect("the one that is left answers");
        }
    }

    #[test]
    fn who_holds_the_folder_keeps_nobody_out() {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let held = fs::File::open(folder.path()).expect("a folder");
        flock(&held, FlockOperation::LockExclusive).expect("nobody else has it");
        RuntimeSocket::bind(&folder.path().join("teardown.sock")).expect("a free path");
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
        let path = folder.path().join("log");
        let _log = UnixDatagram::bind(&path).expect("a free path");
        let error = RuntimeSocket::bind(&path).expect_err("a syslog daemon's");
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
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
