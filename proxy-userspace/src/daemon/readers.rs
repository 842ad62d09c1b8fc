//! The readers of closes: each a tail and a bounded queue to whoever reads it.

use super::Names;
use crate::admin::outlet::{Outlet, Sent};
use crate::console::tell;
use crate::report::record::Record;
use crate::report::tail::{Stream, Tail};
use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::segment::Segment;
use proxy_common::verdict::Close;
use std::collections::HashMap;
use std::time::Duration;

/// One reader.
#[derive(Debug)]
pub struct Reader {
    tail: Tail,
    outlet: Outlet,
    /// Whether what is said about closes goes to stderr, as the closes are for a program.
    notes_apart: bool,
    /// The half-open connections that it was told of: both ends, and since when.
    told: HashMap<[Endpoint; 2], u64>,
    is_gone: bool,
}

impl Reader {
    /// A reader of `tail` through `outlet`. With `notes_apart` all but closes goes to stderr.
    #[must_use]
    pub fn new(tail: Tail, outlet: Outlet, notes_apart: bool) -> Self {
        Self { tail, outlet, notes_apart, told: HashMap::new(), is_gone: false }
    }

    fn flush(&mut self) {
        let (outlet, apart, is_gone) = (&self.outlet, self.notes_apart, &mut self.is_gone);
        self.tail.flush(|bytes, stream| {
            if stream == Stream::Notes && apart {
                tell(bytes);
                return true;
            }
            let sent = outlet.send(bytes);
            *is_gone |= sent == Sent::Gone;
            sent == Sent::Queued
        });
    }

    fn end(mut self, names: Names<'_, '_>, losses: &[(String, u64)]) {
        self.flush();
        let summary = self.tail.end(names, losses);
        if self.notes_apart {
            tell(&summary);
        } else {
            self.outlet.send_last(&summary);
        }
    }

    fn half_open_limit_ns(&self) -> Option<u64> {
        let limit = self.tail.look().half_open_limit()?;
        Some(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// All readers.
#[derive(Debug, Default)]
pub(super) struct Readers {
    all: Vec<(u64, Reader)>,
    next_id: u64,
    /// When half-open connections are looked for next: to read the table is not free.
    look_again_ns: u64,
}

impl Readers {
    /// Adds a reader and gives it a number.
    pub(super) fn add(&mut self, reader: Reader) -> u64 {
        self.next_id += 1;
        self.all.push((self.next_id, reader));
        self.next_id
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn close(&mut self, record: &Record<'_>) {
        for (_, reader) in &mut self.all {
            reader.tail.close(record);
        }
    }

    pub(super) fn segment(
        &mut self,
        key: &FlowKey,
        segment: &Segment,
        unix_ns: i64,
        names: Names<'_, '_>,
    ) {
        for (_, reader) in &mut self.all {
            reader.tail.segment(key, segment, unix_ns, names);
        }
    }

    /// Sends what has been written, and lets those go that are done or gone.
    pub(super) fn flush(&mut self, names: Names<'_, '_>, losses: &dyn Fn() -> Vec<(String, u64)>) {
        let mut at = 0;
        while let Some((_, reader)) = self.all.get_mut(at) {
            reader.flush();
            if reader.is_gone {
                self.all.swap_remove(at);
            } else if reader.tail.is_done() {
                let (_, reader) = self.all.swap_remove(at);
                reader.end(names, &losses());
            } else {
                at += 1;
            }
        }
    }

    /// Sends a reader its summary and lets it go.
    pub(super) fn end(&mut self, id: u64, names: Names<'_, '_>, losses: &[(String, u64)]) {
        if let Some(at) = self.all.iter().position(|&(other, _)| other == id) {
            self.all.swap_remove(at).1.end(names, losses);
        }
    }

    /// The same for all.
    pub(super) fn end_all(&mut self, names: Names<'_, '_>, losses: &[(String, u64)]) {
        for (_, reader) in self.all.drain(..) {
            reader.end(names, losses);
        }
    }

    /// Whether it is time to look for half-open connections: four times in the shortest limit, but
    /// at most once a tick, and at least once a second.
    pub(super) fn want_half_open(&mut self, now_ns: u64) -> bool {
        let limits = self.all.iter().filter_map(|(_, reader)| reader.half_open_limit_ns());
        let Some(shortest) = limits.min() else { return false };
        if now_ns < self.look_again_ns {
            return false;
        }
        let second = Duration::from_secs(1).as_nanos() as u64;
        self.look_again_ns = now_ns.saturating_add((shortest / 4).min(second));
        true
    }

    /// Tells those of a half-open connection whose limit it has passed and who don't know of it.
    pub(super) fn half_open(&mut self, record: &Record<'_>, since_ns: u64) {
        let ends = [record.close.orig.endpoint, record.close.resp.endpoint];
        let lasted = record.half_open_ns.unwrap_or(0);
        for (_, reader) in &mut self.all {
            let is_long = reader.half_open_limit_ns().is_some_and(|limit| lasted >= limit);
            if is_long && reader.told.insert(ends, since_ns) != Some(since_ns) {
                reader.tail.half_open(record);
            }
        }
    }

    /// Forgets what is no longer half open.
    pub(super) fn forget_half_open(&mut self, open: &[(Close, u64)]) {
        let open: HashMap<[Endpoint; 2], u64> = open
            .iter()
            .map(|(close, since_ns)| ([close.orig.endpoint, close.resp.endpoint], *since_ns))
            .collect();
        for (_, reader) in &mut self.all {
            reader.told.retain(|ends, since_ns| open.get(ends) == Some(since_ns));
        }
    }

    /// Whether somebody asked for those that are half open at the end.
    pub(super) fn want_last_half_open(&self) -> bool {
        self.all.iter().any(|(_, reader)| reader.tail.look().half_open)
    }

    /// Shows one to those who asked.
    pub(super) fn last_half_open(&mut self, record: &Record<'_>) {
        for (_, reader) in &mut self.all {
            if reader.tail.look().half_open {
                reader.tail.half_open(record);
            }
        }
    }
}
