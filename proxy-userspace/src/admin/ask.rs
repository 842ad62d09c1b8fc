//! One line to the running daemon, and its answer.

use anyhow::anyhow;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Says `line` on the runtime socket; gives the answer without the empty line behind it.
///
/// # Errors
/// Where no daemon answers.
pub(super) fn ask(socket: &Path, line: &str) -> anyhow::Result<String> {
    let mut stream =
        UnixStream::connect(socket).map_err(|error| unreachable_daemon(socket, &error))?;
    let mut answer = String::new();
    let said = stream.write_all(format!("{line}\n").as_bytes());
    said.and_then(|()| stream.shutdown(Shutdown::Write))
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(|error| gone(socket, &error))?;
    answer.truncate(answer.trim_end().len());
    if answer.is_empty() {
        return Err(gone(socket, &io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(answer)
}

/// What is said where nobody listens.
pub(super) fn unreachable_daemon(socket: &Path, error: &io::Error) -> anyhow::Error {
    let at = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => anyhow!(
            "no daemon answers at {at}: start one with 'teardown run', or name its socket with \
             --socket"
        ),
        io::ErrorKind::PermissionDenied => {
            anyhow!("{at} belongs to the user that runs the daemon: permission denied")
        }
        _ => anyhow!("cannot reach the daemon at {at}: {error}"),
    }
}

/// What is said where the daemon ends in mid-speech. In words alone: as a cause, a broken pipe would
/// be taken for stdout's, whose reader may leave when he likes.
pub(super) fn gone(socket: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("the daemon at {} is gone without a word: {error}", socket.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_daemon_that_dies_is_a_failure_and_no_reader_that_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a free path");
        let daemon = std::thread::spawn(move || drop(listener.accept().expect("a client").0));
        // More than the socket holds: the writing itself fails.
        let error = ask(&path, &"x".repeat(8 << 20)).expect_err("it is gone");
        daemon.join().expect("no panic");
        assert!(error.to_string().contains("is gone without a word"), "{error}");
        assert!(!error.chain().any(|cause| cause.is::<io::Error>()), "{error:?}");
        let error = ask(&path, "show info").expect_err("nobody listens");
        assert!(error.to_string().contains("start one with 'teardown run'"), "{error}");
    }
}
