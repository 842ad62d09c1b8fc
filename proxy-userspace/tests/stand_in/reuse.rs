//! The same ports again, while a stand-in still answers for the connection before.

use crate::scene::{Scene, end_of};
use crate::support::packets::{FIN, RST};
use crate::support::sockets::abort;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::PATIENCE;
use crate::support::watch::Watch;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A connection from a port of the caller's choice.
fn connect_from(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, Some(Protocol::TCP))
        .expect("a socket");
    socket.set_reuse_address(true).expect("an option");
    socket.bind(&from.into()).expect("its port");
    socket.connect_timeout(&to.into(), PATIENCE).expect("a connection");
    socket.into()
}

#[test]
fn a_new_connection_from_the_same_port_is_not_disturbed() {
    for (topology, ingress) in [
        (Topology::veth(Family::V4), "tc"),
        (Topology::veth(Family::V6), "tc"),
        (Topology::loopback(Family::V4), "tc"),
        (Topology::veth(Family::V4), "xdp"),
    ] {
        let scene = Scene::with(topology, "abort fin", &["--ingress", ingress]);
        let from = SocketAddr::new(scene.topology.back_addr, 45_678);
        let to = scene.listener.local_addr().expect("its address");
        for _ in 0..3 {
            let local = scene.topology.proxy.run(|| connect_from(from, to));
            let mut pair = scene.greet(local);
            abort(pair.local);
            assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
            drop(pair.peer);
            scene.capture.flush();
        }
        let left = scene.end(3);
        assert_eq!(left.stopped.closes.len(), 3);
        assert!(left.packets.iter().all(|packet| !packet.has(RST)), "{:#?}", left.packets);
        assert_eq!(left.sent().len(), 3);
    }
}

#[test]
fn a_peer_that_comes_again_from_the_same_port_is_not_disturbed() {
    // The stand-in serves a socket that accepted, and the peer uses its port again.
    let topology = Topology::veth(Family::V4);
    let rule = format!("{} abort fin", topology.client_addr);
    let watch = Watch::start(&topology, &["--policy", &rule]);
    let listener =
        topology.proxy.run(|| TcpListener::bind((topology.front_addr, 0))).expect("a port");
    let (from, to) = (
        SocketAddr::new(topology.client_addr, 45_679),
        listener.local_addr().expect("its address"),
    );
    let capture = Tcpdump::start(&topology.client, "eth0", topology.front_addr);
    for _ in 0..3 {
        let mut peer = topology.client.run(|| connect_from(from, to));
        let (local, _) = listener.accept().expect("its other end");
        capture.flush();
        abort(local);
        assert_eq!(end_of(&mut peer), (0, Ok(())));
        drop(peer);
        capture.flush();
    }
    watch.wait_for_closes(3);
    let packets = capture.stop();
    assert!(packets.iter().all(|packet| !packet.has(RST)), "{packets:#?}");
    assert_eq!(packets.iter().filter(|packet| packet.has(FIN)).count(), 6);
    assert_eq!(watch.stop().closes.len(), 3);
}
