//! Which half-closed connections have waited long enough: a list by due time, and the judgement.

use super::strike::is_signed;
use proxy_common::abi::DeadlineRecord;
use proxy_common::acts::{CLOSE_WAIT_OVER, HALF_CLOSE_OVER};
use proxy_common::decide::Refusal;
use proxy_common::key::{FlowKey, Side};
use proxy_common::policy::{DRY_RUN, FORCE};
use proxy_common::socket::tcp_state::{CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LISTEN};
use proxy_common::strike::Strike;
use std::collections::{BTreeMap, HashMap};

/// A millisecond.
const MS: u64 = 1_000_000;
/// How soon a connection that could not be struck is looked at again, at first.
const AGAIN_NS: u64 = 50 * MS;
/// The same, at most.
const AGAIN_AT_MOST_NS: u64 = 1_000 * MS;
/// How soon one is looked at whose connection is said to be over.
const OVER_NS: u64 = 1_000 * MS;
/// How long after a strike, and after the look behind it, the RST is sent again: the first may be
/// lost on its way, and nobody says so.
const REPEATS_NS: [u64; 2] = [200 * MS, 800 * MS];

/// One connection that waits. There are as many as connections are half closed: it is small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The connection.
    pub key: FlowKey,
    /// Which end is this host's.
    pub local: Side,
    /// The interface that its socket is bound to; 0 where it is not, or it is not known.
    pub bound: u32,
    /// When its first FIN passed, as far as is known.
    pub begun_ns: u64,
    /// How often it could not be struck, and was to be looked at again, since it last was.
    pub looks: u16,
    /// How often it was struck, or changed while it was about to be.
    pub strikes: u16,
    /// Whether a refusal was counted.
    pub refused: bool,
    /// How it was struck, if it was.
    pub struck: Option<Box<Strike>>,
    /// How often the RST was sent again since.
    pub repeats: u8,
}

impl Entry {
    /// A connection that is looked at for the first time.
    pub(super) const fn new(key: FlowKey, local: Side, bound: u32, begun_ns: u64) -> Self {
        let (struck, repeats) = (None, 0);
        Self { key, local, bound, begun_ns, looks: 0, strikes: 0, refused: false, struck, repeats }
    }

    /// Whether none was found, and `seen` of one end only that it has closed: its socket may be one
    /// that is bound to an interface, or have other addresses than the wire.
    pub(super) const fn is_missed(&self, seen: &Strike) -> bool {
        let is_half_closed = (seen.local_fin_ns == 0) != (seen.peer_fin_ns == 0);
        self.struck.is_none()
            && self.bound == 0
            && seen.state == 0
            && seen.reported == 0
            && is_half_closed
    }

    /// The RST that is sent again, where the socket was struck and is gone, as `seen` now.
    pub(super) fn to_repeat(&self, seen: &Strike) -> Option<Strike> {
        let is_gone = seen.state == 0 || seen.state == u32::from(LISTEN);
        self.struck
            .as_deref()
            .filter(|struck| is_gone && !is_signed(struck) && struck.unseen == 0)
            .copied()
    }
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing, never more.
    Over,
    /// Look again then.
    Later(u64),
    /// Count that it would be struck.
    Dry,
    /// Count that no socket is there to be struck.
    Missed,
    /// Count why it is not struck, and look again.
    Refuse(Refusal),
    /// A RST with the socket's own numbers to both ends.
    Reset,
    /// Have the kernel abort the socket.
    Abort,
}

/// Connections by the time at which they are due.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    due: BTreeMap<(u64, u64), Entry>,
    /// Where each stands: an end of a connection waits once.
    places: HashMap<(FlowKey, Side), (u64, u64)>,
    serial: u64,
}

impl Deadlines {
    /// The kernel told of a half-closed connection.
    pub(super) fn told(&mut self, record: &DeadlineRecord) {
        let entry = Entry::new(record.key, Side(record.local.0 & 1), 0, record.begun_ns);
        self.add(record.begun_ns.saturating_add(u64::from(record.wait_ms) * MS), entry);
    }

    /// Adds a connection that is due at `due_ns`, or gives it another time.
    pub(super) fn add(&mut self, due_ns: u64, entry: Entry) {
        self.serial += 1;
        let place = (due_ns, self.serial);
        if let Some(old) = self.places.insert((entry.key, entry.local), place) {
            self.due.remove(&old);
        }
        self.due.insert(place, entry);
    }

