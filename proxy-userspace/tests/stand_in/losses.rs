//! What is lost on the way is sent again.

use crate::scene::{Scene, end_of};
use crate::support::packets::{ACK, FIN, Packet, RST};
use crate::support::sockets::abort;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::weather::{Loss, Weather};
use crate::support::wires::{Laid, Wire};
use std::net::Shutdown;

#[test]
fn a_lost_fin_is_sent_again() {
    for (wire, family, ingress) in [
        (Wire::Veth, Family::V4, "tc"),
        (Wire::Veth, Family::V6, "xdp"),
        (Wire::Vlan, Family::V4, "tc"),
        (Wire::Tun, Family::V4, "tc"),
    ] {
        let laid = Laid::new(wire, family);
        let scene = Scene::with(laid, "abort fin", &["--ingress", ingress]);
        let mut pair = scene.connect();
        let weather = Weather::lose(&scene.topology.backend, Loss::Fin);
        abort(pair.local);
        assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
        assert_eq!(weather.lost(), 1);
        drop((weather, pair.peer));
        let left = scene.end(1);
        assert_eq!(left.sent(), [FIN | ACK, FIN | ACK]);
        let fins: Vec<&Packet> =
            left.packets.iter().filter(|p| p.target == left.remote && p.has(FIN)).collect();
        assert_eq!((fins[0].seq, fins[0].ack), (fins[1].seq, fins[1].ack));
        let wait = (fins[1].time - fins[0].time) / 1_000_000;
        assert!((195..1000).contains(&wait), "{wait} ms");
        assert_eq!(left.close()["conn_state"].as_str(), Some("SF"));
    }
}

/// The answer to the peer's FIN too, in LAST_ACK.
#[test]
fn a_lost_fin_behind_the_peers_is_sent_again() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    pair.peer.shutdown(Shutdown::Write).expect("a FIN");
    assert_eq!(end_of(&mut pair.local), (0, Ok(())));
    let weather = Weather::lose(&scene.topology.backend, Loss::Fin);
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    assert_eq!(weather.lost(), 1);
    drop((weather, pair.peer));
    scene.watch.wait_for_closes(1);
    let remote = scene.listener.local_addr().expect("its address");
    let packets = scene.capture.stop();
    let sent = packets.iter().filter(|p| p.target == remote && p.has(FIN | RST));
    let sent: Vec<(u8, u32)> = sent.map(|packet| (packet.flags, packet.seq)).collect();
    assert_eq!(sent, [(FIN | ACK, sent[0].1); 2]);
}

#[test]
fn a_lost_acknowledgment_of_the_peers_fin_is_sent_again() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    let weather = Weather::lose(&scene.topology.backend, Loss::Ack);
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    drop(pair.peer);
    until("the loss", || (weather.lost() == 1).then_some(()));
    drop(weather);
    // The peer stands in LAST_ACK until its FIN, sent again, is answered again.
    let left = scene.end(1);
    assert_eq!(left.sent(), [FIN | ACK]);
    assert!(left.received().len() >= 2 && left.received().iter().all(|flags| *flags == FIN | ACK));
}

#[test]
fn what_is_lost_at_random_changes_no_end() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let pairs: Vec<_> = (0..150).map(|_| scene.connect()).collect();
    let weather = Weather::lose(&scene.topology.backend, Loss::Share(20));
    let mut peers = Vec::new();
    for pair in pairs {
        abort(pair.local);
        peers.push(pair.peer);
    }
    for mut peer in peers {
        assert_eq!(end_of(&mut peer), (0, Ok(())));
    }
    assert!(weather.lost() > 20, "{}", weather.lost());
    drop(weather);
    let left = scene.end(150);
    assert!(left.sent().iter().all(|flags| *flags & RST == 0));
    assert_eq!(left.count("rst to fin"), 150);
    assert_eq!(left.stopped.closes.len(), 150);
}
