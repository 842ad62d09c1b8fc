//! Closes meet what the proxy said of them.
//!
//! The proxy says it just before close(2), so that the record mostly comes after the note: at once,
//! or minutes later where the peer leaves the connection half closed. Where the peer reset the
//! connection the record is there first, and waits until the proxy has seen the reset too.

use super::stated::{Connection, Note, Stated};
use crate::report::record::Said;
use proxy_common::abi::CloseRecord;
use proxy_common::flow::Flow;
use proxy_common::key::{Endpoint, Side, UNSPECIFIED};
use proxy_common::verdict::{Close, EndReport};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a close of the proxy's waits for its note. A proxy that waits for a slow server looks
/// at the client again when there is something to send.
const PATIENCE: Duration = Duration::from_secs(3);

/// How soon closes that wait are looked at again.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// Closes that wait at most, and notes that are kept at most: of connections that the peer leaves
/// half closed. The oldest go first.
const KEPT: usize = 65_536;

/// A close, and what the proxy said of it.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) record: CloseRecord,
    pub(super) note: Option<Note>,
}

/// What becomes of a close that was just told.
#[derive(Debug)]
pub(super) enum Admitted {
    /// It goes on, with its note if there is one.
    Goes(Option<Note>),
    /// It waits for its note.
    Waits,
}

/// Both, until they have met.
#[derive(Debug, Default)]
pub(super) struct Joins {
    ear: Option<Arc<Stated>>,
    /// Where the proxy listens; the unspecified address stands for all.
    doors: HashSet<Endpoint>,
    notes: HashMap<Connection, Note>,
    /// The notes' connections as they came; of those that were taken too, for a while.
    order: VecDeque<Connection>,
    /// Closes that wait, by their place in the row in which they came.
    waiting: BTreeMap<u64, (Instant, Joined)>,
    /// The places of those that wait for the note on this connection.
    awaited: HashMap<Connection, u64>,
    /// The places of those whose note has come.
    met: Vec<u64>,
    next_place: u64,
    /// Notes that were thrown away before their connections were over.
    forgotten: u64,
}

impl Joins {
    /// Listens to a proxy.
    pub(super) fn hear(&mut self, ear: Arc<Stated>) {
        self.ear = Some(ear);
    }

    /// The proxy listens there from now on. What it listened on before is remembered: connections
    /// live longer.
    pub(super) fn add_doors(&mut self, doors: impl IntoIterator<Item = Endpoint>) {
        self.doors.extend(doors);
    }

    /// How many notes were lost, where there is a proxy.
    pub(super) fn lost(&self) -> Option<u64> {
        self.ear.as_ref().map(|ear| ear.lost() + self.forgotten)
    }

    /// Whether a close waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes what the proxy has said.
    pub(super) fn listen(&mut self) {
        let Some(ear) = &self.ear else { return };
        let (notes, order) = (&mut self.notes, &mut self.order);
        let (awaited, met) = (&self.awaited, &mut self.met);
        ear.take(|note| {
            met.extend(awaited.get(&note.connection));
            order.push_back(note.connection);
            notes.insert(note.connection, note);
        });
        // Of the connections, those whose notes were taken go as well: twice as many are kept.
        while self.notes.len() > KEPT || self.order.len() > 2 * KEPT {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forgotten += u64::from(self.notes.remove(&oldest).is_some());
        }
    }

