//! The clean end, over every kind of wire.

use crate::scene::{Scene, end_of, unacknowledged};
use crate::support::packets::{ACK, FIN, RST};
use crate::support::sockets::abort;
use crate::support::ss;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::watch::Watch;
use crate::support::weather;
use crate::support::wires::{Laid, Wire};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// The application aborts; the peer reads the end of the stream and closes.
fn an_abort_is_a_clean_end(laid: impl Into<Laid>) {
    ends_cleanly(Scene::new(laid, "abort fin"));
}

fn ends_cleanly(scene: Scene) {
    let mut pair = scene.connect();
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    drop(pair.peer);
    let left = scene.end(1);
    assert_eq!(left.sent(), [FIN | ACK]);
    assert_eq!(left.received(), [FIN | ACK]);
    let close = left.close();
    assert_eq!((close["conn_state"].as_str(), close["actor"].as_str()), (Some("SF"), Some("rule")));
    assert_eq!((close["asked"].as_str(), close["sent"].as_str()), (Some("rst_ack"), Some("fin")));
    assert_eq!(
        (close["first_closer"].as_str(), close["answer"].as_str()),
        (Some("orig"), Some("fin"))
    );
    assert_eq!((close["orig_bytes"].as_u64(), close["resp_bytes"].as_u64()), (Some(10), Some(9)));
    assert_eq!((left.count("rst to fin"), left.count("failed")), (1, 0), "{}", left.counts());
    assert!(!left.counts().contains("refused"), "{}", left.counts());
}

#[test]
fn an_abort_is_a_clean_end_over_veth() {
    an_abort_is_a_clean_end(Topology::veth(Family::V4));
}

#[test]
fn an_abort_is_a_clean_end_over_ipv6() {
    an_abort_is_a_clean_end(Topology::veth(Family::V6));
}

#[test]
fn an_abort_is_a_clean_end_over_loopback() {
    an_abort_is_a_clean_end(Topology::loopback(Family::V4));
}

#[test]
fn an_abort_is_a_clean_end_over_ipv6_loopback() {
    an_abort_is_a_clean_end(Topology::loopback(Family::V6));
}

#[test]
fn an_abort_is_a_clean_end_without_timestamps() {
    let topology = Topology::veth(Family::V4);
    weather::timestamps(&topology.proxy, false);
    an_abort_is_a_clean_end(topology);
}

#[test]
fn an_abort_is_a_clean_end_without_offloads() {
    for family in [Family::V4, Family::V6] {
        let topology = Topology::veth(family);
        // Without them checksums are written before the programs see a packet, and verified.
        weather::offloads(&topology.proxy, "back", false);
        weather::offloads(&topology.backend, "eth0", false);
        an_abort_is_a_clean_end(topology);
    }
}

#[test]
fn an_abort_is_a_clean_end_where_packets_come_by_xdp() {
    for wire in [Wire::Veth, Wire::Loopback] {
        for family in [Family::V4, Family::V6] {
            let laid = Laid::new(wire, family);
            ends_cleanly(Scene::with(laid, "abort fin", &["--ingress", "xdp"]));
        }
    }
}

/// Its segments are seen twice: on the VLAN's device, and below it with the tag.
#[test]
fn an_abort_is_a_clean_end_over_a_vlan() {
    for wire in [Wire::Vlan, Wire::Tagged] {
        an_abort_is_a_clean_end(Laid::new(wire, Family::V4));
        an_abort_is_a_clean_end(Laid::new(wire, Family::V6));
    }
}

#[test]
fn an_abort_is_a_clean_end_over_tun() {
    an_abort_is_a_clean_end(Laid::new(Wire::Tun, Family::V4));
    an_abort_is_a_clean_end(Laid::new(Wire::Tun, Family::V6));
}

/// A refusal too is one: the RST is seen twice as well.
#[test]
fn a_refused_abort_over_a_vlan_counts_once() {
    let scene = Scene::new(Laid::new(Wire::Vlan, Family::V4), "active rst abort fin");
    let mut pair = scene.connect();
    pair.peer.write_all(b"unheard").expect("sent");
    until("the data", || pair.local.peek(&mut [0; 8]).ok().filter(|length| *length == 7));
    abort(pair.local);
    assert!(end_of(&mut pair.peer).1.is_err());
    drop(pair.peer);
    let left = scene.end(1);
    assert_eq!((left.count("refused (unread)"), left.count("matched")), (1, 1));
}

