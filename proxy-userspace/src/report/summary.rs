//! Closes counted by kind and by backend: the end of a tail, `show backends`, the metrics.

use super::columns::duration;
use super::kind::{KINDS, Kind};
use super::label::Label;
use super::put;
use super::record::Record;
use proxy_common::key::Endpoint;
use proxy_common::verdict::Role;
use std::collections::HashMap;
use std::io::Write;

/// Backends that are counted apart; what comes later goes into one row for all others, so that
/// somebody's port scan cannot fill our memory.
const MOST_BACKENDS: usize = 4096;

/// Upper bounds of the half-closed times' histogram, in nanoseconds; one more bucket is above them.
pub const HALF_CLOSED_BOUNDS: [u64; 7] = [
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
    120_000_000_000,
];

/// What was counted of one backend.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Closes by kind.
    pub kinds: [u64; KINDS],
    /// Bytes that originators sent.
    pub orig_bytes: u64,
    /// Bytes that responders sent.
    pub resp_bytes: u64,
    /// Bytes that were received and never read.
    pub unread_bytes: u64,
    /// Whether any close told of those: no capture does.
    tells_unread: bool,
    /// Bytes that were sent and never acknowledged.
    pub unacked_bytes: u64,
    /// The longest that one was half closed, in nanoseconds.
    pub longest_half_closed_ns: u64,
    /// All half-closed times together, in nanoseconds.
    pub half_closed_ns: u64,
    /// How many were half closed, by [`HALF_CLOSED_BOUNDS`].
    pub half_closed: [u64; HALF_CLOSED_BOUNDS.len() + 1],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            kinds: [0; KINDS],
            orig_bytes: 0,
            resp_bytes: 0,
            unread_bytes: 0,
            tells_unread: false,
            unacked_bytes: 0,
            longest_half_closed_ns: 0,
            half_closed_ns: 0,
            half_closed: [0; HALF_CLOSED_BOUNDS.len() + 1],
        }
    }
}

impl Counts {
    fn add(&mut self, record: &Record<'_>) {
        let close = record.close;
        self.kinds[Kind::of(close).index()] += 1;
        // A recording may claim any number.
        self.orig_bytes = self.orig_bytes.saturating_add(close.orig.bytes.unwrap_or(0));
        self.resp_bytes = self.resp_bytes.saturating_add(close.resp.bytes.unwrap_or(0));
        self.unread_bytes += record.unread_bytes().unwrap_or(0);
        self.tells_unread |= record.unread_bytes().is_some();
        self.unacked_bytes += record.unacked_bytes().unwrap_or(0);
        if let Some(ns) = record.half_closed_ns() {
            self.longest_half_closed_ns = self.longest_half_closed_ns.max(ns);
            self.half_closed_ns = self.half_closed_ns.saturating_add(ns);
            self.half_closed[HALF_CLOSED_BOUNDS.partition_point(|&bound| bound < ns)] += 1;
        }
    }

    fn merge(&mut self, other: &Self) {
        let sum = |ours: &mut [u64], theirs: &[u64]| {
            ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        };
        sum(&mut self.kinds, &other.kinds);
        sum(&mut self.half_closed, &other.half_closed);
        self.orig_bytes = self.orig_bytes.saturating_add(other.orig_bytes);
        self.resp_bytes = self.resp_bytes.saturating_add(other.resp_bytes);
        self.unread_bytes += other.unread_bytes;
        self.tells_unread |= other.tells_unread;
        self.unacked_bytes += other.unacked_bytes;
        self.longest_half_closed_ns = self.longest_half_closed_ns.max(other.longest_half_closed_ns);
        self.half_closed_ns = self.half_closed_ns.saturating_add(other.half_closed_ns);
    }

    /// All closes.
    #[must_use]
    pub fn closes(&self) -> u64 {
        self.kinds.iter().sum()
    }

    fn count(&self, of: impl Fn(Kind) -> bool) -> u64 {
        Kind::all().filter(|&kind| of(kind)).map(|kind| self.kinds[kind.index()]).sum()
    }
}

/// All closes that were counted, by backend. Counting allocates only for a backend's first close.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    backends: HashMap<Endpoint, Counts>,
    others: Counts,
}

