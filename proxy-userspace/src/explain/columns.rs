//! What people see: lines, ladders, a summary where there is too much, and the findings.

use super::collect::{Ended, Output};
use super::names::Placeholders;
use super::notes::notes;
use super::{Args, How, Reading};
use crate::capture::detect::Kind;
use crate::capture::heads::Heads;
use crate::ends::address;
use crate::labels::Labels;
use crate::report::clock::Stamp;
use crate::report::columns::{self, HEADER, Paint};
use crate::report::filter::Filter;
use crate::report::ladder::{svg, text};
use crate::report::story::{self, CLIENT_AND_SERVER, Names};
use crate::report::summary::Summary;
use crate::report::verdicts::{Case, Verdicts};
use anyhow::Context;
use jiff::tz::TimeZone;
use proxy_common::key::Endpoint;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;

/// Connections that fit on a screen, each on its line; of more, a summary says more.
const SCREEN: usize = 40;

/// The form for people.
pub struct Columns {
    names: Rc<Placeholders>,
    labels: Rc<Labels>,
    proxy: Option<std::net::IpAddr>,
    ladder: bool,
    single: bool,
    /// A filter chooses, so that any connection may be one of the few that are shown.
    chooses: bool,
    /// A line for every connection, at once where it ends: all are asked for, or the capture comes as
    /// it happens.
    all: bool,
    /// The capture comes as it happens.
    is_live: bool,
    /// Connections whose lines were written at once.
    streamed: u64,
    /// The ladder of the connection whose line was written so, where it turns out to be the only one
    /// and `--all` was not asked for.
    only: Option<String>,
    svg: Option<PathBuf>,
    paint: Paint,
    strokes: text::Strokes,
    /// Times of captures are shown in this host's zone, as tcpdump shows them.
    stamp: Stamp,
    /// Those of texts as they stand there.
    text_stamp: Stamp,
    /// Lines that may yet be shown, with their connections' numbers and ladders.
    kept: Vec<(u64, Vec<u8>, String)>,
    picture: Option<String>,
    summary: Summary,
    verdicts: Verdicts,
    count: u64,
    failed: Option<io::Error>,
}

impl Columns {
    /// As `args` ask for it.
    #[must_use]
    pub fn new(args: &Args, how: &How, names: Rc<Placeholders>) -> Self {
        Self {
            names,
            labels: Rc::clone(&how.labels),
            proxy: args.proxy,
            ladder: args.ladder,
            single: args.connection.is_some(),
            chooses: args.filter != Filter::default(),
            all: args.all,
            is_live: false,
            streamed: 0,
            only: None,
            svg: args.svg.clone(),
            paint: Paint::of_stdout(),
            strokes: text::Strokes::of_terminal(io::stdout().is_terminal()),
            stamp: Stamp::local(),
            text_stamp: Stamp::in_zone(TimeZone::UTC),
            kept: Vec::new(),
            picture: None,
            summary: Summary::default(),
            verdicts: Verdicts::default(),
            count: 0,
            failed: None,
        }
    }

    /// Connections shown.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Connections whose ladders are kept.
    #[must_use]
    pub fn ladders(&self) -> u64 {
        if self.ladder || self.chooses { u64::MAX } else { SCREEN as u64 }
    }

