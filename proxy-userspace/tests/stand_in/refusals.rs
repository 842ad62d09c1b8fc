//! A FIN never hides a loss: then the RST goes out as the application made it, and is counted.

use crate::scene::{Pair, Scene, end_of};
use crate::support::packets::{ACK, Packet, RST};
use crate::support::sockets::abort;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::weather::Hole;
use socket2::SockRef;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// The peer is reset, and the refusal counted.
fn is_refused(scene: Scene, mut pair: Pair, why: &str, sent: &[u8]) {
    abort(pair.local);
    let (_, end) = end_of(&mut pair.peer);
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    drop(pair.peer);
    let left = scene.end(1);
    assert_eq!(left.sent(), sent);
    assert_eq!(left.count(&format!("refused ({why})")), 1, "{}", left.counts());
    assert_eq!(left.count("rst to fin"), 0, "{}", left.counts());
    assert!(left.close()["sent"].is_null(), "{}", left.close());
}

#[test]
fn data_that_was_not_read() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    pair.peer.write_all(b"unheard").expect("sent");
    until("the data", || pair.local.peek(&mut [0; 8]).ok().filter(|length| *length == 7));
    is_refused(scene, pair, "unread", &[RST | ACK]);
}

#[test]
fn data_that_was_not_read_is_given_up_by_force() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin force");
    let mut pair = scene.connect();
    pair.peer.write_all(b"unheard").expect("sent");
    until("the data", || pair.local.peek(&mut [0; 8]).ok().filter(|length| *length == 7));
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    drop(pair.peer);
    let left = scene.end(1);
    assert_eq!((left.count("rst to fin"), left.close()["sent"].as_str()), (1, Some("fin")));
    // The FIN hides it from the peer: the record is where it shows.
    assert_eq!(left.close()["unread_bytes"], 7);
}

#[test]
fn data_that_was_never_sent() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let pair = scene.connect();
    // Less than a segment, held back for more to come.
    SockRef::from(&pair.local).send_with_flags(b"held back", libc::MSG_MORE).expect("taken");
    is_refused(scene, pair, "unsent", &[RST | ACK]);
}

#[test]
fn data_that_was_not_acknowledged() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    // However often it is sent again: a busy machine may be slow to abort.
    let hole = Hole::for_all(&scene.topology.backend, "tcp dport 9100 meta length > 112");
    pair.local.write_all(&[7; 100]).expect("sent");
    let sent = |packet: &Packet| packet.payload == 100;
    until("the loss", || scene.capture.packets().iter().any(sent).then_some(()));
    // The peer challenges a RST behind the gap, and the stack, without a socket, answers.
    is_refused(scene, pair, "unacked", &[RST | ACK, RST]);
    drop(hole);
}

#[test]
fn more_than_there_is_room_for() {
    // A table of 64 connections has room for 32 stand-ins.
    let scene = Scene::with(Topology::veth(Family::V4), "abort fin", &["--table", "64"]);
    let pairs: Vec<Pair> = (0..40).map(|_| scene.connect()).collect();
    let mut peers = Vec::new();
    for pair in pairs {
        abort(pair.local);
        peers.push(pair.peer);
    }
    // No peer closes, so that every stand-in stays.
    let ends: Vec<_> = peers.iter_mut().map(|peer| end_of(peer).1).collect();
    let clean = ends.iter().filter(|end| end.is_ok()).count();
    let reset = ends.iter().filter(|end| **end == Err(ErrorKind::ConnectionReset)).count();
    assert_eq!((clean, reset), (32, 8));
    drop(peers);
    let left = scene.end(40);
    assert_eq!(left.count("rst to fin"), 32, "{}", left.counts());
    assert_eq!(left.count("refused (no stand in)"), 8, "{}", left.counts());
}

#[test]
fn options_of_ip_that_are_not_written() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let pair = scene.connect();
    ip_options(&pair.local);
    is_refused(scene, pair, "unknown header", &[RST | ACK]);
}

#[test]
fn a_segment_that_is_not_understood_meets_the_stack() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    ip_options(&pair.peer);
    pair.peer.write_all(b"strange").expect("sent");
    until("the RST", || SockRef::from(&pair.peer).take_error().expect("its state"));
    drop(pair.peer);
    let left = scene.end(1);
    assert_eq!(left.sent().last(), Some(&RST));
}

/// Lets every packet of the socket carry a no-operation of IP's.
fn ip_options(stream: &TcpStream) {
    let options = [1u8; 4];
    // SAFETY: the kernel reads four bytes.
    let failed = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_OPTIONS,
            options.as_ptr().cast(),
            options.len() as libc::socklen_t,
        )
    };
    assert_eq!(failed, 0);
}
