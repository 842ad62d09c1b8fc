//! `daemon`: into the background, once everything that can fail has been done.
//!
//! The process that was started waits for its child, which does all the work: it ends well when the
//! child serves, and as the child did when that could not. What is wrong is said on the terminal
//! either way.

use crate::console;
use anyhow::Context;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, setsid, waitpid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::os::fd::OwnedFd;

/// A child that is not yet in the background.
#[derive(Debug)]
pub(super) struct Background {
    parent: OwnedFd,
    /// /dev/null: a chroot may have none.
    null: OwnedFd,
}

impl Background {
    /// Goes on in a child; the parent never comes back from here. To be called before other threads
    /// are started, and before a chroot.
    ///
    /// # Errors
    /// Where there cannot be a child, or is no /dev/null.
    pub(super) fn begin() -> anyhow::Result<Self> {
        let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .context("cannot open /dev/null to go into the background")?;
        let (served, parent) =
            pipe_with(PipeFlags::CLOEXEC).context("cannot go into the background")?;
        // SAFETY: there is one thread, so that the child finds no lock taken by another one.
        let child = unsafe { libc::fork() };
        if child < 0 {
            let error = std::io::Error::last_os_error();
            return Err(error).context("cannot go into the background");
        }
        match Pid::from_raw(child) {
            Some(child) => {
                drop(parent);
                std::process::exit(outcome(child, &served))
            }
            None => {
                // A session of its own: no terminal's signals are for it any more.
                setsid().context("cannot leave the terminal")?;
                Ok(Self { parent, null })
            }
        }
    }

    /// Lets the parent end, and the terminal go.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(super) fn ready(self) -> anyhow::Result<()> {
        console::settle();
        dup2_stdin(&self.null)?;
        dup2_stdout(&self.null)?;
        dup2_stderr(&self.null)?;
        // A parent that was killed meanwhile needs no word.
        let _ = write(&self.parent, b"!");
        Ok(())
    }
}

/// The exit code for the one who started us.
fn outcome(child: Pid, served: &OwnedFd) -> i32 {
    let mut word = [0; 1];
    loop {
        match read(served, &mut word) {
            Ok(1) => return 0,
            Err(rustix::io::Errno::INTR) => {}
            _ => break,
        }
    }
    let status = waitpid(Some(child), WaitOptions::empty()).ok().flatten();
    status.and_then(|(_, status)| status.exit_status()).unwrap_or(i32::from(console::FAILED))
}
