//! The flow table and the ring buffer at their limits: what finds no room is counted, what must go
//! is reported first, and what is over makes room.

mod support;

use proxy_common::abi::Counter;
use proxy_common::verdict::{self, Close, ConnState};
use proxy_common::wire::Link;
use std::net::SocketAddr;
use support::clock::now_ns;
use support::frames::ethernet;
use support::handmade::Words;
use support::observed::value;
use support::packets::{ACK, FIN, RST, SYN};
use teardown::kernel::{Bench, Hook, Options};

const SECOND: u64 = 1_000_000_000;

/// The programs with a small table or ring.
struct Small(Bench);

impl Small {
    fn new(table_entries: u32, ring_bytes: u32) -> Self {
        let options = Options { table_entries, ring_bytes, ..Options::default() };
        Self(Bench::load(&options).unwrap_or_else(|error| panic!("{error}")))
    }

    /// A segment from port `port` of the client, or to it.
    fn say(&mut self, port: u16, by_client: bool, seq: u32, ack: u32, flags: u8) {
        let client = SocketAddr::new([192, 0, 2, 1].into(), port);
        let server = SocketAddr::new([192, 0, 2, 2].into(), 80);
        let (from, to) = if by_client { (client, server) } else { (server, client) };
        let words = Words { from, to, seq, ack, flags, data: b"", extensions: false };
        let frame = ethernet(&[], &words.packet());
        self.0.run(Hook::Ingress, Link::Ethernet, &frame).unwrap_or_else(|error| panic!("{error}"));
    }

    /// A connection up to its being established.
    fn open(&mut self, port: u16) {
        self.say(port, true, 100, 0, SYN);
        self.say(port, false, 900, 101, SYN | ACK);
    }

    /// A whole connection that ends by a RST.
    fn reset(&mut self, port: u16) {
        self.open(port);
        self.say(port, false, 901, 101, RST | ACK);
    }

    fn closes(&mut self) -> Vec<Close> {
        self.0.closes().iter().map(|(key, flow)| verdict::close(key, flow)).collect()
    }

    fn count(&self, counter: Counter) -> u64 {
        value(&self.0.counters().expect("the counters"), counter)
    }

    fn entries(&self) -> usize {
        self.0.slots().expect("the table").len()
    }

    /// Makes room as if this many seconds had passed.
    fn tidy_in(&mut self, seconds: u64) {
        self.0.tidy(now_ns() + seconds * SECOND).expect("room");
    }
}

fn ports(closes: &[Close]) -> Vec<u16> {
    closes.iter().map(|close| close.orig.endpoint.port).collect()
}

#[test]
fn what_a_full_table_does_not_take_is_counted() {
    let mut small = Small::new(64, 1 << 16);
    for port in 1..=100 {
        small.say(port, true, 100, 0, SYN);
    }
    assert_eq!(small.entries(), 64);
    assert_eq!(small.count(Counter::FLOWS_MADE), 64);
    assert_eq!(small.count(Counter::LOST_TABLE_FULL), 36);
    // Those that are in it go on.
    small.say(1, false, 900, 101, SYN | ACK);
    small.say(1, false, 901, 101, RST | ACK);
    assert_eq!(ports(&small.closes()), [1]);
    assert_eq!(small.count(Counter::LOST_TABLE_FULL), 36);
}

#[test]
fn under_pressure_the_longest_silent_are_reported_and_go() {
    let mut small = Small::new(64, 1 << 16);
    for port in 1..=60 {
        small.open(port);
    }
    // Port 1 shows life: it is not the longest silent any more.
    small.say(1, false, 901, 101, FIN | ACK);
    small.tidy_in(0);
    let closes = small.closes();
    let mut gone = ports(&closes);
    gone.sort_unstable();
    assert_eq!(gone, (2..=9).collect::<Vec<u16>>());
    for close in &closes {
        assert!(close.is_evicted() && !close.is_over() && !close.is_expired(), "{close:?}");
        assert_eq!((close.conn_state, close.history.as_str()), (ConnState::S1, "Sh"));
        assert_eq!(close.first_closer, None);
    }
    assert_eq!(small.count(Counter::EVICTED), 8);
    assert_eq!(small.entries(), 52);
    // There is room now: nobody else has to go.
    small.tidy_in(0);
    assert_eq!(ports(&small.closes()), [] as [u16; 0]);
    for port in 61..=64 {
        small.open(port);
    }
    assert_eq!(small.count(Counter::LOST_TABLE_FULL), 0);
}