    /// Whether this end of a connection waits.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        self.places.contains_key(&(entry.key, entry.local))
    }

    /// What waits of this end of a connection, and since when it is due; not where it was struck.
    fn waiting(&self, key: FlowKey, local: Side) -> Option<(u64, &Entry)> {
        let place = self.places.get(&(key, local))?;
        let entry = self.due.get(place).filter(|entry| entry.struck.is_none())?;
        Some((place.0, entry))
    }

    /// The kernel told that a connection is over: it is looked at soon, and most often there is
    /// nothing to wait for any more. Not at once: what told of its end may not have reached the socket.
    pub(super) fn over(&mut self, key: FlowKey, now_ns: u64) {
        let soon = now_ns + OVER_NS;
        for local in [Side::LOW, Side::HIGH] {
            let later = self.waiting(key, local).filter(|(due, _)| *due > soon);
            if let Some(entry) = later.map(|(_, entry)| entry.clone()) {
                self.add(soon, entry);
            }
        }
    }

    /// Has connections looked at now, those among them that wait already too: a new rule may give
    /// them less time. One that was struck keeps its place.
    pub(super) fn look_at(&mut self, now_ns: u64, found: impl IntoIterator<Item = Entry>) {
        for entry in found {
            match self.waiting(entry.key, entry.local) {
                Some((_, waits)) => {
                    let entry = Entry { bound: entry.bound, ..waits.clone() };
                    self.add(now_ns, entry);
                }
                None if self.has(&entry) => {}
                None => self.add(now_ns, entry),
            }
        }
    }

    /// Adds a connection that is to be looked at again.
    pub(super) fn again(&mut self, now_ns: u64, mut entry: Entry) {
        let wait = (AGAIN_NS << entry.looks.min(8)).min(AGAIN_AT_MOST_NS);
        entry.looks = entry.looks.saturating_add(1);
        self.add(now_ns + wait, entry);
    }

    /// Adds a connection that was struck: it is looked at again, as a RST may be lost on its way, or
    /// cross data and not be believed.
    pub(super) fn struck(&mut self, now_ns: u64, entry: Entry, strike: Strike) {
        let entry = Entry { struck: Some(Box::new(strike)), repeats: 0, looks: 0, ..entry };
        self.add(now_ns + REPEATS_NS[0], entry);
    }

    /// Adds a connection whose RST was sent again, if that is not enough.
    pub(super) fn repeated(&mut self, now_ns: u64, mut entry: Entry) {
        entry.repeats += 1;
        if let Some(wait) = REPEATS_NS.get(usize::from(entry.repeats)) {
            self.add(now_ns + wait, entry);
        }
    }

    /// When the next one is due.
    #[must_use]
    pub(super) fn next(&self) -> Option<u64> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes one out that is due.
    pub(super) fn take(&mut self, now_ns: u64) -> Option<Entry> {
        let first = self.due.first_entry()?;
        if first.key().0 > now_ns {
            return None;
        }
        let entry = first.remove();
        self.places.remove(&(entry.key, entry.local));
        Some(entry)
    }
}

/// Why a connection in this state is ended: the bit of `Acts`.
#[must_use]
pub(super) const fn cause(seen: &Strike) -> u32 {
    if seen.state == CLOSE_WAIT as u32 { CLOSE_WAIT_OVER } else { HALF_CLOSE_OVER }
}

/// What is to be done with the connection of `entry`, by what its socket and its rule say.
#[must_use]
pub(super) fn judge(seen: &Strike, entry: &Entry, now_ns: u64) -> Verdict {
    let policy = &seen.rule.policy;
    let state = seen.state as u8;
    let is_missed = entry.is_missed(seen);
    let is_ours =
        if is_missed { seen.local_fin_ns != 0 } else { state == FIN_WAIT1 || state == FIN_WAIT2 };
    if state == ESTABLISHED && seen.peer_fin_ns != 0 {
        // The peer's FIN came ahead of its data.
        return Verdict::Later(now_ns + AGAIN_AT_MOST_NS);
    }
    let (wait_ms, fin_ns) = if is_ours {
        (policy.half_close_ms, seen.local_fin_ns)
    } else if state == CLOSE_WAIT || is_missed {
        (policy.close_wait_ms, seen.peer_fin_ns)
    } else {
        // Both ends have closed, or it is another connection by now.
        return Verdict::Over;
    };
    if wait_ms == 0 {
        return Verdict::Over;
    }
    let begun_ns = if fin_ns == 0 { entry.begun_ns } else { fin_ns };
    let due = begun_ns.saturating_add(u64::from(wait_ms) * MS);
    if now_ns < due {
        return Verdict::Later(due);
    }
    if is_missed {
        return Verdict::Missed;
    }
    if policy.has(DRY_RUN) {
        return Verdict::Dry;
    }
    // In FIN_WAIT1 the FIN itself may be what is not acknowledged.
    let unacked = seen.write_seq.wrapping_sub(seen.snd_una);
    if unacked > u32::from(state == FIN_WAIT1) && !policy.has(FORCE) {
        return Verdict::Refuse(Refusal::UNACKED);
    }
    if state == CLOSE_WAIT {
        return Verdict::Abort;
    }
    if is_signed(seen) {
        return Verdict::Refuse(Refusal::UNKNOWN_HEADER);
    }
    if seen.has_link == 0 {
        return Verdict::Refuse(Refusal::NO_LINK);
    }
    Verdict::Reset
}

#[cfg(test)]
mod tests;
