//! stdout as a reader: written by a thread of its own, so that a stopped terminal or a slow pipe
//! holds up neither the loop nor Ctrl-C.

use super::outlet::{self, Outlet};
use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the end waits for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// The thread that writes to stdout.
#[derive(Debug)]
pub struct Terminal {
    done: mpsc::Receiver<io::Result<()>>,
}

impl Terminal {
    /// Starts the thread; what goes into the outlet, up to `backlog` bytes, comes out on stdout.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(backlog: usize) -> io::Result<(Self, Outlet)> {
        let (outlet, mut inlet) = outlet::pair(backlog);
        let (result, done) = mpsc::channel();
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            let mut stdout = io::stdout().lock();
            let mut written = Ok(());
            while let Some(batch) = inlet.blocking_next() {
                written = stdout.write_all(&batch).and_then(|()| stdout.flush());
                if written.is_err() {
                    break;
                }
            }
            // Nobody waits for it where the end was too impatient.
            let _ = result.send(written);
        })?;
        Ok((Self { done }, outlet))
    }

    /// Waits until all is written, once the outlet is dropped.
    ///
    /// # Errors
    /// What stdout said: a broken pipe where the reader went away.
    pub fn finish(self) -> io::Result<()> {
        self.done.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "stdout is not read; the end is cut off"))
        })
    }
}
