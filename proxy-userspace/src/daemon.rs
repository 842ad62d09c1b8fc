//! The daemon: takes closes from a source, names them, counts them, and hands them to its readers.
//!
//! One thread, one loop, one owner of everything. Readers have queues of their own and sessions of
//! the runtime socket send requests, so nothing in here waits for anybody or locks anything.

mod attached;
mod background;
pub mod clock;
mod close;
mod commands;
pub mod demo;
mod half_open;
mod help;
mod joined;
mod live;
mod manager;
mod observe;
mod policies;
pub mod proxy;
mod readers;
mod recent;
mod recording;
mod reload;
pub mod run;
mod source;
pub(crate) mod start;
pub mod stated;
pub mod steward;
mod tape;
#[cfg(test)]
mod tests;
mod unprivileged;
pub mod watch;

pub use readers::Reader;
pub use recording::{Recording, Write};
pub use source::{Counter, Event, Source};

use crate::admin::session::Request;
use crate::labels::Labels;
use crate::passing::Passing;
use crate::policy::book::Book;
use crate::report::label::Label;
use crate::report::record::{Change, Record, rst_reason_code};
use crate::report::summary::Summary;
use clock::WallClock;
use close::AllUnderway;
use half_open::{Found, HalfOpen};
use joined::{Admitted, Joins};
use proxy::{Running, ServerPolicy};
use proxy_common::abi::CloseRecord;
use proxy_common::key::Endpoint;
use proxy_common::verdict::{self, Close};
use readers::Readers;
use recent::Recent;
use reload::Reloads;
use stated::{Note, Stated};
use std::future::{Future, ready};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tape::{Tape, Tapes};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// How often half-open connections are looked for and slow readers told what they missed.
const TICK: Duration = Duration::from_millis(200);

/// A batch of so many events may be followed by the next one at once.
const FLOOD: usize = 64;

/// The daemon's state.
#[derive(Debug)]
pub struct Daemon<S> {
    source: S,
    labels: Labels,
    clock: WallClock,
    totals: Summary,
    recent: Recent,
    joins: Joins,
    readers: Readers,
    /// The proxy, if one runs.
    proxy: Option<Arc<Running>>,
    reloads: Reloads,
    underway: AllUnderway,
    requests: mpsc::Receiver<Request>,
    policies: Book,
    /// The rules that the configuration asks for.
    configured: Vec<ServerPolicy>,
    started: Instant,
    recording: Option<Recording>,
    /// Why the recording's file lacks something, once that is known.
    incomplete: Option<io::Error>,
    tapes: Tapes,
    passing: Passing,
    half_open: HalfOpen,
    /// It was said that more will be attached to.
    awaits_more: bool,
    /// Whether the source tells segments at all.
    tells_segments: bool,
    /// Readers are told segments; a recording alone wants them for itself.
    shows_segments: bool,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The one reader that it ran for has what it wanted, or is gone.
    ReaderDone,
    /// The source has no more.
    SourceDone,
}

impl<S: Source> Daemon<S> {
    /// A daemon that takes closes from `source` and requests from `requests`.
    pub fn new(source: S, labels: Labels, requests: mpsc::Receiver<Request>) -> Self {
        let clock = WallClock::new(source.clock());
        Self {
            awaits_more: source.waiting() > 0,
            source,
            labels,
            clock,
            totals: Summary::default(),
            recent: Recent::default(),
            joins: Joins::default(),
            readers: Readers::default(),
            proxy: None,
            reloads: Reloads::default(),
            underway: AllUnderway::new(),
            requests,
            policies: Book::default(),
            configured: Vec::new(),
            started: Instant::now(),
            recording: None,
            incomplete: None,
            tapes: Tapes::default(),
            passing: Passing::default(),
            half_open: HalfOpen::default(),
            tells_segments: false,
            shows_segments: true,
        }
    }

    /// Lets the runtime socket speak to `proxy` too, and joins what it says of its connections in
    /// `ear` to their closes.
    pub fn set_proxy(&mut self, proxy: Arc<Running>, ear: Arc<Stated>) {
        self.joins.hear(ear);
        self.joins.add_doors(proxy.doors());
        self.proxy = Some(proxy);
    }

