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
/// How long after a strike, and after the look behind it, the RST is sent again: the first may be
/// lost on its way, and nobody says so.
const REPEATS_NS: [u64; 2] = [200 * MS, 800 * MS];

/// One connection that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The connection.
    pub key: FlowKey,
    /// Which end is this host's.
    pub local: Side,
    /// The interface that its socket is bound to; 0 where it is not, or it is not known.
    pub bound: u32,
    /// When its first FIN passed, as far as is known.
    pub begun_ns: u64,
    /// How often it was looked at after its time was over.
    pub tries: u32,
    /// Whether a refusal was counted.
    pub refused: bool,
    /// How it was struck, if it was.
    pub struck: Option<Strike>,
    /// How often the RST was sent again since.
    pub repeats: u8,
}

impl Entry {
    /// A connection that is looked at for the first time.
    pub(super) const fn new(key: FlowKey, local: Side, bound: u32, begun_ns: u64) -> Self {
        let (struck, repeats) = (None, 0);
        Self { key, local, bound, begun_ns, tries: 0, refused: false, struck, repeats }
    }

    /// Whether none was found, and `seen` of one end only that it has closed: its socket may be one
    /// that is bound to an interface, or have other addresses than the wire.
    pub(super) const fn is_missed(self, seen: &Strike) -> bool {
        let is_half_closed = (seen.local_fin_ns == 0) != (seen.peer_fin_ns == 0);
        self.struck.is_none()
            && self.bound == 0
            && seen.state == 0
            && seen.reported == 0
            && is_half_closed
    }

    /// The RST that is sent again, where the socket was struck and is gone, as `seen` now.
    pub(super) fn to_repeat(self, seen: &Strike) -> Option<Strike> {
        let is_gone = seen.state == 0 || seen.state == u32::from(LISTEN);
        self.struck.filter(|struck| is_gone && !is_signed(struck) && struck.unseen == 0)
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
    serial: u64,
}

impl Deadlines {
    /// The kernel told of a half-closed connection.
    pub(super) fn told(&mut self, record: &DeadlineRecord) {
        let entry = Entry::new(record.key, Side(record.local.0 & 1), 0, record.begun_ns);
        self.add(record.begun_ns.saturating_add(u64::from(record.wait_ms) * MS), entry);
    }

    /// Adds a connection that is due at `due_ns`.
    pub(super) fn add(&mut self, due_ns: u64, entry: Entry) {
        self.serial += 1;
        self.due.insert((due_ns, self.serial), entry);
    }

    /// Has connections looked at now, those among them that wait already too: a new rule may give
    /// them less time. One that was struck keeps its place.
    pub(super) fn look_at(&mut self, now_ns: u64, found: impl IntoIterator<Item = Entry>) {
        let known = self.due.iter().map(|(place, entry)| ((entry.key, entry.local), *place));
        let mut known: HashMap<(FlowKey, Side), (u64, u64)> = known.collect();
        for entry in found {
            let Some(place) = known.remove(&(entry.key, entry.local)) else {
                self.add(now_ns, entry);
                continue;
            };
            if self.due.get(&place).is_some_and(|waits| waits.struck.is_none())
                && let Some(waits) = self.due.remove(&place)
            {
                self.add(now_ns, Entry { bound: entry.bound, ..waits });
            }
        }
    }

    /// Adds a connection that is to be looked at again.
    pub(super) fn again(&mut self, now_ns: u64, mut entry: Entry) {
        let wait = (AGAIN_NS << entry.tries.min(8)).min(AGAIN_AT_MOST_NS);
        entry.tries += 1;
        self.add(now_ns + wait, entry);
    }

