//! Between the table of connections and what is shown of them.

use super::How;
use super::filtered::Filtered;
use super::names::Placeholders;
use super::pace::Pace;
use crate::capture::detect::Kind;
use crate::capture::ftp::Ftp;
use crate::capture::heads::Heads;
use crate::capture::table::{Connection, DISORDER, Moved, Observer, Patience, Table};
use crate::capture::text::names::Name;
use crate::capture::write::stored::Stored;
use crate::capture::{self, Seen, Sink};
use crate::labels::Labels;
use crate::report::export::Traffic;
use crate::report::filter::Filter;
use crate::report::label::Label;
use crate::report::ladder::Ladder;
use crate::report::record::{Change, Letters, Record, Said};
use crate::report::story::{Facts, are_captured, never_acknowledged, side_of, was_open};
use proxy_common::flow::{Flow, INFERRED};
use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::segment::ACK;
use proxy_common::verdict::{self, Close};
use std::ops::ControlFlow;
use std::rc::Rc;

/// What is kept of a connection beside its flow.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Times that the flow does not hold.
    pub facts: Facts,
    /// Bytes of IP packets by side; [`u64::MAX`] where the text does not tell.
    pub ip_bytes: [u64; 2],
    /// All flags that each side set.
    pub flags: [u8; 2],
    /// HTTP heads, if there were any.
    pub heads: Option<Box<Heads>>,
    /// What Zeek would know of FTP, where its words are asked for.
    pub ftp: Option<Box<Ftp>>,
    /// The ladder, where it may be shown.
    pub ladder: Option<Box<Ladder>>,
    /// Segments of it may have been left out.
    pub doubtful: bool,
    /// The kind of file that it was last seen in.
    pub kind: Kind,
    /// What a file of ours tells of it.
    pub stored: Option<Box<Stored>>,
}

impl Kept {
    /// Takes a segment that counted into the account.
    #[inline]
    fn count(&mut self, flow: &Flow, seen: &Seen<'_>, moved: Moved) {
        let segment = &seen.segment;
        let side = segment.sender.index();
        self.flags[side] |= segment.flags;
        self.ip_bytes[side] = match seen.ip_len {
            0 => u64::MAX,
            len => self.ip_bytes[side].saturating_add(u64::from(len)),
        };
        if moved.brings_data {
            self.facts.last_data_ns[side] = seen.time_ns;
        }
        let peer = flow.end(segment.sender.other());
        if peer.fins != 0
            && segment.has(ACK)
            && segment.ack == peer.fin_end()
            && self.facts.fin_acked_ns[side ^ 1] == 0
        {
            self.facts.fin_acked_ns[side ^ 1] = seen.time_ns;
        }
    }

    /// What a file of ours calls the connection.
    fn label(&self) -> Option<Label<'_>> {
        let words = &self.stored.as_ref()?.words;
        let [proxy, backend, server] = [0, 1, 2].map(|at| words[at].as_deref());
        Some(Label { proxy, backend, server }).filter(|label| !label.is_empty())
    }
}

/// A connection of which nothing more comes.
#[derive(Debug)]
pub struct Ended<'a> {
    /// Its number in the capture.
    pub number: u64,
    /// Its ends.
    pub key: &'a FlowKey,
    /// What the machine knows of it.
    pub flow: &'a Flow,
    /// How it closed.
    pub close: &'a Close,
    /// How long it has been half open at the end of the capture, where it still is.
    pub half_open_ns: Option<u64>,
    /// How far the capture goes.
    pub until_ns: u64,
    /// What its segments tell beside the flow.
    pub facts: Facts,
    /// What else is known.
    pub kept: &'a Kept,
    /// What the configuration calls it.
    pub label: Label<'a>,
}

impl<'a> Ended<'a> {
    /// The close as every tail shows it.
    #[must_use]
    pub fn record(&self) -> Record<'a> {
        let stored = self.kept.stored.as_deref();
        let word = |at: usize| stored.and_then(|stored| stored.words[at].as_deref());
        let change = stored.and_then(|stored| stored.change);
        Record {
            close: self.close,
            unix_ns: self.close.ended_ns.cast_signed(),
            label: self.label,
            rst_reason: word(3),
            change: change.map(|(cause, asked, sent)| Change { rule: word(4), cause, asked, sent }),
            said: stored.and_then(|stored| stored.said.as_ref()).and_then(said),
            half_open_ns: self.half_open_ns,
        }
    }

    /// What other vocabularies count.
    #[must_use]
    pub fn traffic(&self) -> Traffic<'a> {
        let (orig, resp) = (self.flow.orig.index(), self.flow.orig.other().index());
        let told = |bytes: u64| (bytes != u64::MAX).then_some(bytes);
        Traffic {
            number: self.number,
            ip_bytes: [told(self.kept.ip_bytes[orig]), told(self.kept.ip_bytes[resp])],
            flags: [self.kept.flags[orig], self.kept.flags[resp]],
            gaps: self.flow.ends.iter().map(|end| end.gaps).fold(0, u32::saturating_add),
            service: match &self.kept.ftp {
                Some(ftp) => ftp.is_confirmed.then_some("ftp"),
                None => self.kept.heads.as_ref().map(|_| "http"),
            },
            stopped_at: self.kept.ftp.as_ref().and_then(|ftp| ftp.stopped_at),
        }
    }
}

