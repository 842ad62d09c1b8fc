//! One connection whose applications do nothing, by RST and by FIN.

use crate::scene::{Daemon, Pair, capture, captured, left, listen, wait_until_freed};
use crate::support::packets::{ACK, FIN, RST};
use crate::support::reading::End;
use crate::support::sockets::{Prepare, plain};
use crate::support::topology::Family;
use crate::support::until::{PATIENCE, until};
use crate::support::weather::Hole;
use crate::support::wires::{Laid, Wire};
use serde_json::Value;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

pub(crate) fn is_reset(laid: &Laid, prepare: Prepare<'_>, is_older: bool) {
    let topology = &laid.topology;
    let listener = listen(topology);
    let capture = capture(topology);
    let older = is_older.then(|| Pair::with(topology, &listener, prepare));
    let daemon = Daemon::start(laid);
    let mut pair = older.unwrap_or_else(|| Pair::with(topology, &listener, prepare));
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&[&ours, &theirs, "--dry-run"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("{ours} > {theirs} ESTABLISHED would be closed")), "{said}");
    assert!(said.contains("1 would be closed, 0 not"), "{said}");
    pair.ours.write_all(b"alive").expect("a dry run does nothing");
    pair.theirs.read_exact(&mut [0; 5]).expect("it came");
    let (said, code) = daemon.close(&[&ours, &theirs]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 closed, 0 not"), "{said}");
    let error = pair.theirs.read(&mut [0; 1]).expect_err("the RST came");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = pair.ours.read(&mut [0; 1]).expect_err("aborted");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    wait_until_freed(topology, pair.port());
    let told = daemon.told(pair.port());
    assert_eq!(
        (&told["actor"], &told["cause"], &told["rule"], &told["asked"], &told["sent"]),
        (&"command".into(), &"command".into(), &Value::Null, &Value::Null, &"rst_ack".into()),
        "{told}"
    );
    assert_eq!((&told["first_closer"], &told["answer"]), (&"orig".into(), &Value::Null), "{told}");
    let connection = captured(capture, pair.port());
    let resets: Vec<_> = connection.packets.iter().filter(|(_, p)| p.has(RST)).collect();
    // It is sent again, as it may be lost.
    let first = &resets[0].1;
    assert!(resets.iter().all(|(_, p)| (p.seq, p.ack) == (first.seq, first.ack)), "{connection}");
    let mut before = connection.packets.iter().filter(|(end, p)| *end == End::Orig && !p.has(RST));
    assert_eq!(resets[0].1.seq, before.next_back().expect("it spoke").1.end(), "{connection}");
    assert!(resets[0].0 == End::Orig && resets[0].1.has(ACK), "{connection}");
}

#[test]
fn an_idle_connection_is_reset_over_veth() {
    is_reset(&Laid::new(Wire::Veth, Family::V4), &plain, false);
    is_reset(&Laid::new(Wire::Veth, Family::V6), &plain, false);
}

#[test]
fn an_idle_connection_is_reset_on_loopback() {
    is_reset(&Laid::new(Wire::Loopback, Family::V4), &plain, false);
    is_reset(&Laid::new(Wire::Loopback, Family::V6), &plain, false);
}

#[test]
fn a_connection_older_than_the_daemon_is_reset() {
    is_reset(&Laid::new(Wire::Veth, Family::V4), &plain, true);
}

#[test]
fn a_peer_whose_rst_was_lost_gets_another() {
    let laid = Laid::new(Wire::Veth, Family::V4);
    let topology = &laid.topology;
    let listener = listen(topology);
    let daemon = Daemon::start(&laid);
    let capture = capture(topology);
    let mut pair = Pair::open(topology, &listener);
    let _hole = Hole::for_the_first(1, &topology.backend, "tcp flags & rst == rst");
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&[&ours, &theirs]);
    assert_eq!(code, 0, "{said}");
    pair.theirs.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let error = pair.theirs.read(&mut [0; 1]).expect_err("the next RST came");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    wait_until_freed(topology, pair.port());
    let connection = captured(capture, pair.port());
    let resets: Vec<_> = connection.packets.iter().filter(|(_, p)| p.has(RST)).collect();
    assert!(resets.len() > 1, "{connection}");
    daemon.told(pair.port());
}

