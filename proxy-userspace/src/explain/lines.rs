//! One line of text for each connection, as it ends.

use super::Reading;
use super::collect::Ended;
use super::names::Placeholders;
use super::notes::notes;
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

/// Forms of one line each.
pub enum Form {
    /// teardown's own.
    Json(Stamp),
    /// Zeek's `conn.log`.
    Zeek,
    /// Suricata's `flow` events.
    Eve,
    /// IPFIX, as JSON.
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
    /// In that form.
    #[must_use]
    pub fn new(form: Form, names: Rc<Placeholders>) -> Self {
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

    /// A connection has ended.
    pub fn close(&mut self, ended: &Ended<'_>) -> ControlFlow<()> {
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

    /// Hands on what is held back.
    pub fn flush(&mut self) -> ControlFlow<()> {
        if self.failed.is_none() {
            self.failed = self.out.flush().err();
        }
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Connections shown.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Says what is left to say.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(&mut self, reading: &Reading) -> anyhow::Result<()> {
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
