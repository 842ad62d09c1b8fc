//! What is lost is sent again, and never into a connection that began meanwhile.

use crate::scene::{CLOSE_WAIT, HALF_CLOSE, Scene};
use crate::support::packets::{RST, SYN};
use crate::support::scheduled::Scheduled;
use crate::support::topology::Family;
use crate::support::until::until;
use crate::support::weather::Hole;
use crate::support::wires::{Laid, Wire};
use socket2::{Domain, Socket, Type};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The first RSTs are lost behind the witness; the peer is freed by the next, within that time and
/// what the daemon was kept from running.
fn lost(family: Family, rule: &str, lost: u32, at_most: Duration) {
    let mut scene = Scene::open(Laid::new(Wire::Veth, family), rule);
    let scheduled = Scheduled::of(&scene.watch.process);
    let hole = Hole::for_the_first(lost, &scene.topology().backend, "tcp flags & rst == rst");
    if rule == HALF_CLOSE {
        scene.half_close(false);
    } else {
        scene.be_half_closed();
    }
    scene.wait_until_freed();
    let kept = Scheduled::kept_since(&scene.watch.process, &scheduled);
    drop(hole);
    let (connection, stopped) = scene.end();
    let mut resets = connection.packets.iter().filter(|(_, packet)| packet.has(RST));
    let first = &resets.next().expect("a RST").1;
    let last = &resets.next_back().expect("it was sent again").1;
    let took = Duration::from_nanos(last.time - first.time);
    assert!(took <= at_most + kept, "{took:?}, {kept:?}\n{connection}");
    assert_eq!((last.seq, last.ack, last.flags), (first.seq, first.ack, first.flags));
    assert_eq!(stopped.closes.len(), 1, "{:#?}", stopped.closes);
}

#[test]
fn a_rst_that_is_lost_is_sent_again() {
    let (soon, later) = (Duration::from_millis(400), Duration::from_millis(1_400));
    lost(Family::V4, HALF_CLOSE, 1, soon);
    lost(Family::V6, HALF_CLOSE, 2, later);
    // The kernel's own RST, which it does not repeat.
    lost(Family::V6, CLOSE_WAIT, 1, soon);
    lost(Family::V4, CLOSE_WAIT, 2, later);
}

/// Nobody repeats it for ever. A peer that speaks is told by the host itself: there is no socket.
#[test]
fn a_peer_that_speaks_after_every_rst_was_lost_is_reset() {
    let mut scene = Scene::open(Laid::new(Wire::Veth, Family::V4), HALF_CLOSE);
    let hole = Hole::for_the_first(3, &scene.topology().backend, "tcp flags & rst == rst");
    scene.close();
    until("three RSTs", || {
        let packets = scene.capture.packets();
        (packets.iter().filter(|packet| packet.has(RST)).count() == 3).then_some(())
    });
    assert_eq!(scene.state(true).as_deref(), Some("CLOSE-WAIT"));
    scene.theirs.write_all(b"anybody?").expect("it does not know yet");
    scene.wait_until_freed();
    drop(hole);
}

/// The ports are used anew before the RST is sent again: it stays away.
#[test]
fn a_new_connection_on_the_ports_of_a_struck_one_lives() {
    for (wire, family) in [(Wire::Veth, Family::V4), (Wire::Loopback, Family::V6)] {
        let mut scene = Scene::open(Laid::new(wire, family), HALF_CLOSE);
        scene.close();
        let remote = scene.theirs.local_addr().expect("its address");
        let port = scene.port;
        until("the RST", || scene.theirs.take_error().expect("an option"));
        let listener = scene.topology().backend.run(|| listen_again(remote));
        let ours = scene.topology().proxy.run(|| connect_from(remote, port));
        let (mut theirs, _) = listener.accept().expect("its other end");
        let began = Instant::now();
        // Longer than a RST is repeated.
        while began.elapsed() < Duration::from_millis(1_500) {
            (&ours).write_all(b"x").expect("it lives");
            theirs.read_exact(&mut [0]).expect("it lives");
            std::thread::sleep(Duration::from_millis(20));
        }
        let packets = scene.capture.packets();
        let syn = packets.iter().rposition(|packet| packet.has(SYN)).expect("its SYN");
        assert!(!packets[syn..].iter().any(|packet| packet.has(RST)));
        assert!(packets[..syn].iter().any(|packet| packet.has(RST)));
    }
}

fn listen_again(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an option");
    socket.bind(&address.into()).expect("the same port");
    socket.listen(1).expect("it listens");
    socket.into()
}

fn connect_from(remote: SocketAddr, port: u16) -> TcpStream {
    let any: SocketAddr =
        if remote.is_ipv4() { ([0; 4], port).into() } else { ([0u16; 8], port).into() };
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an option");
    socket.bind(&any.into()).expect("the same port");
    socket.connect(&remote.into()).expect("it listens");
    socket.into()
}