pub(crate) fn is_finished(laid: &Laid, prepare: Prepare<'_>) {
    let topology = &laid.topology;
    let listener = listen(topology);
    let daemon = Daemon::start(laid);
    let capture = capture(topology);
    let mut pair = Pair::with(topology, &listener, prepare);
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&["--how", "fin", &ours, &theirs]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pair.theirs.read(&mut [0; 1]).expect("a clean end"), 0);
    let error = pair.ours.read(&mut [0; 1]).expect_err("aborted");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    // What it still says is taken, and its own FIN answered.
    pair.theirs.write_all(b"farewell").expect("the connection is half open");
    pair.theirs.shutdown(Shutdown::Both).expect("it is open");
    wait_until_freed(topology, pair.port());
    let told = daemon.told(pair.port());
    assert_eq!(
        (&told["actor"], &told["asked"], &told["sent"], &told["conn_state"]),
        (&"command".into(), &Value::Null, &"fin".into(), &"SF".into()),
        "{told}"
    );
    let connection = captured(capture, pair.port());
    // Where the peer's FIN was on its way for so long that it was sent again, the peer's stack, whose
    // socket is gone by then, resets the second answer.
    let reset = connection.packets.iter().any(|(end, p)| *end == End::Orig && p.has(RST));
    assert!(!reset, "{connection}");
    let fins = connection.packets.iter().filter(|(_, p)| p.has(FIN)).count();
    assert!(fins >= 2, "{connection}");
    assert!(pair.theirs.take_error().expect("an option").is_none());
}

#[test]
fn an_idle_connection_is_finished_over_veth() {
    is_finished(&Laid::new(Wire::Veth, Family::V4), &plain);
    is_finished(&Laid::new(Wire::Veth, Family::V6), &plain);
}

/// Both ends are here, and only one of them was closed by command.
#[test]
fn an_idle_connection_is_finished_on_loopback() {
    is_finished(&Laid::new(Wire::Loopback, Family::V4), &plain);
    is_finished(&Laid::new(Wire::Loopback, Family::V6), &plain);
}

/// Its owner has closed, and its peer does not: nobody is left here whom the kernel would abort.
pub(crate) fn an_orphan_is_reset(laid: &Laid, prepare: Prepare<'_>) {
    let topology = &laid.topology;
    let listener = listen(topology);
    let daemon = Daemon::start(laid);
    let capture = capture(topology);
    let pair = Pair::with(topology, &listener, prepare);
    let ([ours, theirs], port) = (pair.ends(), pair.port());
    let Pair { ours: closed, theirs: mut peer } = pair;
    drop(closed);
    assert_eq!(peer.read(&mut [0; 1]).expect("a clean end"), 0);
    until("the orphan", || {
        let found = left(topology, port);
        found.iter().any(|socket| socket.state == "FIN-WAIT-2").then_some(())
    });
    let (said, code) = daemon.close(&[&ours, &theirs]);
    assert_eq!((code, said.contains("FIN-WAIT-2 closed")), (0, true), "{said}");
    let error = until("the RST", || peer.take_error().expect("an option"));
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "a reset in CLOSE_WAIT");
    wait_until_freed(topology, port);
    let told = daemon.told(port);
    assert_eq!((&told["actor"], &told["sent"]), (&"command".into(), &"rst_ack".into()), "{told}");
    let connection = captured(capture, port);
    let mut of_ours = connection.packets.iter().filter(|(end, _)| *end == End::Orig);
    let reset = &of_ours.clone().find(|(_, packet)| packet.has(RST)).expect("a RST").1;
    let fin = &of_ours.find(|(_, packet)| packet.has(FIN)).expect("its FIN").1;
    assert_eq!((reset.flags, reset.seq), (RST | ACK, fin.end()), "{connection}");
}

#[test]
fn an_orphan_is_reset_over_veth_and_on_loopback() {
    for family in [Family::V4, Family::V6] {
        an_orphan_is_reset(&Laid::new(Wire::Veth, family), &plain);
        an_orphan_is_reset(&Laid::new(Wire::Loopback, family), &plain);
    }
}
