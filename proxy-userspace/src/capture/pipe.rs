//! A pipe that somebody still writes into: whether more is there now is told apart from its end.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long nothing comes before that is told again, in nanoseconds.
const PAUSE_NS: i64 = 200_000_000;

/// Set by [`end_at_interrupt`]'s signal.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Reads a pipe. Where it is empty and not at its end, reading fails with
/// [`ErrorKind::WouldBlock`]: at once the first time, then after each [`PAUSE_NS`].
#[derive(Debug)]
pub(super) struct Pipe {
    file: File,
    is_drained: bool,
}

impl Pipe {
    /// Takes `file` where it is a pipe or a socket, and gives it back where it is not.
    pub(super) fn of(file: File) -> Result<Self, File> {
        let kind = file.metadata().map(|meta| meta.file_type());
        match kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket()) {
            true => Ok(Self { file, is_drained: false }),
            false => Err(file),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tv_nsec = if self.is_drained { PAUSE_NS } else { 0 };
        let mut pipe = [PollFd::new(&self.file, PollFlags::IN)];
        if poll(&mut pipe, Some(&Timespec { tv_sec: 0, tv_nsec }))? > 0 {
            self.is_drained = false;
            return self.file.read(buffer);
        }
        if self.is_drained && INTERRUPTED.load(Ordering::Relaxed) {
            return Ok(0);
        }
        self.is_drained = true;
        Err(ErrorKind::WouldBlock.into())
    }
}

/// Waits where the stream that is read does not: for who cannot go on in the middle.
pub(super) struct Waiting<R>(pub(super) R);

impl<R: Read> Read for Waiting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }
}

/// Lets the first SIGINT end pipes that are read once they are empty, so that what was read is still
/// summed up: Ctrl-C ends `tcpdump | teardown explain -` as a whole. The second one kills.
pub fn end_at_interrupt() {
    extern "C" fn note(_: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    // SAFETY: all zeros are a valid `sigaction`: no flags, an empty mask, the default handler.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = note as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESETHAND;
    // SAFETY: the handler only stores into an atomic, which is safe at any time.
    unsafe { libc::sigaction(libc::SIGINT, &raw const action, std::ptr::null_mut()) };
}
