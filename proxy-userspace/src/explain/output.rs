//! The forms in which connections are shown, and what is said at the end.

use super::collect::{Ended, Output};
use super::columns::Columns;
use super::names::Placeholders;
use super::{Args, Foreign, How, Reading};
use crate::capture::detect::Kind;
use crate::report::clock::Stamp;
use crate::report::export::{eve, ipfix, zeek};
use crate::report::json;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::rc::Rc;

/// Bytes written at a time.
const BATCH: usize = 1 << 16;

/// One of the forms.
pub enum Shown {
    /// Columns, ladders, findings: for people.
    Columns(Box<Columns>),
    /// One line of text for each connection, as it ends.
    Lines(Lines),
}

impl Shown {
    /// The form that `args` ask for.
    #[must_use]
    pub fn new(args: &Args, how: &How, names: Rc<Placeholders>) -> Self {
        let form = match (args.json, args.format_out) {
            (true, _) => Form::Json(Stamp::local()),
            (_, Some(Foreign::Zeek)) => Form::Zeek,
            (_, Some(Foreign::Eve)) => Form::Eve,
            (_, Some(Foreign::IpfixJson)) => Form::Ipfix,
            (_, None) => return Self::Columns(Box::new(Columns::new(args, how, names))),
        };
        Self::Lines(Lines::new(form, names))
    }

    /// Connections shown.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Columns(columns) => columns.count(),
            Self::Lines(lines) => lines.count,
        }
    }

    /// Says what is left to say.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(&mut self, reading: &Reading) -> anyhow::Result<()> {
        match self {
            Self::Columns(columns) => columns.finish(reading)?,
            Self::Lines(lines) => lines.finish(reading)?,
        }
        Ok(())
    }
}

impl Output for Shown {
    fn begins(&mut self, kind: Kind) {
        if let Self::Columns(columns) = self {
            columns.begins(kind);
        }
    }

    fn ladders(&self) -> u64 {
        match self {
            Self::Columns(columns) => columns.ladders(),
            Self::Lines(_) => 0,
        }
    }

    fn close(&mut self, ended: &Ended<'_>) -> ControlFlow<()> {
        match self {
            Self::Columns(columns) => columns.close(ended),
            Self::Lines(lines) => lines.close(ended),
        }
    }
}

/// Forms of one line each.
enum Form {
    Json(Stamp),
    Zeek,
    Eve,
    Ipfix,
}

/// Writes a line for each connection when it ends.
pub struct Lines {
    form: Form,
    names: Rc<Placeholders>,
    line: Vec<u8>,
    out: BufWriter<io::Stdout>,
    failed: Option<io::Error>,
    count: u64,
}

impl Lines {
    fn new(form: Form, names: Rc<Placeholders>) -> Self {
        let mut line = Vec::new();
        if matches!(form, Form::Zeek) {
            zeek::header(&mut line, &now());
        }
        let out = BufWriter::with_capacity(BATCH, io::stdout());
        let mut lines = Self { form, names, line, out, failed: None, count: 0 };
        lines.write();
        lines
    }

    /// Hands the line on. An error ends the reading and is told at the end.
    fn write(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.out.write_all(&self.line)
        {
            self.failed = Some(error);
        }
        self.line.clear();
    }

    fn close(&mut self, ended: &Ended<'_>) -> ControlFlow<()> {
        self.count += 1;
        match &mut self.form {
            Form::Json(stamp) => {
                json::close(&mut self.line, &ended.record(), stamp);
                self.line.push(b'\n');
            }
            Form::Zeek => zeek::close(&mut self.line, &ended.traffic(), ended.close),
            Form::Eve => eve::close(&mut self.line, &ended.traffic(), ended.close),
            Form::Ipfix => ipfix::close(&mut self.line, &ended.traffic(), ended.close),
        }
        let ends = [&ended.close.orig.endpoint, &ended.close.resp.endpoint];
        self.names.restore_plain(&mut self.line, ends, !matches!(self.form, Form::Zeek));
        self.write();
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finish(&mut self, reading: &Reading) -> anyhow::Result<()> {
        if matches!(self.form, Form::Zeek) {
            zeek::footer(&mut self.line, &now());
            self.write();
        }
        if let Some(error) = self.failed.take() {
            return Err(error.into());
        }
        self.out.flush()?;
        let mut stderr = io::stderr().lock();
        for note in notes(reading) {
            writeln!(stderr, "teardown: {note}")?;
        }
        Ok(())
    }
}

/// The time that a log says it was written at: now, or what `SOURCE_DATE_EPOCH` says, so that the
/// same capture gives the same bytes (reproducible-builds.org).
fn now() -> Zoned {
    let told = std::env::var("SOURCE_DATE_EPOCH").ok();
    let told = told.and_then(|seconds| Timestamp::from_second(seconds.trim().parse().ok()?).ok());
    told.map_or_else(Zoned::now, |at| at.to_zoned(TimeZone::UTC))
}

/// What has to be said whatever the form: damage, and what was inferred.
#[must_use]
pub fn notes(reading: &Reading) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, account) in &reading.accounts {
        let before = notes.len();
        notes.extend(account.notes.iter().map(|note| format!("{name}: {note}")));
        let skipped = &account.skipped;
        for (count, what) in [
            (skipped.truncated, "were cut off by the snap length before their TCP header ended"),
            (skipped.malformed, "have impossible headers"),
            (skipped.link, "are on a link type that is not known"),
            (skipped.interface, "are on an interface that the file does not describe"),
            (account.bad_checksums, "have a wrong TCP checksum"),
        ] {
            if count > 0 {
                notes.push(format!("{name}: {count} packet(s) {what}"));
            }
        }
        // What is said already may be why.
        if account.packets > 0 && account.segments == 0 && notes.len() == before {
            notes.push(format!("{name}: none of its {} packet(s) is read as TCP", account.packets));
        }
        if let Some(damage) = &account.damage {
            notes.push(format!(
                "{name}: damaged at byte {}: {}; what stands before was read",
                damage.offset, damage.what
            ));
        }
    }
    notes
}
