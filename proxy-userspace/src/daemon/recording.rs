//! `--write`: control segments and closes on their way into a pcapng file, written by a thread of
//! its own so that a slow disk holds up nothing.

use super::tape::Tape;
use crate::admin::outlet;
use crate::capture::write::recorder;
use crate::capture::write::rotate::Rotating;
use crate::capture::write::target::Target;
use crate::kernel::MOST_PAYLOAD;
use crate::privilege::{self, PrivilegeError};
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How much the disk may be behind before blocks are left out, in bytes.
const BACKLOG: usize = 64 << 20;
/// What is said at the end of a recording that lacks something.
pub(super) const INCOMPLETE: &str = "the recording is incomplete";
/// How long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is written where.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Recording")]
pub struct Write {
    #[command(flatten)]
    target: Target,
    /// Write the first N bytes, at most 1024, of the data too that a control segment carries, as a
    /// response whose last segment has the FIN: they may be private
    #[arg(long, value_name = "N", requires = "path",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PAYLOAD)))]
    payload: Option<u32>,
}

impl Write {
    /// Bytes of data to be told with each segment.
    #[must_use]
    pub fn payload(&self) -> u32 {
        self.payload.unwrap_or(0)
    }

    /// Whether anything is to be written, for which the kernel side must tell segments.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.target.is_wanted()
    }

    /// Creates the file and starts the thread that writes to it.
    ///
    /// # Errors
    /// Where either cannot be done.
    pub fn start(&self) -> io::Result<Option<Recording>> {
        self.open()?.map(Opened::start).transpose()
    }

    /// Creates the file while this process may. A thread that creates more of them later starts now,
    /// and keeps the right; what writes one file needs no right, and starts when root is given up.
    ///
    /// # Errors
    /// Where it cannot be done.
    pub(super) fn open(&self) -> io::Result<Option<Opened>> {
        let Some(file) = self.target.create(recorder::head())? else { return Ok(None) };
        let opened = if file.rotates() {
            Opened::Begun(begin(file, privilege::drop_all_but_files)?)
        } else {
            Opened::File(file)
        };
        Ok(Some(opened))
    }
}

/// What is ready to be written.
pub(super) enum Opened {
    /// One file.
    File(Rotating),
    /// A row of files, whose thread waits.
    Begun(Recording),
}

impl Opened {
    /// Starts the thread that writes, if it has not begun.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(super) fn start(self) -> io::Result<Recording> {
        match self {
            Self::File(file) => begin(file, privilege::drop_all),
            Self::Begun(recording) => Ok(recording),
        }
    }
}

/// Starts the thread that writes; it first gives up what `give_up` says.
fn begin(mut file: Rotating, give_up: fn() -> Result<(), PrivilegeError>) -> io::Result<Recording> {
    let (outlet, mut inlet) = outlet::pair(BACKLOG);
    let (result, done) = mpsc::channel();
    thread::Builder::new().name("recording".to_owned()).spawn(move || {
        let mut written = give_up().map_err(io::Error::other).and_then(|()| file.flush());
        while written.is_ok()
            && let Some(blocks) = inlet.blocking_next()
        {
            written = file.write(&blocks).and_then(|()| file.flush());
        }
        if let Err(error) = &written {
            tracing::error!("{}: nothing more is recorded: {error}", file.name().display());
        }
        let _ = result.send(written);
    })?;
    Ok(Recording { tape: Tape::new(outlet), done })
}

/// A file that is being written.
#[derive(Debug)]
pub struct Recording {
    pub(super) tape: Tape,
    done: mpsc::Receiver<io::Result<()>>,
}

impl Recording {
    /// Hands on everything, and waits for the disk.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self { mut tape, done } = self;
        let missed = tape.finish();
        // The thread ends when nothing more can come.
        drop(tape);
        if missed > 0 {
            tracing::warn!("{missed} batches of segments and closes are missing in the file");
        }
        done.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the file cannot be written fast enough"))
        })
    }
}