    /// Whether ladders that are shown may go on when their connections are over.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.is_live && (self.ladder || self.single || !self.all)
    }

    /// Takes a connection.
    pub fn close(&mut self, ended: &Ended<'_>) -> ControlFlow<()> {
        self.count += 1;
        let record = ended.record();
        self.summary.add(&record);
        let heads = ended.kept.heads.as_deref();
        self.verdicts.add(&Case {
            number: ended.number,
            close: ended.close,
            flow: ended.flow,
            facts: &ended.facts,
            promised_close: heads.is_some_and(|heads| heads.promise_close()),
            keeps_alive: heads.is_some_and(|heads| heads.promise_to_stay()),
            response_end: heads.and_then(|heads| heads.response_end()),
            until_ns: ended.until_ns,
        });
        if !self.all && !self.ladder && self.count as usize > SCREEN {
            self.kept.clear();
            return ControlFlow::Continue(());
        }
        let mut line = format!("{:>5} ", ended.number).into_bytes();
        let is_text = ended.kept.kind == Kind::Text;
        let stamp = if is_text { &mut self.text_stamp } else { &mut self.stamp };
        columns::close(&mut line, &record, stamp, self.paint);
        let ends = [&ended.close.orig.endpoint, &ended.close.resp.endpoint];
        self.names.restore(&mut line, ends);
        let ladder = self.draw(ended);
        if self.all {
            self.stream(&line, &ladder);
        } else {
            self.kept.push((ended.number, line, ladder));
        }
        if self.kept.len() > SCREEN { self.write_at_once() } else { self.flow() }
    }

    /// The capture comes as it happens: lines are written at once.
    pub fn go_live(&mut self) -> ControlFlow<()> {
        self.is_live = true;
        self.write_at_once()
    }

    /// Writes the lines that wait for the end, and those that come from now on at once.
    fn write_at_once(&mut self) -> ControlFlow<()> {
        if !std::mem::replace(&mut self.all, true) {
            self.only = Some(String::new());
            let mut kept = std::mem::take(&mut self.kept);
            kept.sort_by_key(|(number, ..)| *number);
            for (_, line, ladder) in kept {
                self.stream(&line, &ladder);
            }
        }
        self.flow()
    }

    fn flow(&self) -> ControlFlow<()> {
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// What the ends of a connection are called in its story.
    fn call(&self, ended: &Ended<'_>) -> Names<'static> {
        let is_proxy = |end: &Endpoint| self.proxy.is_some_and(|proxy| address(end) == proxy);
        let mut names = CLIENT_AND_SERVER;
        if is_proxy(&ended.close.orig.endpoint) {
            names.orig = "the proxy";
        } else if is_proxy(&ended.close.resp.endpoint) {
            names.resp = "the proxy";
        }
        names
    }

    /// The story and the ladder, if the ladder was kept.
    fn draw(&mut self, ended: &Ended<'_>) -> String {
        let mut out = String::new();
        let Some(ladder) = &ended.kept.ladder else { return out };
        let names = self.call(ended);
        let story = story::tell(ended.close, ended.flow, &ended.facts, &names);
        let ends = [&ended.close.orig.endpoint, &ended.close.resp.endpoint]
            .map(|end| self.names.endpoint(end));
        let [orig, resp] = &ends;
        let title = format!(
            "Connection {}: {orig} to {resp}, {} ({}), {}",
            ended.number,
            ended.close.conn_state.as_str(),
            ended.close.history.as_str(),
            story::time(ended.close.duration_ns),
        );
        let is_captured = story::are_captured(ended.flow);
        let heads = ended.kept.heads.as_deref();
        out.push_str(&format!("{title}\n"));
        if let Some(exchange) = heads.and_then(|heads| heads.line(is_captured)) {
            let short = match story::missing(ended.flow, heads.and_then(Heads::response_end)) {
                0 => String::new(),
                bytes => format!(", {} short", story::counted(bytes.into(), "byte")),
            };
            out.push_str(&format!("{exchange}{short}\n"));
        }
        out.push_str(&format!("{}.\n\n", capitalised(&story)));
        let called = [orig.as_str(), resp.as_str()];
        text::put(&mut out, ladder, ended.flow, &names, called, self.strokes);
        if self.svg.is_some() {
            let caption = svg::Caption { title: &title, story: &story, ends: called };
            self.picture = Some(svg::picture(ladder, ended.flow, &names, &caption));
        }
        out
    }

    /// Writes a line at once.
    fn stream(&mut self, line: &[u8], ladder: &str) {
        let with_ladder = self.ladder || self.single;
        let mut out = io::stdout().lock();
        let mut write = || -> io::Result<()> {
            if self.streamed == 0 {
                write!(out, "    # {HEADER}")?;
            }
            out.write_all(line)?;
            if with_ladder { write!(out, "\n{ladder}\n") } else { Ok(()) }
        };
        if let Err(error) = write() {
            self.failed = Some(error);
        }
        self.streamed += 1;
        if let Some(only) = &mut self.only {
            *only = if self.streamed == 1 && !with_ladder { ladder.into() } else { String::new() };
        }
    }

    /// Says the rest.
    ///
    /// # Errors
    /// Where it cannot be written, or `--svg` has no single connection to draw.
    pub fn finish(&mut self, reading: &Reading) -> anyhow::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error.into());
        }
        let mut out = Vec::new();
        for (name, account) in &reading.accounts {
            let kind = format!("{:?}", account.kind).to_lowercase();
            let (packets, segments) = (account.packets, account.segments);
            writeln!(out, "{name}: {kind}, {packets} packets, {segments} TCP segments")?;
        }
        self.put_lines(&mut out, reading)?;
        if reading.doubtful > 0 {
            writeln!(out, "\n{} connection(s) are not judged: see below", reading.doubtful)?;
        }
        for (backend, findings) in self.verdicts.rows() {
            let name = self.names.endpoint(&backend.endpoint);
            writeln!(out, "\n{name}: {} connection(s)", backend.connections)?;
            for finding in findings {
                writeln!(out, "  - {}", finding.text)?;
                if let Some(rule) = &finding.rule {
                    writeln!(out, "    teardown's rule for it: {}", story::command(&name, rule))?;
                }
            }
        }
        let beyond = self.verdicts.beyond();
        if beyond > 0 {
            writeln!(out, "\n{beyond} connection(s) of further backends: no findings")?;
        }
        let notes = notes(reading);
        if !notes.is_empty() {
            writeln!(out)?;
        }
        for note in notes {
            writeln!(out, "Note: {note}")?;
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()?;
        self.draw_picture()
    }

    fn put_lines(&mut self, out: &mut Vec<u8>, reading: &Reading) -> io::Result<()> {
        let count = self.count;
        self.kept.sort_by_key(|(number, ..)| *number);
        if !self.kept.is_empty() {
            write!(out, "\n    # {HEADER}")?;
            for (_, line, _) in &self.kept {
                out.write_all(line)?;
            }
        }
        if self.ladder || self.single || count == 1 {
            for (_, _, ladder) in &self.kept {
                write!(out, "\n{ladder}")?;
            }
        }
        if let Some(ladder) = self.only.as_ref().filter(|ladder| !ladder.is_empty()) {
            write!(out, "\n{ladder}")?;
        }
        if count as usize > SCREEN {
            writeln!(out, "\n{} connections, {count} shown\n", reading.connections)?;
            let mut tables = Vec::new();
            self.summary.print(&mut tables, &|end| self.labels.of(end));
            self.names.restore_all(&mut tables);
            out.extend(tables);
            if !self.all && !self.ladder {
                writeln!(
                    out,
                    "\nLook closer: --all for a line each, --connection N for a ladder, \
                     --state, --first, --signal, --answer, --host and --port to choose"
                )?;
            }
        } else if count == 0 {
            writeln!(out, "\n{}", nothing_shown(reading.connections))?;
        }
        Ok(())
    }

    fn draw_picture(&mut self) -> anyhow::Result<()> {
        let Some(path) = &self.svg else { return Ok(()) };
        if self.count != 1 {
            let what = format!(
                "--svg draws one connection, of {}: choose with --connection N",
                self.count
            );
            return Err(crate::console::Usage(what).into());
        }
        let picture =
            self.picture.take().context("--svg: of this connection no segment was kept")?;
        std::fs::write(path, picture)
            .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))
    }
}

impl Output for Columns {
    fn ladders(&self) -> u64 {
        self.ladders()
    }

    fn waits(&self) -> bool {
        self.waits()
    }

    fn close(&mut self, ended: &Ended<'_>) -> ControlFlow<()> {
        self.close(ended)
    }
}

fn nothing_shown(connections: u64) -> String {
    if connections == 0 {
        return "no TCP connection is in it".into();
    }
    format!("no connection is shown, of {connections}")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
