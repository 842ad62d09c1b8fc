//! Bodies that never enter the process: socket to pipe to socket by splice(2).

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags},
};

/// A server's head is read with so much of its body at most: more would be copied in vain where
/// the rest goes through a pipe.
pub(crate) const FIRST_READ: usize = 4 * 1024;

/// Above this what is left of a body goes through a pipe; below it is copied. So much costs the same
/// either way (docs/performance.md).
pub(crate) const LARGE: u64 = 24 * 1024;

/// Large pipes move more per call; the kernel grants an unprivileged user only so many pages.
const SIZES: [usize; 2] = [1024 * 1024, 256 * 1024];

/// Empty pipes that are kept for the next body.
const SPARE: usize = 32;

/// A pipe with some bytes in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    size: usize,
    pub(crate) filled: usize,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let grown = SIZES.iter().find_map(|&s| rustix::pipe::fcntl_setpipe_size(&write, s).ok());
        Ok(Self { read, write, size: grown.unwrap_or(64 * 1024), filled: 0 })
    }

    /// Moves at most `limit` bytes in; 0 is the end of the source.
    pub(crate) fn fill(&mut self, from: impl AsFd, limit: u64) -> io::Result<usize> {
        let room = self.size - self.filled;
        let count = usize::try_from(limit).unwrap_or(usize::MAX).min(room);
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = retry(|| rustix::pipe::splice(&from, None, &self.write, None, count, flags))?;
        self.filled += moved;
        Ok(moved)
    }

    /// Moves bytes out; `more` says that others follow.
    pub(crate) fn drain(&mut self, to: impl AsFd, more: bool) -> io::Result<usize> {
        let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        if more {
            flags |= SpliceFlags::MORE;
        }
        let moved =
            retry(|| rustix::pipe::splice(&self.read, None, &to, None, self.filled, flags))?;
        self.filled -= moved;
        Ok(moved)
    }
}

fn retry(mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Pipes of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pipes(RefCell<Vec<Pipe>>);

impl Pipes {
    /// An empty pipe; none if descriptors are short, and the body is copied then.
    pub(crate) fn take(&self) -> Option<Pipe> {
        self.0.borrow_mut().pop().or_else(|| Pipe::new().ok())
    }

    /// Keeps an empty pipe; one with bytes left in it is closed.
    pub(crate) fn give_back(&self, pipe: Pipe) {
        let mut spare = self.0.borrow_mut();
        if pipe.filled == 0 && spare.len() < SPARE {
            spare.push(pipe);
        }
    }
}