/// What a file of ours has of the proxy's words; `None` where they are not ours.
fn said(stored: &capture::write::said::Said) -> Option<Said<'_>> {
    Some(Said {
        class: Said::class(&stored.class)?,
        termination: Letters::of(&stored.termination)?,
        phase: stored.phase.as_deref().and_then(Said::phase),
        method: stored.method.as_deref(),
        status: stored.status,
        requests: stored.requests,
    })
}

/// Takes connections one by one.
pub trait Output {
    /// How many connections' ladders it can show, the first ones.
    fn ladders(&self) -> u64;

    /// Whether a connection may be told later than it is over, as its ladder goes on.
    fn waits(&self) -> bool {
        false
    }

    /// A connection that passes the filter.
    fn close(&mut self, ended: &Ended<'_>) -> ControlFlow<()>;

    /// The capture is waited for; a live one comes as it happens.
    fn pause(&mut self, is_live: bool) -> ControlFlow<()> {
        let _ = is_live;
        ControlFlow::Continue(())
    }
}

/// Looks at each segment, and at each connection that is over.
#[derive(Debug)]
pub struct Collector<O> {
    /// Who shows them.
    pub output: O,
    filter: Filter,
    only: Option<u64>,
    labels: Rc<Labels>,
    /// Zeek's words are asked for, and what it would know of FTP.
    zeek: bool,
    /// The kind of the file that is read.
    kind: Kind,
    /// Whether the capture was filtered.
    pub filtered: Filtered,
    /// Connections that the filter let pass.
    pub shown: u64,
    /// Connections that were not judged.
    pub doubtful: u64,
}

impl<O: Output> Collector<O> {
    /// For connections that pass the filter, or for the only one.
    pub fn new(output: O, how: &How) -> Self {
        let (filter, labels) = (how.filter.clone(), Rc::clone(&how.labels));
        let zeek = how.patience == Patience::Zeek;
        let (only, kind) = (how.only, Kind::default());
        let filtered = Filtered::default();
        Self { output, filter, only, labels, zeek, kind, filtered, shown: 0, doubtful: 0 }
    }

    /// A file of this kind comes next.
    pub fn begins(&mut self, kind: Kind) {
        self.kind = kind;
    }
}

impl<O: Output> Observer for Collector<O> {
    type Kept = Kept;

    #[inline]
    fn moved(&mut self, connection: &mut Connection<Kept>, seen: &Seen<'_>, moved: Moved) {
        let Connection { kept, flow, number, key, .. } = connection;
        let segment = &seen.segment;
        let wanted = match self.only {
            Some(only) => *number == only,
            None => *number <= self.output.ladders(),
        };
        let mut words: Vec<String> = Vec::new();
        Heads::find(&mut kept.heads, segment, seen.payload, moved.counts, |head| {
            if wanted {
                words.push(head.words());
            }
        });
        kept.kind = self.kind;
        self.filtered.note(segment, flow);
        if moved.counts {
            kept.count(flow, seen, moved);
            if self.zeek && !seen.payload.is_empty() {
                let server = key.end(flow.orig.other());
                if Ftp::is_expected(server.port) {
                    let ftp = kept.ftp.get_or_insert_default();
                    ftp.note(segment.sender == flow.orig, seen.payload, flow.history_len);
                }
            }
        }
        if wanted {
            let words = (!words.is_empty()).then(|| words.join("; "));
            kept.ladder.get_or_insert_default().note(segment, flow, seen.time_ns, words);
        }
    }

    fn waits(&self, kept: &Kept) -> bool {
        kept.ladder.is_some() && self.output.waits()
    }

    fn late(&mut self, connection: &mut Connection<Kept>, seen: &Seen<'_>) {
        let Connection { kept, flow, .. } = connection;
        if let Some(ladder) = &mut kept.ladder {
            ladder.note_late(&seen.segment, flow, seen.time_ns);
        }
    }

