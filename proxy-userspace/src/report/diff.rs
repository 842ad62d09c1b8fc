//! Two captures compared: how the closes toward each backend were, and how they are.

pub mod json;
pub mod text;
pub mod words;

use super::kind::{KINDS, Kind};
use super::ladder::Ladder;
use super::story::{Facts, TimeWait, is_one_sided, is_refusal, is_unanswered, time_wait};
use proxy_common::flow::Flow;
use proxy_common::verdict::{Close, Role, Signal};
use std::collections::BTreeMap;

/// Half-closed times kept of a group, for the median.
const MOST_TIMES: usize = 4096;
/// A half-closed time that people notice, in nanoseconds.
const LONG: u64 = 1_000_000_000;

/// A connection that stands for others of its kind.
#[derive(Clone, Debug)]
pub struct Typical {
    /// Its number in its capture.
    pub number: u64,
    /// How it closed.
    pub close: Close,
    /// The flow.
    pub flow: Flow,
    /// Times of data.
    pub facts: Facts,
    /// What was sent.
    pub ladder: Ladder,
    /// What its ends are called, the originator first.
    pub ends: [String; 2],
}

/// What was counted of one group of connections in one capture.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Connections.
    pub connections: u64,
    /// By kind.
    pub kinds: [u64; KINDS],
    /// Those that were half closed for so long that people notice: by the server, whose client
    /// closed first, and by the client.
    pub long: [u64; 2],
    /// Those that threw data away.
    pub lost: u64,
    /// Those that were not answered at all.
    pub unanswered: u64,
    /// Those of which one direction alone was captured.
    pub one_sided: u64,
    /// Those of both directions that nobody has closed.
    pub open: u64,
    /// With whom TIME_WAIT stays: the client, the server, both, nobody.
    pub time_wait: [u64; 4],
    /// Those that were refused, by kind.
    refused: [u64; KINDS],
    typical: BTreeMap<usize, Typical>,
    half_closed_ns: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            connections: 0,
            kinds: [0; KINDS],
            long: [0; 2],
            lost: 0,
            unanswered: 0,
            one_sided: 0,
            open: 0,
            time_wait: [0; 4],
            refused: [0; KINDS],
            typical: BTreeMap::new(),
            half_closed_ns: Vec::new(),
        }
    }
}

impl Tally {
    /// Counts a connection, which lost data or not; `typical` is asked for only where the first of its
    /// kind is wanted.
    pub fn add(
        &mut self,
        close: &Close,
        flow: &Flow,
        lost: bool,
        typical: impl FnOnce() -> Option<Typical>,
    ) {
        let index = Kind::of(close).index();
        self.connections += 1;
        self.kinds[index] += 1;
        self.lost += u64::from(lost);
        self.refused[index] += u64::from(is_refusal(close));
        let is_open = close.first_closer.is_none();
        let (is_unanswered, is_one_sided) = (is_unanswered(close, flow), is_one_sided(flow));
        self.unanswered += u64::from(is_unanswered);
        self.one_sided += u64::from(is_one_sided);
        self.open += u64::from(is_open && !is_unanswered && !is_one_sided);
        self.time_wait[match time_wait(close, flow) {
            Some(TimeWait::At(Role::Orig)) => 0,
            Some(TimeWait::At(Role::Resp)) => 1,
            Some(TimeWait::AtBoth) => 2,
            None => 3,
        }] += 1;
        if !self.typical.contains_key(&index)
            && let Some(typical) = typical()
        {
            self.typical.insert(index, typical);
        }
        let Some(ns) = close.half_closed_ns else { return };
        self.long[usize::from(close.first_closer == Some(Role::Resp))] += u64::from(ns >= LONG);
        if self.half_closed_ns.len() < MOST_TIMES {
            self.half_closed_ns.push(ns);
        }
    }

    /// Counts what another has counted.
    pub fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.lost += other.lost;
        self.unanswered += other.unanswered;
        self.one_sided += other.one_sided;
        self.open += other.open;
        let counts = self.kinds.iter_mut().chain(&mut self.refused).chain(&mut self.long);
        let others = other.kinds.iter().chain(&other.refused).chain(&other.long);
        let (counts, others) = (counts.chain(&mut self.time_wait), others.chain(&other.time_wait));
        for (ours, theirs) in counts.zip(others) {
            *ours += theirs;
        }
        for (kind, typical) in &other.typical {
            self.typical.entry(*kind).or_insert_with(|| typical.clone());
        }
        self.half_closed_ns.extend(&other.half_closed_ns);
        self.half_closed_ns.truncate(MOST_TIMES);
    }

    /// How many of `kind`, as a share.
    #[must_use]
    pub fn share(&self, kind: usize) -> f64 {
        self.share_of(self.kinds[kind])
    }

    fn share_of(&self, count: u64) -> f64 {
        if self.connections == 0 { 0.0 } else { count as f64 / self.connections as f64 }
    }

    /// How many of `kind` had come about: those that were refused are left out.
    #[must_use]
    pub fn closes(&self, kind: Kind) -> u64 {
        self.kinds[kind.index()] - self.refused[kind.index()]
    }

    /// How many were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// How many were half closed for so long that people notice.
    #[must_use]
    pub fn long(&self) -> u64 {
        self.long.iter().sum()
    }

    /// The most frequent kind.
    #[must_use]
    pub fn usual(&self) -> Option<Kind> {
        Kind::all()
            .filter(|kind| self.kinds[kind.index()] > 0)
            .max_by_key(|kind| self.kinds[kind.index()])
    }

    /// A connection of the most frequent kind.
    #[must_use]
    pub fn typical(&self) -> Option<&Typical> {
        self.typical.get(&self.usual()?.index())
    }

    /// The median of the half-closed times.
    #[must_use]
    pub fn half_closed_ns(&self) -> Option<u64> {
        let mut times = self.half_closed_ns.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    /// The share that was half closed: a FIN came first.
    fn share_half_closed(&self) -> f64 {
        let by_fin = Kind::all().filter(|kind| kind.signal == Some(Signal::Fin));
        by_fin.map(|kind| self.share(kind.index())).sum()
    }

    /// How often `role` closed with each signal, whoever came first.
    #[must_use]
    pub fn signals(&self, role: Role) -> [u64; 4] {
        let mut counts = [0; 4];
        for kind in Kind::all() {
            let signal = match kind.first {
                Some(first) if first == role => kind.signal,
                Some(_) => kind.answer,
                None => None,
            };
            let place = match signal {
                Some(Signal::Fin) => 0,
                Some(Signal::RstAck) => 1,
                Some(Signal::Rst) => 2,
                Some(Signal::Timeout) | None => 3,
            };
            counts[place] += self.kinds[kind.index()];
        }
        counts
    }
}

