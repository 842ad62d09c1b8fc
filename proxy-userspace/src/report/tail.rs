//! One live tail: filters, format, colour, and its own summary. Writes into a buffer that whoever
//! owns the tail empties once a batch.

use super::clock::Stamp;
use super::columns::{self, HEADER, Paint};
use super::filter::Filter;
use super::json;
use super::label::Label;
use super::put;
use super::record::Record;
use super::segment;
use super::summary::Summary;
use crate::units;
use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::segment::Segment;
use std::fmt;
use std::time::Duration;

/// How long a connection may be half open before `--half-open` alone speaks of it.
const HALF_OPEN_AFTER: Duration = Duration::from_secs(1);

/// What a tail shows, and how: the words that `watch` and `tail` share.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Look {
    /// One JSON object a line instead of columns
    #[arg(long)]
    pub json: bool,
    /// End after N closes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Show connections too that one end has closed and the other has not: a line once they have
    /// been so for a second, and those that are left at the end
    #[arg(long)]
    pub half_open: bool,
    /// The same, after T (5s, 200ms)
    #[arg(long, value_name = "T", value_parser = time)]
    pub half_open_after: Option<Duration>,
    /// What is shown at all.
    #[command(flatten)]
    pub filter: Filter,
}

/// A time on the command line: `5s`, `200ms`, `2m`; seconds where no unit is said.
///
/// # Errors
/// What is wrong with `text`.
pub fn time(text: &str) -> Result<Duration, units::UnitError> {
    units::time(text, 1_000_000).map(|ms| Duration::from_millis(ms.into()))
}

impl Look {
    /// How long a connection must be half open to be shown; `None` where none is.
    #[must_use]
    pub fn half_open_limit(&self) -> Option<Duration> {
        self.half_open_after.or(self.half_open.then_some(HALF_OPEN_AFTER))
    }
}

/// The words of the command line that make it, for the daemon to read.
impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            f.write_str(" --json")?;
        }
        if let Some(count) = self.count {
            write!(f, " --count={count}")?;
        }
        if self.half_open {
            f.write_str(" --half-open")?;
        }
        if let Some(after) = self.half_open_after {
            write!(f, " --half-open-after={}ms", after.as_millis())?;
        }
        self.filter.fmt(f)
    }
}

/// Where a line is meant to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Closes: stdout.
    Closes,
    /// What is said of them: beside them in columns, apart from them in JSON.
    Notes,
}

/// A tail.
#[derive(Debug)]
pub struct Tail {
    look: Look,
    paint: Paint,
    stamp: Stamp,
    summary: Summary,
    out: Vec<u8>,
    lines: u64,
    shown: u64,
    missed: u64,
}

impl Tail {
    /// A tail whose buffer holds the columns' header, if it has any.
    #[must_use]
    pub fn new(look: Look, paint: Paint) -> Self {
        let mut tail = Self {
            look,
            paint,
            stamp: Stamp::local(),
            summary: Summary::default(),
            out: Vec::new(),
            lines: 0,
            shown: 0,
            missed: 0,
        };
        if !tail.look.json {
            tail.out.extend_from_slice(HEADER.as_bytes());
        }
        tail
    }

    /// What it was asked to show.
    #[must_use]
    pub fn look(&self) -> &Look {
        &self.look
    }

    /// Says beforehand what will be missed.
    pub fn warn(&mut self, text: &str) {
        if self.look.json {
            self.out.extend_from_slice(b"{\"v\":1,\"warning\":");
            put::json_string(&mut self.out, text);
            self.out.extend_from_slice(b"}\n");
        } else {
            self.out.extend_from_slice(format!("[WARNING] {text}\n").as_bytes());
        }
    }

    /// Counts and writes a close, if it passes the filter.
    pub fn close(&mut self, record: &Record<'_>) {
        if self.is_done() || !self.look.filter.passes(record) {
            return;
        }
        self.shown += 1;
        self.summary.add(record);
        self.write(record);
    }

