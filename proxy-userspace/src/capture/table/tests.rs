//! Clocks that go back, and how long what is over stays.

use super::*;
use bytemuck::Zeroable;
use proxy_common::key::Endpoint;
use proxy_common::segment::{ACK, RST, SYN, Segment};

#[derive(Default)]
struct Count(u64);

impl Observer for Count {
    type Kept = ();

    fn moved(&mut self, _: &mut Connection<()>, _: &Seen<'_>, _: Moved) {}

    fn over(&mut self, connection: &Connection<()>, _: u64) -> ControlFlow<()> {
        assert!(connection.flow.has(CLOSED));
        self.0 += 1;
        ControlFlow::Continue(())
    }
}

fn see(table: &mut Table<Count>, number: u32, flags: u8, seq: u32, ack: u32, time_ns: u64) {
    let [_, a, b, c] = number.to_be_bytes();
    let (client, server) = (Endpoint::v4([10, a, b, c], 1), Endpoint::v4([192, 0, 2, 1], 80));
    let (key, sender) = match flags & SYN != 0 && ack == 0 || flags & RST != 0 {
        true => FlowKey::new(client, server),
        false => FlowKey::new(server, client),
    };
    let segment = Segment { seq, ack, flags, sender, window: 500, ..Segment::zeroed() };
    let seen = Seen { number: 1, time_ns, key, segment, ip_len: 40, payload: &[], comment: None };
    assert!(table.segment(&seen).is_continue());
}

/// Opened, answered, and reset.
fn play(table: &mut Table<Count>, number: u32, time_ns: u64) {
    see(table, number, SYN, 100, 0, time_ns);
    see(table, number, SYN | ACK, 900, 101, time_ns);
    see(table, number, RST | ACK, 101, 901, time_ns);
}

#[test]
fn a_clock_that_is_set_back_stops_no_other_connection() {
    let mut table = Table::new(Count::default(), Patience::Long);
    play(&mut table, 1, 100 * SECOND);
    // Another capture of the same minute: its closed connections stay for as long, too.
    see(&mut table, 2, SYN, 100, 0, SECOND);
    see(&mut table, 2, SYN | ACK, 900, 101, SECOND);
    see(&mut table, 2, RST | ACK, 101, 901, 3 * SECOND);
    let [client, server] = [Endpoint::v4([10, 0, 0, 2], 1), Endpoint::v4([192, 0, 2, 1], 80)];
    let (key, _) = FlowKey::new(client, server);
    let flow = table.find(&key).unwrap().flow;
    assert_eq!((flow.started_ns, flow.closed_ns), (SECOND, 3 * SECOND));
    assert_eq!((table.open(), table.observer.0), (2, 0));
    play(&mut table, 3, 9 * SECOND);
    assert_eq!((table.open(), table.observer.0), (2, 1), "it does not wait for the first");
    // Times that are only captured out of order set nothing back.
    play(&mut table, 4, 9 * SECOND - DISORDER);
    assert_eq!((table.now_ns, table.set_back_ns.len()), (9 * SECOND, 1));
    for round in 0..2 * RUNS as u64 {
        play(&mut table, 5 + round as u32, 100 * SECOND * (round % 2));
    }
    assert!(table.set_back_ns.len() <= RUNS);
    play(&mut table, 1, 200 * SECOND);
    assert_eq!(table.open(), 1);
}

#[test]
fn closed_connections_stay_for_a_while_but_not_too_many() {
    let mut table = Table::new(Count::default(), Patience::Long);
    for number in 0..10 {
        play(&mut table, number, SECOND);
    }
    assert_eq!((table.open(), table.observer.0), (10, 0));
    play(&mut table, 10, SECOND + LINGER + 1);
    assert_eq!((table.open(), table.observer.0), (1, 10));
    let many = 3 * LINGERING as u32;
    for number in 100..100 + many {
        play(&mut table, number, 10 * SECOND);
    }
    assert!(table.open() <= LINGERING + 1, "{}", table.open());
    assert!(table.pieces.len() <= LINGERING / PIECE + 2);
    assert!(table.checks.len() <= 4 * table.open() + 1);
    assert!(table.finish().is_continue());
    assert_eq!(table.observer.0, u64::from(many) + 11);
}