    /// Writes segments and closes into a file too. Readers are shown segments only where they
    /// asked for them.
    pub fn record(&mut self, recording: Option<Recording>, shows_segments: bool) {
        self.tells_segments = shows_segments || recording.is_some();
        self.shows_segments = shows_segments || recording.is_none();
        self.recording = recording;
    }

    /// After the run: whether the recording has all that was to be in it.
    ///
    /// # Errors
    /// What the disk said.
    pub fn recorded(&mut self) -> io::Result<()> {
        self.incomplete.take().map_or(Ok(()), Err)
    }

    /// Adds a reader; it sees what comes from now on.
    pub fn add_reader(&mut self, reader: Reader) {
        self.readers.add(reader);
    }

    /// Runs until `stop` is done, the source has no more, or, with `for_readers`, no reader is left.
    /// Every reader that is left is sent its summary.
    ///
    /// # Errors
    /// Where the source fails.
    pub async fn run(
        &mut self,
        stop: impl Future<Output = ()>,
        for_readers: bool,
    ) -> Result<Ended, S::Error> {
        let mut events = Vec::with_capacity(1024);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // It goes on beside a source that is ready all the time.
        let mut look = interval(joined::LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        let ended = loop {
            if for_readers && self.readers.is_empty() {
                break Ended::ReaderDone;
            }
            self.close_some().await;
            tokio::select! {
                biased;
                () = &mut stop => break Ended::Stopped,
                Some(request) = self.requests.recv() => self.answer(request),
                told = self.reloads.told() => self.put_in_place(told),
                _ = tick.tick(), if self.has_listeners() => self.tick(),
                _ = look.tick(), if self.joins.is_waiting() => self.join(),
                batch = self.source.next(&mut events) => {
                    batch?;
                    if events.is_empty() {
                        break Ended::SourceDone;
                    }
                    let is_flood = events.len() >= FLOOD;
                    self.take(&mut events);
                    if is_flood {
                        // The source may be ready for ever; sessions want their turn too.
                        tokio::task::yield_now().await;
                    }
                }
                () = ready(()), if !self.underway.is_empty() => {}
            }
        };
        self.close_no_more();
        self.source.finish(&mut events);
        self.take(&mut events);
        self.joins.listen();
        self.joins.due(None).into_iter().for_each(|closed| self.close(&closed.record, closed.note));
        self.finish(ended);
        Ok(ended)
    }

    /// Names, counts and hands on a batch of events.
    fn take(&mut self, events: &mut Vec<Event>) {
        self.clock.now();
        self.joins.listen();
        let now = Instant::now();
        for event in &*events {
            match event {
                Event::Close(record) => {
                    if let Admitted::Goes(note) = self.joins.admit(record, now) {
                        self.close(record, note);
                    }
                }
                Event::Attached => self.all_attached(),
                Event::Segment { key, segment, data, at_ns } => {
                    let unix_ns = self.clock.unix_ns(*at_ns);
                    if self.shows_segments {
                        let names = |end: &Endpoint| self.labels.of(end);
                        self.readers.segment(key, segment, unix_ns, &names);
                    }
                    for tape in tapes(&mut self.recording, &mut self.tapes) {
                        tape.segment(key, segment, data, unix_ns);
                    }
                }
            }
        }
        events.clear();
        self.flush();
    }

    /// Looks whether the proxy has said what closes wait for.
    fn join(&mut self) {
        self.joins.listen();
        for closed in self.joins.due(Some(Instant::now())) {
            self.close(&closed.record, closed.note);
        }
        self.flush();
    }

    /// Names, counts and hands on a close.
    fn close(&mut self, closed: &CloseRecord, note: Option<Note>) {
        let close = verdict::close(&closed.key, &closed.flow);
        let record = Record {
            change: Change::of(&closed.acts, self.policies.name(closed.acts.rule)),
            ..joined_record(&self.source, &self.labels, &self.clock, closed, note.as_ref(), &close)
        };
        self.totals.add(&record);
        self.readers.close(&record);
        for tape in tapes(&mut self.recording, &mut self.tapes) {
            tape.close(&closed.key, &closed.flow, &record, &self.clock);
        }
        self.recent.push(closed, note);
    }

    /// Whether anybody waits for what only a tick brings.
    fn has_listeners(&self) -> bool {
        !self.readers.is_empty() || self.recording.is_some() || !self.tapes.is_empty()
    }

    fn flush(&mut self) {
        let names = |end: &Endpoint| self.labels.of(end);
        let losses = || losses(&self.source, &self.joins);
        self.readers.flush(&names, &losses);
    }

    fn tick(&mut self) {
        let now_ns = self.clock.now();
        let unix_ns = self.clock.unix_ns(now_ns);
        if let Some(recording) = &mut self.recording {
            recording.tape.flush(unix_ns);
        }
        self.tapes.flush(unix_ns);
        // Never from an earlier look: what has closed since was told already.
        if self.readers.want_half_open(now_ns)
            && !self.half_open.rests()
            && let Some(open) = self.open_halves(now_ns)
        {
            for (close, since_ns) in &*open {
                let record = record(&self.source, &self.labels, &self.clock, close);
                let record = half_open::still(record, &self.clock, &self.joins, now_ns, *since_ns);
                self.readers.half_open(&record, *since_ns);
            }
            self.readers.forget_half_open(&open);
        }
        self.flush();
    }

    /// Those that are half open, where the table can be read.
    fn open_halves(&mut self, now_ns: u64) -> Option<Found> {
        let found = self.half_open.read(|| self.source.flows(), now_ns);
        self.passing.over("reading the table of connections", found)
    }

    /// Shows those that are still half open to who asked for it, and sends every summary.
    fn finish(&mut self, ended: Ended) {
        if ended != Ended::SourceDone
            && self.readers.want_last_half_open()
            && let now_ns = self.clock.now()
            && let Some(open) = self.open_halves(now_ns)
        {
            for (close, since_ns) in &*open {
                let record = record(&self.source, &self.labels, &self.clock, close);
                let record = half_open::still(record, &self.clock, &self.joins, now_ns, *since_ns);
                self.readers.last_half_open(&record);
            }
        }
        self.flush();
        let names = |end: &Endpoint| self.labels.of(end);
        self.readers.end_all(&names, &losses(&self.source, &self.joins));
        let now_ns = self.clock.now();
        self.tapes.end_all(self.clock.unix_ns(now_ns));
        self.incomplete = self.recording.take().and_then(|recording| recording.finish().err());
    }
}

/// Every recording: the file's and the sessions'.
fn tapes<'a>(
    recording: &'a mut Option<Recording>,
    tapes: &'a mut Tapes,
) -> impl Iterator<Item = &'a mut Tape> {
    recording.iter_mut().map(|recording| &mut recording.tape).chain(tapes.each())
}

