//! Control segments and closes as blocks of a pcapng file, on their way to whoever writes them.

use super::clock::WallClock;
use crate::admin::outlet::{Outlet, Sent};
use crate::capture::write::blocks::{self, COMMENT};
use crate::capture::write::recorder::{self, Recorder, shifted};
use crate::capture::write::said::Said;
use crate::capture::write::stored::Stored;
use crate::report::columns;
use crate::report::kind::Kind;
use crate::report::record::Record;
use crate::report::story::time;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::segment::Segment;

/// One recording and the queue to its writer.
#[derive(Debug)]
pub(super) struct Tape {
    recorder: Recorder,
    outlet: Outlet,
    /// Batches that were left out, as the writer was too slow or gave up.
    missed: u64,
    is_gone: bool,
}

impl Tape {
    /// A recording through `outlet`.
    pub(super) fn new(outlet: Outlet) -> Self {
        Self { recorder: Recorder::default(), outlet, missed: 0, is_gone: false }
    }

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
            said: record.said.as_ref().map(|said| Said {
                class: said.class.into(),
                termination: said.termination.as_str().into(),
                phase: word(said.phase),
                method: word(said.method),
                status: said.status,
                requests: said.requests,
            }),
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
        if blocks.is_empty() {
            return;
        }
        let sent = self.outlet.send(&blocks);
        self.missed += u64::from(sent != Sent::Queued);
        self.is_gone |= sent == Sent::Gone;
    }

    /// Hands on everything; returns how many batches were left out.
    pub(super) fn finish(&mut self) -> u64 {
        self.recorder.release_all();
        self.send();
        self.missed
    }
}

/// The recordings of sessions: `teardown tail --write`.
#[derive(Debug, Default)]
pub(super) struct Tapes {
    all: Vec<(u64, Tape)>,
    next: u64,
}

/// Numbers of tapes have this bit, those of readers have not.
const TAPE: u64 = 1 << 63;

impl Tapes {
    /// Begins one, and gives it a number. Its first blocks are those that a file begins with.
    pub(super) fn add(&mut self, outlet: Outlet) -> u64 {
        outlet.send_last(&recorder::head());
        let id = TAPE | self.next;
        self.next += 1;
        self.all.push((id, Tape::new(outlet)));
        id
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Every tape.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut Tape> {
        self.all.iter_mut().map(|(_, tape)| tape)
    }

    /// Hands on what is ready, and lets those go whose session is gone.
    pub(super) fn flush(&mut self, unix_ns: i64) {
        self.each().for_each(|tape| tape.flush(unix_ns));
        self.all.retain(|(_, tape)| !tape.is_gone);
    }

    /// Ends one. What is missing stands in its last block.
    pub(super) fn end(&mut self, id: u64, unix_ns: i64) {
        if let Some(at) = self.all.iter().position(|&(other, _)| other == id) {
            end(self.all.swap_remove(at).1, unix_ns);
        }
    }

    /// The same for all.
    pub(super) fn end_all(&mut self, unix_ns: i64) {
        self.all.drain(..).for_each(|(_, tape)| end(tape, unix_ns));
    }
}

fn end(mut tape: Tape, unix_ns: i64) {
    let missed = tape.finish();
    if missed > 0 {
        let comment = format!("{missed} batches of segments and closes are missing");
        tracing::warn!("a session's recording was read too slowly: {comment}");
        let mut block = Vec::new();
        let options = [(COMMENT, comment.as_bytes())];
        blocks::statistics(&mut block, unix_ns.unsigned_abs(), &options);
        tape.outlet.send_last(&block);
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
    if let Some(said) = &record.said {
        let mut words = Vec::new();
        columns::request(&mut words, said);
        text.push_str(&format!(", {}", String::from_utf8_lossy(&words)));
    }
    let mut name = Vec::new();
    record.label.put(&mut name);
    if !name.is_empty() {
        text.push_str(&format!(", {}", String::from_utf8_lossy(&name)));
    }
    if let Some(owner) = record.owner() {
        let mut process = Vec::new();
        columns::process(&mut process, owner);
        text.push_str(&format!(", {}", String::from_utf8_lossy(&process)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use proxy_common::verdict;

    #[test]
    fn a_process_is_called_in_a_comment_as_in_a_line() {
        let script = sample::reset();
        let close = verdict::close(&script.key, &script.flow);
        let text = comment(&Record::of(&close));
        assert!(text.ends_with(r", a\x22b\x20c\xff/4242"), "{text}");
    }
}