    /// Writes a connection that is half open; it is not counted as a close.
    pub fn half_open(&mut self, record: &Record<'_>) {
        if !self.is_done() && self.look.filter.passes(record) {
            self.write(record);
        }
    }

    /// Writes a control segment, if what is known of it passes the filter.
    pub fn segment<'a>(
        &mut self,
        key: &FlowKey,
        segment: &Segment,
        unix_ns: i64,
        names: &dyn Fn(&Endpoint) -> Label<'a>,
    ) {
        let ends = [&key.ends[0], &key.ends[1]];
        if self.is_done() || !self.look.filter.passes_segment(ends, names) {
            return;
        }
        self.lines += 1;
        if self.look.json {
            segment::json(&mut self.out, key, segment, unix_ns, &mut self.stamp);
        } else {
            segment::line(&mut self.out, key, segment, unix_ns, &mut self.stamp);
        }
    }

    fn write(&mut self, record: &Record<'_>) {
        self.lines += 1;
        if self.look.json {
            json::close(&mut self.out, record, &mut self.stamp);
            self.out.push(b'\n');
        } else {
            columns::close(&mut self.out, record, &mut self.stamp, self.paint);
        }
    }

    /// Whether `--count` closes have been shown.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.look.count.is_some_and(|count| self.shown >= count)
    }

    /// Empties the buffer into `send`, which says whether it took the lines. Those that it did not
    /// take are counted, and spoken of as soon as it takes something again.
    pub fn flush(&mut self, mut send: impl FnMut(&[u8], Stream) -> bool) {
        if self.missed > 0 {
            let mut note = Vec::new();
            self.missed_note(&mut note);
            if send(&note, Stream::Notes) {
                self.missed = 0;
            }
        }
        if !self.out.is_empty() {
            if self.missed > 0 || !send(&self.out, Stream::Closes) {
                self.missed += self.lines;
            }
            self.out.clear();
        }
        self.lines = 0;
    }

    fn missed_note(&self, out: &mut Vec<u8>) {
        if self.look.json {
            out.extend_from_slice(b"{\"v\":1,\"missed\":");
            put::number(out, self.missed);
            out.extend_from_slice(b"}\n");
        } else {
            out.extend_from_slice(b"-- ");
            put::number(out, self.missed);
            out.extend_from_slice(b" lines missed here, as they were not read fast enough\n");
        }
    }

    /// The summary: closes by kind and backend, and every kind of loss, zero too.
    #[must_use]
    pub fn end<'a>(
        &self,
        names: &dyn Fn(&Endpoint) -> Label<'a>,
        losses: &[(String, u64)],
    ) -> Vec<u8> {
        let mut out = Vec::new();
        if self.look.json {
            self.end_json(&mut out, losses);
        } else {
            out.push(b'\n');
            self.summary.print(&mut out, names);
            put::number(&mut out, self.shown);
            out.extend_from_slice(b" closes shown, ");
            put::number(&mut out, losses.iter().map(|(_, count)| count).sum());
            out.extend_from_slice(b" events lost");
            for (at, (name, count)) in losses.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b": " } else { b", " });
                let name = name.strip_prefix("lost_").unwrap_or(name);
                out.extend_from_slice(name.replace('_', " ").as_bytes());
                out.push(b' ');
                put::number(&mut out, *count);
            }
            out.push(b'\n');
        }
        out
    }

    fn end_json(&self, out: &mut Vec<u8>, losses: &[(String, u64)]) {
        out.extend_from_slice(b"{\"v\":1,\"summary\":{\"closes\":");
        put::number(out, self.shown);
        out.extend_from_slice(b",\"kinds\":{");
        for (at, (kind, count)) in self.summary.kinds().into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            put::json_string(out, &kind.to_string());
            out.push(b':');
            put::number(out, count);
        }
        out.extend_from_slice(b"},\"lost\":");
        put::number(out, losses.iter().map(|(_, count)| count).sum());
        for (name, count) in losses {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            put::number(out, *count);
        }
        out.extend_from_slice(b"}}\n");
    }
}