/// What is shown of `close`.
fn record<'a>(
    source: &'a impl Source,
    labels: &'a Labels,
    clock: &WallClock,
    close: &'a Close,
) -> Record<'a> {
    Record {
        unix_ns: clock.unix_ns(close.ended_ns),
        label: labels.of_close(close),
        rst_reason: rst_reason_code(close).and_then(|code| source.rst_reason(code)),
        ..Record::of(close)
    }
}

/// What is shown of a close, with what the proxy said of it.
fn joined_record<'a>(
    source: &'a impl Source,
    labels: &'a Labels,
    clock: &WallClock,
    closed: &CloseRecord,
    note: Option<&'a Note>,
    close: &'a Close,
) -> Record<'a> {
    let record = record(source, labels, clock, close);
    Record {
        said: note.map(Note::said),
        label: labels.of_number(closed.acts.server).unwrap_or(record.label),
        ..record
    }
}

/// Every kind of loss with its count, zero too. A source that cannot say so is itself one.
fn losses(source: &impl Source, joins: &Joins) -> Vec<(String, u64)> {
    let mut losses = match source.counters() {
        Ok(counters) => counters
            .into_iter()
            .filter(|counter| counter.is_loss)
            .map(|counter| (counter.name, counter.value))
            .collect(),
        Err(error) => {
            tracing::warn!("the counters of lost events cannot be read: {error}");
            vec![("unknown_as_the_counters_cannot_be_read".to_owned(), 0)]
        }
    };
    losses.extend(joins.lost().map(|lost| ("lost_notes".to_owned(), lost)));
    losses
}

/// The names of `end`; a shorthand for those who have only an address.
pub type Names<'a, 'b> = &'b dyn Fn(&Endpoint) -> Label<'a>;