#[test]
fn under_pressure_those_that_are_over_go_first() {
    let mut small = Small::new(64, 1 << 16);
    for port in 1..=20 {
        small.reset(port);
    }
    for port in 21..=60 {
        small.open(port);
    }
    assert_eq!(small.closes().len(), 20);
    small.tidy_in(0);
    assert_eq!(small.count(Counter::RECLAIMED), 20);
    assert_eq!((small.entries(), small.count(Counter::EVICTED)), (40, 0));
}

#[test]
fn under_pressure_nobody_has_to_go_who_came_after_it() {
    let mut small = Small::new(512, 1 << 20);
    for port in 1..=460 {
        small.reset(port);
    }
    assert_eq!(small.closes().len(), 460);
    small.tidy_in(0);
    assert_eq!(small.entries(), 0);
    for port in 1001..=1200 {
        small.reset(port);
    }
    assert_eq!(small.closes().len(), 200);
    small.0.go_on(now_ns()).expect("a round");
    assert_eq!(small.entries(), 200);
}

#[test]
fn a_second_may_bring_more_than_there_are_entries() {
    let mut small = Small::new(64, 1 << 20);
    for round in 0..20 {
        for port in 1..=57 {
            small.reset(100 * round + port);
        }
        assert_eq!(small.closes().len(), 57, "{round}");
        // The next second is far.
        small.0.go_on(now_ns()).expect("a round");
    }
    assert_eq!(small.count(Counter::LOST_TABLE_FULL), 0);
}

#[test]
fn a_reported_connection_keeps_its_entry_for_what_comes_late() {
    let mut small = Small::new(64, 1 << 16);
    small.reset(1);
    assert_eq!(small.closes().len(), 1);
    small.tidy_in(5);
    assert_eq!(small.entries(), 1);
    small.say(1, true, 101, 901, FIN | ACK);
    assert_eq!((small.count(Counter::LATE), small.count(Counter::FLOWS_MADE)), (1, 1));
    small.tidy_in(11);
    assert_eq!((small.entries(), small.count(Counter::RECLAIMED)), (0, 1));
    assert!(small.closes().is_empty());
}

#[test]
fn a_connection_that_begins_in_an_entry_that_is_being_freed_is_counted_as_lost() {
    let mut small = Small::new(64, 1 << 16);
    small.reset(1);
    assert_eq!(small.closes().len(), 1);
    small.0.leave().expect("the table");
    // What comes late begins nothing, as before.
    small.say(1, true, 101, 901, FIN | ACK);
    assert_eq!((small.count(Counter::LATE), small.count(Counter::LOST_LEAVING)), (1, 0));
    small.say(1, true, 7_000_100, 0, SYN);
    assert_eq!(small.count(Counter::LOST_LEAVING), 1);
    // It is freed all the same, and from then on the tuple is as good as any.
    small.tidy_in(11);
    assert_eq!((small.entries(), small.count(Counter::RECLAIMED)), (0, 1));
    small.reset(1);
    assert_eq!(ports(&small.closes()), [1]);
    assert_eq!(small.count(Counter::LOST_LEAVING), 1);
}

#[test]
fn half_full_the_wait_for_what_comes_late_is_short() {
    let mut small = Small::new(64, 1 << 16);
    for port in 1..=40 {
        small.reset(port);
    }
    assert_eq!(small.closes().len(), 40);
    small.tidy_in(2);
    assert_eq!(small.entries(), 0);
}