#[test]
fn an_abort_after_the_peers_fin_is_the_answer_to_it() {
    // A peer that has closed is waited for no more, and gets nothing later.
    for (words, refused) in [("passive fin half-close 300ms", false), ("active fin", true)] {
        let scene = Scene::new(Topology::veth(Family::V4), words);
        let mut pair = scene.connect();
        pair.peer.shutdown(Shutdown::Write).expect("a FIN");
        assert_eq!(end_of(&mut pair.local), (0, Ok(())));
        abort(pair.local);
        let end = end_of(&mut pair.peer).1;
        drop(pair.peer);
        if refused {
            // The rule is for the active close, and this is the passive one.
            assert!(end.is_err());
            assert_eq!(scene.end(1).count("rst to fin"), 0);
            continue;
        }
        assert_eq!(end, Ok(()));
        scene.watch.wait_for_closes(1);
        std::thread::sleep(Duration::from_millis(800));
        // That would end its TIME_WAIT, which is not waited for.
        let states: Vec<String> =
            ss::sockets(&scene.topology.backend).into_iter().map(|socket| socket.state).collect();
        assert!(states.contains(&"TIME-WAIT".to_owned()), "{states:?}");
        let packets = scene.capture.stop();
        let remote = scene.listener.local_addr().expect("its address");
        let sent: Vec<u8> = packets
            .iter()
            .filter(|p| p.target == remote && p.has(FIN | RST))
            .map(|p| p.flags)
            .collect();
        assert_eq!(sent, [FIN | ACK]);
        let mut stopped = scene.watch.stop();
        let close = stopped.closes.remove(0);
        assert_eq!(close["conn_state"].as_str(), Some("SF"), "{close}");
        assert_eq!(
            (close["first_closer"].as_str(), close["answer"].as_str()),
            (Some("resp"), Some("fin"))
        );
        let counts = stopped.words.iter().find(|line| line.contains("rst to fin 1"));
        assert!(counts.is_some_and(|counts| !counts.contains("half close over")), "{counts:?}");
    }
}

#[test]
fn an_end_of_stream_that_was_not_read_is_no_lost_data() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    pair.peer.shutdown(Shutdown::Write).expect("a FIN");
    // The FIN has come, and nobody asks for it.
    scene.capture.flush();
    abort(pair.local);
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    drop(pair.peer);
    scene.watch.wait_for_closes(1);
    let counts = scene.watch.stop().words;
    assert!(counts.iter().any(|line| line.contains("rst to fin 1")), "{counts:#?}");
}

#[test]
fn an_abort_after_a_half_close_repeats_the_fin() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    let mut pair = scene.connect();
    pair.local.shutdown(Shutdown::Write).expect("a FIN");
    assert_eq!(end_of(&mut pair.peer), (0, Ok(())));
    scene.capture.flush();
    abort(pair.local);
    scene.capture.flush();
    // The peer learns nothing new, and closes when it likes.
    pair.peer.write_all(b"more").expect("no RST came");
    drop(pair.peer);
    let left = scene.end(1);
    assert_eq!(left.sent(), [FIN | ACK, FIN | ACK]);
    let fins: Vec<u32> = left
        .packets
        .iter()
        .filter(|p| p.target == left.remote && p.has(FIN))
        .map(|p| p.seq)
        .collect();
    assert_eq!(fins[0], fins[1]);
    assert_eq!(left.close()["conn_state"].as_str(), Some("SF"));
}

#[test]
fn a_server_that_aborts_ends_cleanly_too() {
    // The application accepts, and the peer connects.
    let topology = Topology::veth(Family::V4);
    let rule = format!("{} abort fin", topology.client_addr);
    let watch = Watch::start(&topology, &["--policy", &rule]);
    let listener =
        topology.proxy.run(|| TcpListener::bind((topology.front_addr, 0))).expect("a port");
    let address = listener.local_addr().expect("its address");
    let mut peer = topology.client.run(|| TcpStream::connect(address)).expect("a connection");
    let (mut local, _) = listener.accept().expect("its other end");
    peer.write_all(b"request").expect("sent");
    local.read_exact(&mut [0; 7]).expect("the request");
    local.write_all(b"response").expect("sent");
    abort_when_acknowledged(local);
    let end = end_of(&mut peer);
    drop(peer);
    watch.wait_for_closes(1);
    if end != (8, Ok(())) {
        panic!("{end:?} {:#?}", watch.stop().words);
    }
    let close = watch.stop().closes.remove(0);
    assert_eq!((close["conn_state"].as_str(), close["sent"].as_str()), (Some("SF"), Some("fin")));
}

/// Aborts once the peer has acknowledged every byte.
fn abort_when_acknowledged(stream: TcpStream) {
    until("the acknowledgment", || (unacknowledged(&stream) == 0).then_some(()));
    abort(stream);
}
