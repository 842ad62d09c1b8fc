//! `--write`: control segments and closes on their way into a pcapng file, written by a thread of
//! its own so that a slow disk holds up nothing.

use super::clock::WallClock;
use crate::admin::outlet::{self, Outlet, Sent};
use crate::capture::write::recorder::{self, Recorder, shifted};
use crate::capture::write::rotate::{Limits, Rotating};
use crate::capture::write::stored::Stored;
use crate::kernel::MOST_PAYLOAD;
use crate::privilege;
use crate::report::kind::Kind;
use crate::report::record::Record;
use crate::report::story::time;
use crate::units;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::segment::Segment;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How much the disk may be behind before blocks are left out, in bytes.
const BACKLOG: usize = 64 << 20;
/// How long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is written where.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Recording")]
pub struct Write {
    /// Write the control segments of every connection, each close as a comment of its last packet,
    /// into a pcapng file: Wireshark opens it, and `teardown explain` reads the same closes back
    #[arg(long = "write", short = 'w', value_name = "FILE")]
    path: Option<PathBuf>,
    /// Write the first N bytes of the data too that a control segment carries, as a response whose
    /// last segment has the FIN. They may hold what is nobody else's business
    #[arg(long, value_name = "N", requires = "path",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PAYLOAD)))]
    payload: Option<u32>,
    /// Begin another file when one reaches this size (100m, 1g): FILE.1.pcapng and so on
    #[arg(long, value_name = "SIZE", requires = "path", value_parser = units::size)]
    rotate: Option<u64>,
    /// Keep this many files, and remove older ones
    #[arg(long, value_name = "N", requires = "rotate",
        value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
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
        self.path.is_some()
    }

    /// Creates the file and starts the thread that writes to it.
    ///
    /// # Errors
    /// Where either cannot be done.
    pub fn start(&self) -> io::Result<Option<Recording>> {
        let Some(path) = &self.path else { return Ok(None) };
        let limits = Limits { size: self.rotate, files: self.keep };
        let mut file = Rotating::create(path, limits, recorder::head())?;
        let (outlet, mut inlet) = outlet::pair(BACKLOG);
        let (result, done) = mpsc::channel();
        // The next files are created when root is long given up: this thread keeps the right.
        let rotates = limits.size.is_some();
        thread::Builder::new().name("recording".to_owned()).spawn(move || {
            let dropped =
                if rotates { privilege::drop_all_but_files() } else { privilege::drop_all() };
            let mut written = dropped.map_err(io::Error::other).and_then(|()| file.flush());
            while written.is_ok()
                && let Some(blocks) = inlet.blocking_next()
            {
                written = file.write(&blocks).and_then(|()| file.flush());
            }
            let _ = result.send(written);
        })?;
        Ok(Some(Recording { recorder: Recorder::default(), outlet, done, missed: 0 }))
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct Recording {
    recorder: Recorder,
    outlet: Outlet,
    done: mpsc::Receiver<io::Result<()>>,
    /// Batches that were left out, as the disk was too slow or gave up.
    missed: u64,
}

impl Recording {
    /// Takes a control segment, with the first bytes of its data.
    pub(super) fn segment(&mut self, key: &FlowKey, segment: &Segment, data: &[u8], unix_ns: i64) {
        self.recorder.segment(key, segment, data, unix_ns.unsigned_abs());
    }

    /// Takes a close.
    pub(super) fn close(
        &mut self,
        key: &FlowKey,
        flow: &Flow,
        record: &Record<'_>,
        clock: &WallClock,
    ) {
        let word = |word: Option<&str>| word.map(Into::into);
        let label = &record.label;
        let stored = Stored {
            key: *key,
            flow: shifted(flow, clock.unix_ns(0)),
            words: [
                word(label.proxy),
                word(label.backend),
                word(label.server),
                word(record.rst_reason),
                word(record.change.and_then(|change| change.rule)),
            ],
            change: record.change.map(|change| (change.cause, change.asked, change.sent)),
        };
        self.recorder.close(&stored, comment(record), record.unix_ns.unsigned_abs());
    }

    /// Hands on what is ready by `unix_ns`.
    pub(super) fn flush(&mut self, unix_ns: i64) {
        self.recorder.release(unix_ns.unsigned_abs());
        self.send();
    }

    fn send(&mut self) {
        let blocks = self.recorder.take();
        if !blocks.is_empty() && self.outlet.send(&blocks) != Sent::Queued {
            self.missed += 1;
        }
    }

    /// Hands on everything, and waits for the disk.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.recorder.release_all();
        self.send();
        let Self { outlet, done, missed, .. } = self;
        drop(outlet);
        if missed > 0 {
            tracing::warn!("{missed} batches of segments and closes are missing in the file");
        }
        done.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the file cannot be written fast enough"))
        })
    }
}

/// A close in a line, as Wireshark shows it beside the packet.
fn comment(record: &Record<'_>) -> String {
    let close = record.close;
    let mut text = format!(
        "teardown: {} {}: {}",
        close.conn_state.as_str(),
        close.history.as_str(),
        Kind::of(close)
    );
    if let Some(ns) = record.half_closed_ns() {
        text.push_str(&format!(", half closed for {}", time(ns)));
    }
    for (bytes, word) in [(record.unread_bytes(), "unread"), (record.unacked_bytes(), "unacked")] {
        if let Some(bytes) = bytes.filter(|&bytes| bytes > 0) {
            text.push_str(&format!(", {bytes} bytes {word}"));
        }
    }
    if let Some(why) = record.why() {
        text.push_str(&format!(", {why}"));
    }
    let mut name = Vec::new();
    record.label.put(&mut name);
    if !name.is_empty() {
        text.push_str(&format!(", {}", String::from_utf8_lossy(&name)));
    }
    if let Some(owner) = record.owner() {
        text.push_str(&format!(", {}/{}", owner.name(), owner.pid));
    }
    text
}
