//! Closes as fast as they can be made: each is told once, or counted as lost.

mod support;

use proxy_common::abi::Counter;
use proxy_common::verdict::{self, ConnState};
use std::collections::HashSet;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use support::netns::Netns;
use support::observed::{Observed, value};
use support::sockets::abort;
use support::until::until;
use teardown::kernel::Options;

/// Connections made in each run.
const MADE: u64 = 4000;

/// Opens and ends connections on loopback, half of them by FIN and half by RST. The server's end
/// is over when this returns.
fn make(netns: &Netns) {
    let listener = netns.run(|| TcpListener::bind("127.0.0.1:0")).expect("a listener");
    let remote = listener.local_addr().expect("its address");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            netns.run(|| {
                for number in 0..MADE {
                    let stream = TcpStream::connect(remote).expect("a connection");
                    if number % 2 == 0 {
                        abort(stream);
                    } else {
                        stream.shutdown(Shutdown::Write).expect("connected");
                        assert_eq!((&stream).read(&mut [0; 1]).expect("the end"), 0);
                    }
                }
            });
        });
        for _ in 0..MADE {
            let (mut stream, _) = listener.accept().expect("a connection");
            let _end_or_reset = stream.read(&mut [0; 1]);
        }
    });
}

#[test]
fn with_default_sizes_every_close_is_told() {
    let netns = Netns::new();
    let observed = Observed::start(&netns, Options::default());
    make(&netns);
    let told = || observed.counter(Counter::CLOSES) + observed.counter(Counter::LOST_RING_FULL);
    until("every connection to be over", || (told() >= MADE).then_some(()));
    let (closes, counters) = observed.stop();
    assert_eq!(value(&counters, Counter::LOST_RING_FULL), 0);
    assert_eq!(value(&counters, Counter::LOST_TABLE_FULL), 0);
    assert_eq!(closes.len() as u64, MADE);
    let tuples: HashSet<_> = closes.iter().map(|(key, flow)| (*key, flow.started_ns)).collect();
    assert_eq!(tuples.len() as u64, MADE, "a connection was told twice");
    let of = |state: ConnState| {
        let told = closes.iter().map(|(key, flow)| verdict::close(key, flow));
        told.filter(|close| close.conn_state == state).count() as u64
    };
    assert_eq!([of(ConnState::SF), of(ConnState::Rsto)], [MADE / 2; 2]);
}

#[test]
fn with_a_ring_that_is_too_small_told_and_lost_are_all() {
    let netns = Netns::new();
    let options = Options { ring_bytes: 4096, ..Options::default() };
    let observed = Observed::start(&netns, options);
    make(&netns);
    let told = || observed.counter(Counter::CLOSES) + observed.counter(Counter::LOST_RING_FULL);
    until("every connection to be over", || (told() >= MADE).then_some(()));
    let (closes, counters) = observed.stop();
    let lost = value(&counters, Counter::LOST_RING_FULL);
    assert!(lost > 0, "a page holds seven closes");
    assert_eq!(closes.len() as u64 + lost, MADE);
    assert_eq!(value(&counters, Counter::CLOSES), closes.len() as u64);
}

#[test]
fn with_a_table_that_is_too_small_what_found_no_room_is_counted() {
    let netns = Netns::new();
    let options = Options { table_entries: 128, ..Options::default() };
    let observed = Observed::start(&netns, options);
    make(&netns);
    until("room to be missed", || (observed.counter(Counter::LOST_TABLE_FULL) > 0).then_some(()));
    let (closes, counters) = observed.stop();
    assert_eq!(closes.len() as u64, value(&counters, Counter::CLOSES));
    assert!(closes.len() as u64 >= 128 && (closes.len() as u64) < MADE, "{}", closes.len());
}