    /// Adds a connection that was struck: it is looked at again, as a RST may be lost on its way, or
    /// cross data and not be believed.
    pub(super) fn struck(&mut self, now_ns: u64, entry: Entry, strike: Strike) {
        let entry = Entry { struck: Some(strike), repeats: 0, tries: entry.tries + 1, ..entry };
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
        (first.key().0 <= now_ns).then(|| first.remove())
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
mod tests {
    use super::*;
    use bytemuck::Zeroable as _;
    use proxy_common::abi::Rule;
    use proxy_common::policy::Policy;
    use proxy_common::socket::tcp_state::{CLOSING, LAST_ACK, TIME_WAIT};
    use proxy_common::strike::{SIGNED, SIGNED_ORPHAN};

    const ENTRY: Entry = Entry {
        key: FlowKey { ends: [proxy_common::key::Endpoint::v4([127, 0, 0, 1], 1); 2] },
        local: Side::LOW,
        bound: 0,
        begun_ns: 1_000 * MS,
        tries: 0,
        refused: false,
        struck: None,
        repeats: 0,
    };

    fn seen(state: u8) -> Strike {
        let mut seen =
            Strike { state: state.into(), header_len: 20, has_link: 1, ..Strike::zeroed() };
        seen.rule.policy = Policy { half_close_ms: 2_000, close_wait_ms: 500, ..Policy::KEEP };
        seen
    }

    #[test]
    fn only_a_half_closed_connection_is_struck_and_only_when_due() {
        for state in [TIME_WAIT, LAST_ACK, CLOSING, ESTABLISHED, 0] {
            assert_eq!(judge(&seen(state), &ENTRY, u64::MAX), Verdict::Over, "{state}");
        }
        for state in [FIN_WAIT1, FIN_WAIT2] {
            assert_eq!(judge(&seen(state), &ENTRY, 2_999 * MS), Verdict::Later(3_000 * MS));
            assert_eq!(judge(&seen(state), &ENTRY, 3_000 * MS), Verdict::Reset);
        }
        assert_eq!(judge(&seen(CLOSE_WAIT), &ENTRY, 1_500 * MS), Verdict::Abort);
        // The flow knows better when the FIN passed.
        let later = Strike { local_fin_ns: 1_500 * MS, ..seen(FIN_WAIT2) };
        assert_eq!(judge(&later, &ENTRY, 3_000 * MS), Verdict::Later(3_500 * MS));
    }

    #[test]
    fn a_rule_that_is_gone_or_dry_strikes_nothing() {
        let mut gone = seen(FIN_WAIT2);
        gone.rule = bytemuck::Zeroable::zeroed();
        assert_eq!(judge(&gone, &ENTRY, u64::MAX), Verdict::Over);
        let mut dry = seen(FIN_WAIT2);
        dry.rule.policy.bits = DRY_RUN;
        assert_eq!(judge(&dry, &ENTRY, 9_000 * MS), Verdict::Dry);
    }

    #[test]
    fn what_would_lose_data_or_cannot_be_exact_is_refused() {
        let unacked = Strike { write_seq: 2, ..seen(FIN_WAIT1) };
        let due = 9_000 * MS;
        assert_eq!(judge(&unacked, &ENTRY, due), Verdict::Refuse(Refusal::UNACKED));
        let only_the_fin = Strike { write_seq: 1, ..seen(FIN_WAIT1) };
        assert_eq!(judge(&only_the_fin, &ENTRY, due), Verdict::Reset);
        let mut forced = unacked;
        forced.rule.policy.bits = FORCE;
        assert_eq!(judge(&forced, &ENTRY, due), Verdict::Reset);
        let longer = Strike { header_len: 40, ..seen(FIN_WAIT2) };
        assert_eq!(judge(&longer, &ENTRY, due), Verdict::Refuse(Refusal::UNKNOWN_HEADER));
        for signed in [SIGNED, SIGNED_ORPHAN] {
            let signed = Strike { signed, ..seen(FIN_WAIT2) };
            assert_eq!(judge(&signed, &ENTRY, due), Verdict::Refuse(Refusal::UNKNOWN_HEADER));
        }
        let lost = Strike { has_link: 0, ..seen(FIN_WAIT2) };
        assert_eq!(judge(&lost, &ENTRY, due), Verdict::Refuse(Refusal::NO_LINK));
    }

    #[test]
    fn a_connection_without_a_socket_is_missed_when_it_is_due() {
        let ours = Strike { local_fin_ns: 1_000 * MS, ..seen(0) };
        let theirs = Strike { peer_fin_ns: 1_000 * MS, ..seen(0) };
        for (missed, due) in [(ours, 3_000 * MS), (theirs, 1_500 * MS)] {
            assert_eq!(judge(&missed, &ENTRY, due - 1), Verdict::Later(due));
            assert_eq!(judge(&missed, &ENTRY, due), Verdict::Missed);
            let told = Strike { reported: 1, ..missed };
            assert_eq!(judge(&told, &ENTRY, due), Verdict::Over);
        }
        let unwanted = Strike { rule: Rule::zeroed(), ..ours };
        assert_eq!(judge(&unwanted, &ENTRY, u64::MAX), Verdict::Over);
    }

    #[test]
    fn a_reset_is_repeated_twice_and_only_where_the_socket_is_gone() {
        let sent = Strike { header_len: 32, snd_nxt: 7, ..seen(FIN_WAIT2) };
        let mut deadlines = Deadlines::default();
        deadlines.struck(0, ENTRY, sent);
        let mut times = Vec::new();
        while let Some(now) = deadlines.next() {
            let entry = deadlines.take(now).expect("it is due");
            assert_eq!(entry.to_repeat(&seen(0)), Some(sent));
            assert_eq!(entry.to_repeat(&seen(LISTEN)), Some(sent));
            assert_eq!(entry.to_repeat(&seen(FIN_WAIT2)), None, "it is struck anew");
            times.push(now / MS);
            deadlines.repeated(now, entry);
        }
        assert_eq!(times, [200, 1_000]);
        assert_eq!(ENTRY.to_repeat(&seen(0)), None, "it was not struck");
        let signed = Entry { struck: Some(Strike { signed: SIGNED, ..sent }), ..ENTRY };
        assert_eq!(signed.to_repeat(&seen(0)), None);
        let unseen = Entry { struck: Some(Strike { unseen: 1, ..sent }), ..ENTRY };
        assert_eq!(unseen.to_repeat(&seen(0)), None, "it would reach nobody");
    }

    #[test]
    fn only_a_connection_that_is_half_closed_and_has_no_socket_is_looked_for_again() {
        let missed = Strike { local_fin_ns: 1, ..Strike::zeroed() };
        assert!(ENTRY.is_missed(&missed));
        let found = Strike { state: FIN_WAIT2.into(), ..missed };
        let told = Strike { reported: 1, ..missed };
        let closed = Strike { peer_fin_ns: 2, ..missed };
        for over in [found, told, closed, Strike::zeroed()] {
            assert!(!ENTRY.is_missed(&over), "{over:?}");
        }
        assert!(!Entry { bound: 2, ..ENTRY }.is_missed(&missed), "it was looked for there");
        assert!(!Entry { struck: Some(found), ..ENTRY }.is_missed(&missed), "it is ended");
    }

    #[test]
    fn whoever_waits_already_is_looked_at_once() {
        let key =
            |port| FlowKey { ends: [proxy_common::key::Endpoint::v4([127, 0, 0, 1], port); 2] };
        let (waits, struck) = (Entry { key: key(2), ..ENTRY }, Entry { key: key(3), ..ENTRY });
        let mut deadlines = Deadlines::default();
        deadlines.add(9_000 * MS, Entry { begun_ns: 7, ..waits });
        deadlines.struck(0, struck, seen(FIN_WAIT2));
        for _ in 0..3 {
            deadlines.look_at(5, [waits, struck, ENTRY]);
        }
        assert_eq!(deadlines.due.len(), 3);
        let now: Vec<(FlowKey, u64)> = std::iter::from_fn(|| deadlines.take(5))
            .map(|entry| (entry.key, entry.begun_ns))
            .collect();
        assert_eq!(now, [(key(2), 7), (key(1), ENTRY.begun_ns)]);
        assert_eq!(deadlines.next(), Some(200 * MS), "a RST is not repeated before its time");
    }

    #[test]
    fn the_first_that_is_due_comes_first() {
        let mut deadlines = Deadlines::default();
        deadlines.add(30, Entry { begun_ns: 3, ..ENTRY });
        deadlines.add(10, Entry { begun_ns: 1, ..ENTRY });
        deadlines.add(10, Entry { begun_ns: 2, ..ENTRY });
        assert_eq!(deadlines.next(), Some(10));
        assert_eq!(deadlines.take(9), None);
        let order: Vec<u64> =
            std::iter::from_fn(|| deadlines.take(20)).map(|entry| entry.begun_ns).collect();
        assert_eq!(order, [1, 2]);
        assert_eq!(deadlines.next(), Some(30));
    }
}
