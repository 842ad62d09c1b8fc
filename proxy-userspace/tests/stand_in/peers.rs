//! Peers that do not close at once, or send on; and a daemon that dies meanwhile.

use crate::scene::{Scene, end_of, unacknowledged};
use crate::support::packets::{ACK, FIN, RST};
use crate::support::sockets::abort;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::weather::{Loss, Weather};
use crate::support::wires::{Laid, Wire};
use rustix::process::Signal;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};

#[test]
fn what_the_peer_still_sends_is_acknowledged_and_thrown_away() {
    for (wire, family, ingress) in [
        (Wire::Veth, Family::V4, "tc"),
        (Wire::Veth, Family::V6, "tc"),
        (Wire::Loopback, Family::V4, "tc"),
        (Wire::Vlan, Family::V4, "tc"),
        (Wire::Tun, Family::V6, "tc"),
        (Wire::Veth, Family::V4, "xdp"),
        (Wire::Loopback, Family::V6, "xdp"),
    ] {
        let laid = Laid::new(wire, family);
        let scene = Scene::with(laid, "abort fin", &["--ingress", ingress]);
        let mut pair = scene.connect();
        abort(pair.local);
        assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
        // More than a window, in large segments: they come in one piece where offloads are on.
        pair.peer.write_all(&vec![7; 500_000]).expect("it is taken");
        until("every byte acknowledged", || (unacknowledged(&pair.peer) == 0).then_some(()));
        drop(pair.peer);
        let left = scene.end(1);
        assert_eq!(left.sent(), [FIN | ACK]);
        let close = left.close();
        assert_eq!(
            (close["conn_state"].as_str(), close["resp_bytes"].as_u64()),
            (Some("SF"), Some(500_009))
        );
    }
}

#[test]
fn a_peer_that_sends_too_much_is_reset() {
    for ingress in ["tc", "xdp"] {
        let laid = Laid::new(Wire::Veth, Family::V4);
        let scene = Scene::with(laid, "abort fin", &["--ingress", ingress]);
        let mut pair = scene.connect();
        abort(pair.local);
        assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
        let error = pair.peer.write_all(&vec![7; 8 << 20]).expect_err("not for ever");
        let ends = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(ends.contains(&error.kind()), "{error}");
        drop(pair.peer);
        let left = scene.end(1);
        assert_eq!(left.sent()[..2], [FIN | ACK, RST | ACK]);
    }
}

#[test]
fn a_peer_that_never_closes_is_given_up() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin half-close 700ms");
    let mut pair = scene.connect();
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    let error = until("the RST", || SockRef::from(&pair.peer).take_error().expect("its state"));
    // That is Linux's word for a RST after a FIN.
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    drop(pair.peer);
    let left = scene.end(1);
    assert_eq!(left.sent(), [FIN | ACK, RST | ACK]);
    let close = left.close();
    assert_eq!((close["first_signal"].as_str(), close["answer"].as_str()), (Some("fin"), None));
    assert_eq!(
        (left.count("rst to fin"), left.count("half close over")),
        (1, 1),
        "{}",
        left.counts()
    );
}

#[test]
fn a_peer_that_is_gone_is_given_up_after_some_fins() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin half-close 2500ms");
    let pair = scene.connect();
    let weather = Weather::lose(&scene.topology.backend, Loss::All);
    abort(pair.local);
    scene.watch.wait_for_closes(1);
    drop(weather);
    drop(pair.peer);
    let left = scene.end(1);
    let sent = left.sent();
    let fins = sent.iter().take_while(|flags| **flags == FIN | ACK).count();
    // At 0, 0.2, 0.6 and 1.4 s; the next would be at 3 s.
    assert_eq!((fins, sent[fins]), (4, RST | ACK), "{sent:?}");
}

#[test]
fn a_peer_that_resets_ends_it() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    abort(pair.peer);
    let left = scene.end(1);
    assert_eq!((left.sent(), left.received()), (vec![FIN | ACK], vec![RST | ACK]));
    assert_eq!(left.close()["answer"].as_str(), Some("rst_ack"));
}

#[test]
fn without_its_daemon_the_stack_answers() {
    let mut scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    let mut other = scene.connect();
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    let remote = scene.listener.local_addr().expect("its address");
    until("the acknowledgment of the FIN", || {
        let packets = scene.capture.packets();
        let fin = packets.iter().find(|packet| packet.target == remote && packet.has(FIN))?;
        packets.iter().find(|p| p.source == remote && p.ack == fin.end()).map(|_| ())
    });
    scene.watch.process.signal(Signal::KILL);
    scene.watch.process.wait();
    // Nobody stands in any more: the peer hears so as soon as it speaks. Before Linux 6.6 the programs
    // outlive the daemon, and rest some seconds later.
    until("the RST", || pair.peer.write_all(b"hello?").err());
    // And a close goes out as it is made.
    abort(other.local);
    let error = other.peer.read(&mut [0; 1]).expect_err("a RST");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_daemon_that_stands_still_keeps_nobody_waiting() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    scene.watch.process.signal(Signal::STOP);
    // The programs are there, and nobody keeps the time: soon a RST leaves as it was made.
    until("a RST", || {
        let mut next = scene.connect();
        abort(next.local);
        end_of(&mut next.peer).1.err()
    });
    pair.peer.write_all(b"hello?").expect("the first segment is taken");
    until("the RST", || SockRef::from(&pair.peer).take_error().expect("its state"));
    scene.watch.process.signal(Signal::CONT);
    until("a clean end again", || {
        let mut next = scene.connect();
        abort(next.local);
        end_of(&mut next.peer).1.ok()
    });
}