    /// What was said of a connection that is half open: the proxy has closed its end.
    pub(super) fn said(&self, close: &Close) -> Option<Said<'_>> {
        let known = |end: &EndReport| {
            let connection = Connection { cookie: end.cookie?, port: end.endpoint.port };
            self.notes.get(&connection)
        };
        known(&close.orig).or_else(|| known(&close.resp)).map(Note::said)
    }

    /// A connection is over: it goes on with its note, unless it had better wait for that.
    pub(super) fn admit(&mut self, record: &CloseRecord, now: Instant) -> Admitted {
        let note = self.note_of(record);
        let waits = note.is_none() && self.is_expected(record);
        if !waits || self.waiting.len() >= KEPT {
            return Admitted::Goes(note);
        }
        let place = self.next_place;
        self.next_place += 1;
        self.awaited.extend(connections(record).into_iter().flatten().map(|one| (one, place)));
        self.waiting.insert(place, (now, Joined { record: *record, note }));
        Admitted::Waits
    }

    /// Takes out what has met its note, or has waited for too long at `now`; without a time, all.
    pub(super) fn due(&mut self, now: Option<Instant>) -> Vec<Joined> {
        let mut places = std::mem::take(&mut self.met);
        places.sort_unstable();
        let mut due: Vec<Joined> =
            places.into_iter().filter_map(|place| self.take_out(place)).collect();
        let is_late = |since: Instant| now.is_none_or(|now| now.duration_since(since) >= PATIENCE);
        while let Some((&place, &(since, _))) = self.waiting.first_key_value()
            && is_late(since)
        {
            due.extend(self.take_out(place));
        }
        due
    }

    /// Ends the wait of a close, if it was not ended yet.
    fn take_out(&mut self, place: u64) -> Option<Joined> {
        let (_, mut closed) = self.waiting.remove(&place)?;
        for connection in connections(&closed.record).into_iter().flatten() {
            self.awaited.remove(&connection);
        }
        closed.note = self.note_of(&closed.record);
        Some(closed)
    }

    /// The note on a connection: where both ends are the proxy's, that of the end that connected.
    /// The other one would be for a reader who looks at it from that side, and is thrown away.
    fn note_of(&mut self, closed: &CloseRecord) -> Option<Note> {
        if self.notes.is_empty() {
            return None;
        }
        let [first, second] = connections(closed).map(|one| self.notes.remove(&one?));
        first.or(second)
    }

    /// Whether the proxy will have something to say of it.
    fn is_expected(&self, closed: &CloseRecord) -> bool {
        if self.ear.is_none() || connections(closed).iter().all(Option::is_none) {
            return false;
        }
        closed.acts.class != 0 || self.is_door(closed.key.end(responder(&closed.flow)))
    }

    fn is_door(&self, end: &Endpoint) -> bool {
        let everywhere = |addr: &_| Endpoint { addr: *addr, port: end.port };
        self.doors.contains(end)
            || UNSPECIFIED.iter().any(|addr| self.doors.contains(&everywhere(addr)))
    }
}

fn responder(flow: &Flow) -> Side {
    Side(flow.orig.0 & 1).other()
}