#[test]
fn a_syn_without_an_answer_is_given_up() {
    let mut small = Small::new(64, 1 << 16);
    small.say(1, true, 100, 0, SYN);
    small.say(1, true, 100, 0, SYN);
    small.open(2);
    small.tidy_in(120);
    assert!(small.closes().is_empty());
    small.tidy_in(146);
    let closes = small.closes();
    assert_eq!(ports(&closes), [1]);
    assert!(closes[0].is_expired() && !closes[0].is_over(), "{closes:?}");
    assert_eq!((closes[0].conn_state, closes[0].orig.control[0]), (ConnState::S0, 2));
    assert_eq!((small.count(Counter::EXPIRED), small.entries()), (1, 1));
}

#[test]
fn what_a_crowd_leaves_is_freed_in_portions_to_the_last() {
    let mut small = Small::new(8192, 1 << 22);
    for port in 1..=2500 {
        small.reset(port);
    }
    assert_eq!(small.closes().len(), 2500);
    small.tidy_in(5);
    assert_eq!(small.entries(), 2500);
    small.tidy_in(11);
    assert_eq!((small.entries(), small.count(Counter::RECLAIMED)), (0, 2500));
}

#[test]
fn a_crowd_of_dead_attempts_is_found_in_portions_and_told() {
    let mut small = Small::new(8192, 1 << 22);
    for port in 1..=2500 {
        small.say(port, true, 100, 0, SYN);
    }
    small.open(2501);
    small.tidy_in(146);
    let mut given_up = ports(&small.closes());
    given_up.sort_unstable();
    assert_eq!(given_up, (1..=2500).collect::<Vec<u16>>());
    assert_eq!((small.count(Counter::EXPIRED), small.entries()), (2500, 1));
}

#[test]
fn closes_reported_and_closes_lost_are_all_closes() {
    let mut small = Small::new(1024, 4096);
    for port in 1..=100 {
        small.reset(port);
    }
    let (told, lost) = (small.closes().len() as u64, small.count(Counter::LOST_RING_FULL));
    assert_eq!(told + lost, 100);
    assert_eq!(small.count(Counter::CLOSES), told);
    assert!((1..100).contains(&told), "{told} of 100 went into a page");
    // There is room again, and it is used.
    small.reset(101);
    assert_eq!(ports(&small.closes()), [101]);
    // A late segment of one whose close was lost is no second loss.
    small.say(100, false, 901, 101, RST | ACK);
    assert_eq!(small.count(Counter::LOST_RING_FULL), lost);
}

#[test]
fn those_whose_close_was_lost_make_room_too() {
    let mut small = Small::new(256, 4096);
    for port in 1..=100 {
        small.reset(port);
    }
    assert!(!small.closes().is_empty());
    assert!(small.count(Counter::LOST_RING_FULL) > 50);
    small.tidy_in(60);
    assert_eq!(small.entries(), 0);
    assert_eq!(small.count(Counter::RECLAIMED), 100);
}

#[test]
fn a_tuple_used_again_gives_a_close_for_each_connection() {
    let mut small = Small::new(64, 1 << 16);
    // The second begins while the first still has its entry, the third in the middle of the
    // second, and the fourth after the entry is gone.
    small.reset(1);
    small.say(1, true, 5000, 0, SYN);
    small.say(1, false, 6000, 5001, SYN | ACK);
    small.say(1, true, 9000, 0, SYN);
    small.say(1, false, 9900, 9001, RST | ACK);
    let closes = small.closes();
    let states: Vec<ConnState> = closes.iter().map(|close| close.conn_state).collect();
    assert_eq!(states, [ConnState::Rstr, ConnState::S1, ConnState::Rej]);
    assert_eq!(
        [closes[0].is_over(), closes[1].is_over(), closes[2].is_over()],
        [true, false, true]
    );
    small.tidy_in(60);
    assert_eq!(small.entries(), 0);
    small.reset(1);
    assert_eq!(small.closes().len(), 1);
    assert_eq!((small.count(Counter::CLOSES), small.count(Counter::FLOWS_MADE)), (4, 2));
}
