//! Connections whose local socket is gone, and for which a stand-in speaks.

use crate::scene::{Daemon, Pair, capture, captured, listen, wait_until_freed};
use crate::support::packets::{ACK, FIN, RST};
use crate::support::reading::{End, Sign};
use crate::support::sockets::{Prepare, abort, plain};
use crate::support::topology::Family;
use crate::support::until::until;
use crate::support::weather::timestamps;
use crate::support::wires::{Laid, Wire};
use serde_json::Value;
use std::io::{ErrorKind, Read as _, Write as _};

/// The application is gone, and what speaks for it would wait for the peer for a minute.
pub(crate) fn is_ended(laid: &Laid, prepare: Prepare<'_>) {
    let topology = &laid.topology;
    let listener = listen(topology);
    let daemon = Daemon::start(laid);
    let capture = capture(topology);
    let remote = listener.local_addr().expect("its address");
    let answer = daemon.ask(&format!("set policy {remote} abort fin"));
    assert!(answer.contains("in force"), "{answer}");
    let pair = Pair::with(topology, &listener, prepare);
    let ([ours, theirs], port) = (pair.ends(), pair.port());
    let Pair { ours: aborts, theirs: mut peer } = pair;
    abort(aborts);
    assert_eq!(peer.read(&mut [0; 1]).expect("a clean end"), 0);
    peer.write_all(b"farewell").expect("the connection is half open");
    let (said, code) = daemon.close(&["--how", "fin", &ours, &theirs]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not closed: our FIN was sent already: a stand-in is left"), "{said}");
    // Once the peer has told of its data, it also acknowledged the FIN.
    let line = until("the stand-in to await the peer's FIN", || {
        let (said, code) = daemon.close(&[&ours, &theirs, "--dry-run"]);
        assert_eq!(code, 0, "{said}");
        said.contains("FIN-WAIT-2").then_some(said)
    });
    let ends = format!("{ours} > {theirs} FIN-WAIT-2 (a stand-in) would be closed\n");
    assert_eq!(line, format!("{ends}1 would be closed, 0 not\n"));
    assert!(peer.take_error().expect("an option").is_none(), "a dry run does nothing");
    let (said, code) = daemon.close(&[&format!("--peer={remote}")]);
    assert_eq!((code, said.contains("(a stand-in) closed\n1 closed, 0 not")), (0, true), "{said}");
    let error = until("the RST", || peer.take_error().expect("an option"));
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "a reset in CLOSE_WAIT");
    wait_until_freed(topology, port);
    let (said, code) = daemon.close(&[&ours, &theirs]);
    assert_eq!((code, said.contains("0 closed, 0 not")), (1, true), "nothing is left: {said}");
    let told = daemon.told(port);
    assert_eq!(
        (&told["actor"], &told["cause"], &told["asked"], &told["sent"]),
        (&"command".into(), &"command".into(), &Value::Null, &"rst_ack".into()),
        "{told}"
    );
    assert_eq!((&told["first_signal"], &told["answer"]), (&"fin".into(), &Value::Null), "{told}");
    let policy = daemon.ask("show policy");
    assert!(policy.contains("rst to fin 1") && policy.contains("closed now 1"), "{policy}");
    until("the RST to be sent again, twice", || {
        let packets = capture.packets();
        (packets.iter().filter(|p| p.has(RST) && p.target == remote).count() >= 3).then_some(())
    });
    let connection = captured(capture, port);
    let of_ours = |flag| {
        let ours = connection.packets.iter().filter(|(end, _)| *end == End::Orig);
        ours.map(|(_, packet)| packet).filter(move |packet| packet.has(flag))
    };
    let fin = of_ours(FIN).next().expect("its FIN");
    let last = connection.packets.iter().rfind(|(end, _)| *end == End::Resp).expect("it spoke");
    for reset in of_ours(RST) {
        let numbers = (reset.flags, reset.seq, reset.ack, reset.timestamps);
        assert_eq!(numbers, (RST | ACK, fin.end(), last.1.end(), fin.timestamps), "{connection}");
    }
    assert_eq!(of_ours(RST).count(), 3, "{connection}");
}

#[test]
fn a_stand_in_is_ended_over_veth() {
    is_ended(&Laid::new(Wire::Veth, Family::V4), &plain);
    is_ended(&Laid::new(Wire::Veth, Family::V6), &plain);
}

#[test]
fn a_stand_in_is_ended_on_loopback() {
    is_ended(&Laid::new(Wire::Loopback, Family::V4), &plain);
    is_ended(&Laid::new(Wire::Loopback, Family::V6), &plain);
}

/// The peer does not close after the FIN of a first command.
#[test]
fn a_connection_that_a_command_finished_is_reset_by_the_next() {
    let laid = Laid::new(Wire::Veth, Family::V4);
    let topology = &laid.topology;
    let listener = listen(topology);
    let daemon = Daemon::start(&laid);
    let capture = capture(topology);
    let mut pair = Pair::open(topology, &listener);
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&["--how", "fin", &ours, &theirs]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pair.theirs.read(&mut [0; 1]).expect("a clean end"), 0);
    let (said, code) = daemon.close(&[&ours, &theirs]);
    assert_eq!((code, said.contains("(a stand-in) closed")), (0, true), "{said}");
    let error = until("the RST", || pair.theirs.take_error().expect("an option"));
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "a reset in CLOSE_WAIT");
    wait_until_freed(topology, pair.port());
    let told = daemon.told(pair.port());
    assert_eq!((&told["actor"], &told["sent"]), (&"command".into(), &"rst_ack".into()), "{told}");
    let connection = captured(capture, pair.port());
    let closes = connection.signs().into_iter().map(|(end, sign, _)| (end, sign));
    let mut closes: Vec<_> = closes.collect();
    closes.dedup();
    assert_eq!(closes, [(End::Orig, Sign::Fin), (End::Orig, Sign::RstAck)], "{connection}");
}

#[test]
fn a_stand_in_without_timestamps_is_ended() {
    let laid = Laid::new(Wire::Veth, Family::V4);
    timestamps(&laid.topology.proxy, false);
    is_ended(&laid, &plain);
}