/// The groups of one capture.
pub type Tallies = BTreeMap<String, Tally>;

/// A group in both captures, or in one.
#[derive(Clone, Debug)]
pub struct Group {
    /// What it is called.
    pub name: String,
    /// In the old capture.
    pub old: Tally,
    /// In the new one.
    pub new: Tally,
}

/// How a kind's share changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The kind.
    pub kind: Kind,
    /// Connections of it before and after.
    pub counts: [u64; 2],
    /// Its share before and after.
    pub shares: [f64; 2],
}

impl Change {
    /// By how much the share changed.
    #[must_use]
    pub fn size(&self) -> f64 {
        (self.shares[1] - self.shares[0]).abs()
    }
}

impl Group {
    /// Every kind that occurs, the largest change first.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let mut changes: Vec<Change> = Kind::all()
            .map(|kind| {
                let index = kind.index();
                Change {
                    kind,
                    counts: [self.old.kinds[index], self.new.kinds[index]],
                    shares: [self.old.share(index), self.new.share(index)],
                }
            })
            .filter(|change| change.counts != [0, 0])
            .collect();
        changes.sort_by(|a, b| {
            b.size().total_cmp(&a.size()).then(a.kind.index().cmp(&b.kind.index()))
        });
        changes
    }

    /// The largest change of a share, from 0 to 1.
    #[must_use]
    pub fn size(&self) -> f64 {
        self.changes().first().map_or(0.0, Change::size)
    }

    /// The medians of the half-closed times before and after, in nanoseconds, where people notice
    /// that they differ: one is a second or more, and twice the other.
    #[must_use]
    pub fn half_closed_ns(&self) -> Option<[u64; 2]> {
        let medians = [&self.old, &self.new].map(|tally| tally.half_closed_ns().unwrap_or(0));
        let (less, more) = (medians[0].min(medians[1]), medians[0].max(medians[1]));
        (more >= LONG && more >= less.saturating_mul(2)).then_some(medians)
    }
}

/// Both captures.
#[derive(Clone, Debug)]
pub struct Diff {
    /// All groups, the largest change first.
    pub groups: Vec<Group>,
    /// A share that changed by less than this did not change, and what concerns no larger share
    /// is no change.
    pub tolerance: f64,
}

impl Diff {
    /// Compares them. A group that only one of them has is a change.
    #[must_use]
    pub fn new(mut old: Tallies, mut new: Tallies, tolerance: f64) -> Self {
        let mut names: Vec<String> = old.keys().chain(new.keys()).cloned().collect();
        names.sort();
        names.dedup();
        let mut groups: Vec<Group> = names
            .into_iter()
            .map(|name| {
                let (old, new) = (old.remove(&name), new.remove(&name));
                Group { name, old: old.unwrap_or_default(), new: new.unwrap_or_default() }
            })
            .collect();
        groups.sort_by(|a, b| b.size().total_cmp(&a.size()).then(a.name.cmp(&b.name)));
        Self { groups, tolerance }
    }

    /// Whether `group` changed: how its connections close, how long they stay half closed, all or
    /// some of them, whether they come about, or what they lose.
    #[must_use]
    pub fn is_changed(&self, group: &Group) -> bool {
        let half_closed = group.old.share_half_closed().min(group.new.share_half_closed());
        let differs = |count: fn(&Tally) -> u64| {
            let [old, new] = [&group.old, &group.new].map(|tally| tally.share_of(count(tally)));
            (new - old).abs() > self.tolerance
        };
        group.size() > self.tolerance
            || group.half_closed_ns().is_some() && half_closed > self.tolerance
            || differs(Tally::long)
            || differs(Tally::refused)
            || differs(|tally| tally.unanswered)
            || differs(|tally| tally.one_sided)
            || differs(|tally| tally.time_wait[2])
            || differs(|tally| tally.lost)
    }

    /// Whether anything changed.
    #[must_use]
    pub fn any_changed(&self) -> bool {
        self.groups.iter().any(|group| self.is_changed(group))
    }
}