/// The connection as the sockets that are known have it, the originator's first.
fn connections(closed: &CloseRecord) -> [Option<Connection>; 2] {
    let responder = responder(&closed.flow);
    [responder.other(), responder].map(|side| match closed.flow.end(side).cookie {
        0 => None,
        cookie => Some(Connection { cookie, port: closed.key.end(side).port }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::closes::{Class, Doing};
    use proxy_common::key::FlowKey;

    const DOOR: Endpoint = Endpoint::v4([127, 0, 0, 1], 80);

    fn joins() -> (Joins, Arc<Stated>) {
        let ear = Arc::new(Stated::default());
        let mut joins = Joins::default();
        joins.hear(Arc::clone(&ear));
        joins.add_doors([Endpoint::v4([0; 4], 80)]);
        (joins, ear)
    }

    fn closed(to: Endpoint, cookie: u64) -> CloseRecord {
        let (key, side) = FlowKey::new(Endpoint::v4([127, 0, 0, 1], 40_000), to);
        let mut record: CloseRecord = bytemuck::Zeroable::zeroed();
        record.key = key;
        record.flow.orig = side;
        record.flow.ends[side.other().index()].cookie = cookie;
        record
    }

    /// The note with which a close goes on; none where it goes without one.
    fn met(admitted: Admitted) -> Option<Note> {
        match admitted {
            Admitted::Goes(note) => note,
            Admitted::Waits => panic!("it waits"),
        }
    }

    fn say(ear: &Stated, cookie: u64, status: u16) {
        say_from(ear, Connection { cookie, port: DOOR.port }, status);
    }

    fn say_from(ear: &Stated, connection: Connection, status: u16) {
        let doing = Doing { status, ..Doing::default() };
        ear.note(Note { connection, class: Class::Active, doing });
    }

    #[test]
    fn a_note_may_come_first() {
        let (mut joins, ear) = joins();
        say(&ear, 9, 200);
        joins.listen();
        let note = met(joins.admit(&closed(DOOR, 9), Instant::now()));
        assert_eq!(note.expect("joined").doing.status, 200);
        assert!(joins.notes.is_empty());
    }

    #[test]
    fn each_connection_of_a_socket_has_its_own() {
        let (mut joins, ear) = joins();
        for (port, status) in [(80, 200), (81, 502)] {
            say_from(&ear, Connection { cookie: 9, port }, status);
        }
        joins.listen();
        for (port, status) in [(80, 200), (81, 502)] {
            let to = Endpoint { port, ..DOOR };
            let note = met(joins.admit(&closed(to, 9), Instant::now()));
            assert_eq!(note.expect("joined").doing.status, status);
        }
    }

    #[test]
    fn a_record_may_come_first() {
        let (mut joins, ear) = joins();
        let now = Instant::now();
        assert!(matches!(joins.admit(&closed(DOOR, 9), now), Admitted::Waits));
        joins.listen();
        assert!(joins.due(Some(now)).is_empty() && joins.is_waiting());
        say(&ear, 9, 502);
        joins.listen();
        let due = joins.due(Some(now));
        assert_eq!(due[0].note.as_ref().expect("joined").doing.status, 502);
        assert!(!joins.is_waiting() && joins.awaited.is_empty());
    }

    #[test]
    fn of_many_that_wait_those_go_whose_note_has_come() {
        let (mut joins, ear) = joins();
        let now = Instant::now();
        for cookie in 1..=100 {
            let _waits = joins.admit(&closed(DOOR, cookie), now);
        }
        for cookie in [70, 30] {
            say(&ear, cookie, 200);
        }
        joins.listen();
        let cookie = |joined: &Joined| connections(&joined.record)[1].map(|one| one.cookie);
        let due = joins.due(Some(now));
        assert_eq!(due.iter().map(cookie).collect::<Vec<_>>(), [Some(30), Some(70)]);
        assert_eq!((joins.waiting.len(), joins.awaited.len()), (98, 98));
        assert_eq!(joins.due(None).len(), 98);
        assert!(!joins.is_waiting() && joins.awaited.is_empty());
    }

    #[test]
    fn nobody_waits_for_ever_and_strangers_not_at_all() {
        let (mut joins, _ear) = joins();
        let now = Instant::now();
        let stranger = Endpoint::v4([127, 0, 0, 1], 81);
        assert!(met(joins.admit(&closed(stranger, 9), now)).is_none());
        assert!(met(joins.admit(&closed(DOOR, 0), now)).is_none(), "it never was a socket");
        assert!(matches!(joins.admit(&closed(DOOR, 9), now), Admitted::Waits));
        let late = joins.due(Some(now + PATIENCE));
        assert!(late[0].note.is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut joins, ear) = joins();
        for round in 0..8 {
            for cookie in 0..10_000 {
                say(&ear, 1 + round * 10_000 + cookie, 200);
            }
            joins.listen();
        }
        assert_eq!(joins.notes.len(), KEPT);
        assert!(joins.order.len() <= 2 * KEPT);
        let newest = joins.admit(&closed(DOOR, 80_000), Instant::now());
        assert!(met(newest).is_some(), "the newest stay");
    }
}
