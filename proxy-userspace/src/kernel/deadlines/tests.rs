//! Who is due when, and what is done with whom.

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
    looks: 0,
    strikes: 0,
    refused: false,
    struck: None,
    repeats: 0,
};

const fn key(port: u16) -> FlowKey {
    FlowKey { ends: [proxy_common::key::Endpoint::v4([127, 0, 0, 1], port); 2] }
}

fn seen(state: u8) -> Strike {
    let mut seen = Strike { state: state.into(), header_len: 20, has_link: 1, ..Strike::zeroed() };
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
    let signed = Strike { signed: SIGNED, ..sent };
    let signed = Entry { struck: Some(Box::new(signed)), ..ENTRY };
    assert_eq!(signed.to_repeat(&seen(0)), None);
    let unseen = Strike { unseen: 1, ..sent };
    let unseen = Entry { struck: Some(Box::new(unseen)), ..ENTRY };
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
    assert!(!Entry { struck: Some(Box::new(found)), ..ENTRY }.is_missed(&missed), "it is ended");
}

#[test]
fn whoever_waits_already_is_looked_at_once() {
    let (waits, struck) = (Entry { key: key(2), ..ENTRY }, Entry { key: key(3), ..ENTRY });
    let mut deadlines = Deadlines::default();
    deadlines.add(9_000 * MS, Entry { begun_ns: 7, ..waits.clone() });
    deadlines.struck(0, struck.clone(), seen(FIN_WAIT2));
    for _ in 0..3 {
        deadlines.look_at(5, [waits.clone(), struck.clone(), ENTRY]);
    }
    assert_eq!((deadlines.due.len(), deadlines.places.len()), (3, 3));
    let now: Vec<(FlowKey, u64)> =
        std::iter::from_fn(|| deadlines.take(5)).map(|entry| (entry.key, entry.begun_ns)).collect();
    assert_eq!(now, [(key(2), 7), (key(1), ENTRY.begun_ns)]);
    assert_eq!(deadlines.next(), Some(200 * MS), "a RST is not repeated before its time");
}

#[test]
fn who_is_said_to_be_over_does_not_wait_for_its_time() {
    let mut deadlines = Deadlines::default();
    let minutes = 600_000 * MS;
    for port in 1..=4 {
        deadlines.add(minutes, Entry { key: key(port), ..ENTRY });
    }
    deadlines.add(3 * MS, Entry { key: key(2), local: Side::HIGH, ..ENTRY });
    deadlines.struck(0, Entry { key: key(3), ..ENTRY }, seen(FIN_WAIT2));
    for port in [2, 3, 4, 5] {
        deadlines.over(key(port), 0);
    }
    let mut dues = Vec::new();
    while let Some(due) = deadlines.next() {
        let entry = deadlines.take(due).expect("it is due");
        dues.push((due / MS, entry.key, entry.local));
    }
    let (low, high) = (Side::LOW, Side::HIGH);
    assert_eq!(
        dues,
        [
            (3, key(2), high),
            (200, key(3), low),
            (1_000, key(2), low),
            (1_000, key(4), low),
            (600_000, key(1), low)
        ]
    );
    assert!(deadlines.places.is_empty());
    assert!(size_of::<Entry>() <= 80, "{}", size_of::<Entry>());
}

#[test]
fn the_first_that_is_due_comes_first() {
    let mut deadlines = Deadlines::default();
    deadlines.add(30, Entry { key: key(3), begun_ns: 3, ..ENTRY });
    deadlines.add(10, Entry { key: key(1), begun_ns: 1, ..ENTRY });
    deadlines.add(10, Entry { key: key(2), begun_ns: 2, ..ENTRY });
    assert_eq!(deadlines.next(), Some(10));
    assert_eq!(deadlines.take(9), None);
    let order: Vec<u64> =
        std::iter::from_fn(|| deadlines.take(20)).map(|entry| entry.begun_ns).collect();
    assert_eq!(order, [1, 2]);
    assert_eq!(deadlines.next(), Some(30));
}