    fn over(&mut self, connection: &Connection<Kept>, now_ns: u64) -> ControlFlow<()> {
        let Connection { number, key, flow, kept, .. } = connection;
        if kept.doubtful {
            self.doubtful += 1;
            return ControlFlow::Continue(());
        }
        let mut close = verdict::close(key, flow);
        let is_filtered = self.filtered.is() && !flow.has(INFERRED);
        let facts = Facts { is_filtered, ..kept.facts };
        let half_open_ns = half_open(flow, &facts, &close, now_ns);
        close.half_closed_ns = half_open_ns.or(close.half_closed_ns);
        if kept.stored.is_none() && !is_filtered {
            tell_unacked(&mut close, flow);
        }
        let label = kept.label().unwrap_or_else(|| self.labels.of_close(&close));
        let ended = Ended {
            number: *number,
            key,
            flow,
            close: &close,
            half_open_ns,
            until_ns: now_ns,
            facts,
            kept,
            label,
        };
        let chosen = self.only.is_none_or(|only| only == *number);
        if !chosen || !self.filter.passes(&ended.record()) {
            return ControlFlow::Continue(());
        }
        self.shown += 1;
        self.output.close(&ended)
    }
}

/// How long a connection has been half open by `now_ns`; `None` where it is not.
fn half_open(flow: &Flow, facts: &Facts, close: &Close, now_ns: u64) -> Option<u64> {
    let first = close.first_closer.filter(|_| !close.is_over() && close.answer.is_none())?;
    let closed_ns = close.end(first).fin_ns?;
    let side = side_of(flow, first.other());
    // Who reset after its own FIN has left nothing open.
    let is_reset = flow.ends.iter().any(|end| end.has_reset());
    (!is_reset && was_open(flow, facts, side)).then(|| now_ns.saturating_sub(closed_ns))
}

/// What a close threw away, as the segments tell it: no socket's counters are in a capture.
fn tell_unacked(close: &mut Close, flow: &Flow) {
    if close.first_closer.is_none() || close.is_inferred() || !are_captured(flow) {
        return;
    }
    let (orig, resp) = (flow.end(flow.orig), flow.end(flow.orig.other()));
    close.orig.unacked = Some(never_acknowledged(orig, resp));
    close.resp.unacked = Some(never_acknowledged(resp, orig));
}

/// A capture's sink: the table, the names that stand for addresses, and the progress.
pub struct Feed<'a, O: Observer> {
    /// The connections.
    pub table: &'a mut Table<O>,
    /// What placeholders stand for.
    pub names: &'a Placeholders,
    /// Called now and then.
    pub progress: &'a mut dyn FnMut(),
    /// First and last time.
    pub span_ns: &'a mut Option<(u64, u64)>,
    /// The file's number among those read as one.
    pub file: u32,
    /// What makes its places others than those of earlier files, or nothing where it goes on where they
    /// end; `None` before its first segment.
    pub place: Option<u32>,
    /// Segments so far.
    pub segments: u64,
    /// The latest time so far.
    pub latest_ns: u64,
    /// The number of the first packet or line before which the clock was set back, and by how many
    /// nanoseconds.
    pub set_back: Option<(u64, u64)>,
    /// How it comes through a pipe.
    pub pace: Pace,
}

/// Segments between two looks at the progress.
const STRIDE: u64 = 1 << 16;

impl<O: Output> Sink for Feed<'_, Collector<O>> {
    #[inline]
    fn segment(&mut self, seen: &Seen<'_>) -> ControlFlow<()> {
        self.segments += 1;
        if self.segments.is_multiple_of(STRIDE) {
            (self.progress)();
        }
        // The same packet may be in two files of the same time.
        let ended_ns = self.span_ns.map_or(0, |(_, last)| last);
        let is_beside = ended_ns.saturating_sub(seen.time_ns) > DISORDER;
        let place = *self.place.get_or_insert(if is_beside { self.file << 24 } else { 0 });
        let back_ns = self.latest_ns.saturating_sub(seen.time_ns);
        self.latest_ns = self.latest_ns.max(seen.time_ns);
        if back_ns > DISORDER && self.set_back.is_none() {
            self.set_back = Some((seen.number, back_ns));
        }
        match self.span_ns {
            Some((_, last)) => *last = (*last).max(seen.time_ns),
            None => *self.span_ns = Some((seen.time_ns, seen.time_ns)),
        }
        if place == 0 {
            return self.table.segment(seen);
        }
        let mut seen = *seen;
        seen.segment.vantage ^= place;
        self.table.segment(&seen)
    }

    fn name(&mut self, name: Name<'_>) -> Endpoint {
        self.names.add(name)
    }

    fn doubt(&mut self, key: &FlowKey) -> bool {
        let Some(connection) = self.table.find(key) else { return false };
        !std::mem::replace(&mut connection.kept.doubtful, true)
    }

    fn stored(&mut self, stored: Stored) {
        let connection = self.table.tell(&stored.key, &stored.flow);
        connection.kept.stored = Some(Box::new(stored));
    }

    fn pause(&mut self, is_between: bool) -> ControlFlow<()> {
        let silence = self.pace.pause(self.segments, self.latest_ns);
        if let Some(silence) = silence.filter(|_| is_between) {
            self.table.pass(silence.as_nanos() as u64)?;
        }
        self.table.observer.output.pause(silence.is_some())
    }

    fn section(&mut self, is_sparse: bool) {
        self.table.section(is_sparse);
    }
}
