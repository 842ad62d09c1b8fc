//! Log lines for descriptors, each descriptor's written by a thread of its own.
//!
//! A stopped terminal, or a pipe that nobody reads, holds up whoever writes to it: that must be no
//! worker. `O_NONBLOCK` is no way out, as other processes share the descriptor's file.

use crate::privilege;
use rustix::fd::BorrowedFd;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that may wait for a descriptor; further ones are dropped.
const BACKLOG: usize = 1_024;
/// How long the end waits for the lines before it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The threads, each begun with its descriptor's first line.
#[derive(Debug, Default)]
pub(super) struct Writers {
    all: Mutex<HashMap<RawFd, SyncSender<Job>>>,
    /// Lines that could not be written.
    failed: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Job {
    Line(Vec<u8>),
    /// Everything before it is written once this is dropped.
    Mark(mpsc::Sender<()>),
}

impl Writers {
    /// Has a line written, and never waits; false where too many wait already.
    pub(super) fn send(&self, fd: RawFd, line: &[u8]) -> bool {
        if fd < 0 {
            return false;
        }
        let line = Job::Line(line.to_vec());
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = match all.entry(fd) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match self.begin(fd) {
                Ok(queue) => new.insert(queue),
                Err(_) => return false,
            },
        };
        queue.try_send(line).is_ok()
    }

    fn begin(&self, fd: RawFd) -> io::Result<SyncSender<Job>> {
        let (queue, jobs) = mpsc::sync_channel(BACKLOG);
        let failed = Arc::clone(&self.failed);
        thread::Builder::new()
            .name(format!("log-fd-{fd}"))
            .spawn(move || write(fd, &jobs, &failed))?;
        Ok(queue)
    }

    /// Lines that were taken and could not be written.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Waits until what was sent is written, a second at most for each descriptor.
    pub(super) fn flush(&self) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for queue in all.values() {
            let (mark, reached) = mpsc::channel();
            // A full queue belongs to one that takes nothing.
            if queue.try_send(Job::Mark(mark)).is_ok() {
                let _ = reached.recv_timeout(PATIENCE);
            }
        }
    }
}

/// Writes what comes, each line whole, until the other end is gone.
fn write(fd: RawFd, jobs: &Receiver<Job>, failed: &AtomicU64) {
    // Whoever sent the first line may have capabilities. Without this thread no line is taken.
    if privilege::drop_all().is_err() {
        return;
    }
    // SAFETY: the operator says that this descriptor was inherited for logs; it is only written to,
    // and a closed one gives EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    for job in jobs {
        match job {
            Job::Line(line) if rustix::io::write(fd, &line) == Ok(line.len()) => {}
            Job::Line(_) => {
                failed.fetch_add(1, Relaxed);
            }
            Job::Mark(mark) => drop(mark),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_pipe_that_nobody_reads_holds_up_nobody() {
        let (mut reader, writer) = io::pipe().unwrap();
        let fd = writer.as_raw_fd();
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let writers = Writers::default();
            let taken = (0..3_000).filter(|_| writers.send(fd, &[b'x'; 100])).count();
            let _ = done.send((writers, taken));
        });
        let (writers, taken) = is_done.recv_timeout(Duration::from_secs(10)).unwrap();
        // A pipe holds 64 KiB.
        assert!((BACKLOG..2_500).contains(&taken), "{taken}");
        let mut read = vec![0; taken * 100];
        reader.read_exact(&mut read).unwrap();
        drop(reader);
        let begun = std::time::Instant::now();
        // A process that another test is just starting has the reader too, for a moment.
        while writers.failed() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody can read it");
            assert!(writers.send(fd, b"x"));
            writers.flush();
        }
    }
}