impl Summary {
    /// Counts a close.
    pub fn add(&mut self, record: &Record<'_>) {
        let backend = record.close.resp.endpoint;
        if let Some(counts) = self.backends.get_mut(&backend) {
            counts.add(record);
        } else if self.backends.len() < MOST_BACKENDS {
            self.backends.entry(backend).or_default().add(record);
        } else {
            self.others.add(record);
        }
    }

    /// All backends together.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = self.others.clone();
        self.backends.values().for_each(|counts| total.merge(counts));
        total
    }

    /// A row for each backend, those of one name together, the busiest first.
    #[must_use]
    pub fn rows<'a>(&self, names: &dyn Fn(&Endpoint) -> Label<'a>) -> Vec<(Vec<u8>, Counts)> {
        let mut rows: HashMap<Vec<u8>, Counts> = HashMap::new();
        for (end, counts) in &self.backends {
            let mut name = Vec::new();
            let label = names(end);
            if label.is_empty() {
                put::endpoint(&mut name, end);
            } else {
                label.put(&mut name);
            }
            rows.entry(name).or_default().merge(counts);
        }
        if self.others.closes() > 0 {
            rows.entry(b"(others)".to_vec()).or_default().merge(&self.others);
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by(|(name, a), (other, b)| b.closes().cmp(&a.closes()).then(name.cmp(other)));
        rows
    }

    /// [`Summary::rows`] with the names as text.
    #[must_use]
    pub fn named_rows<'a>(&self, names: &dyn Fn(&Endpoint) -> Label<'a>) -> Vec<(String, Counts)> {
        let text = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
        self.rows(names).into_iter().map(|(name, counts)| (text(name), counts)).collect()
    }

    /// The kinds that occurred, the most frequent first.
    #[must_use]
    pub fn kinds(&self) -> Vec<(Kind, u64)> {
        let total = self.total();
        let mut kinds: Vec<_> = Kind::all()
            .map(|kind| (kind, total.kinds[kind.index()]))
            .filter(|&(_, count)| count > 0)
            .collect();
        kinds.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        kinds
    }

    /// Closes by kind and by backend as two small tables.
    pub fn print<'a>(&self, out: &mut Vec<u8>, names: &dyn Fn(&Endpoint) -> Label<'a>) {
        self.print_kinds(out);
        self.print_backends(out, names);
    }

    fn print_kinds(&self, out: &mut Vec<u8>) {
        line(out, &format!("{:<32} {:>10}", "Closes by kind", "Closes"));
        for (kind, count) in self.kinds() {
            line(out, &format!("  {:<30} {count:>10}", kind.to_string()));
        }
    }

    /// Closes by backend as a table.
    pub fn print_backends<'a>(&self, out: &mut Vec<u8>, names: &dyn Fn(&Endpoint) -> Label<'a>) {
        line(
            out,
            &format!(
                "{:<32} {:>10} {:>10} {:>10} {:>10} {:>12} {:>12} {:>12}",
                "Closes by backend",
                "Closes",
                "Orig-first",
                "Resp-first",
                "Reset",
                "Half-closed",
                "Unread",
                "Unacked"
            ),
        );
        for (name, counts) in self.rows(names) {
            let mut longest = Vec::new();
            duration(&mut longest, counts.longest_half_closed_ns);
            let unread =
                if counts.tells_unread { counts.unread_bytes.to_string() } else { "-".into() };
            line(
                out,
                &format!(
                    "  {:<30} {:>10} {:>10} {:>10} {:>10} {:>12} {:>12} {:>12}",
                    String::from_utf8_lossy(&name),
                    counts.closes(),
                    counts.count(|kind| kind.first == Some(Role::Orig)),
                    counts.count(|kind| kind.first == Some(Role::Resp)),
                    counts.count(Kind::has_reset),
                    String::from_utf8_lossy(&longest),
                    unread,
                    counts.unacked_bytes,
                ),
            );
        }
    }
}

fn line(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec does not fail.
    let _ = writeln!(out, "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use proxy_common::verdict;

    #[test]
    fn counters_of_a_damaged_recording_overflow_nothing() {
        let script = sample::reset();
        let mut close = verdict::close(&script.key, &script.flow);
        (close.orig.bytes, close.resp.bytes) = (Some(u64::MAX), Some(u64::MAX));
        let record = Record::of(&close);
        let mut summary = Summary::default();
        summary.add(&record);
        summary.add(&record);
        assert_eq!(summary.total().orig_bytes, u64::MAX);
        assert_eq!(summary.total().closes(), 2);
    }
}
