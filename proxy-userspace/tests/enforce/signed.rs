//! Signed segments (RFC 2385): who changed one could not sign it, so that the peer would drop it. The
//! close goes out as the application made it, and at once.

use crate::stage::{accept, bytes, hear, say_and_wait};
use crate::support::enforcer::Enforcer;
use crate::support::packets::{ACK, FIN, RST};
use crate::support::servers::Ended;
use crate::support::sockets::{abort, connect, listen, sign};
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::until_empty;
use socket2::{SockRef, Socket};
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};

/// TCP_RTO_MIN, in nanoseconds: a FIN that was dropped would come so much later.
const LEAST_TIMER: u64 = 200_000_000;

/// What ours does at the end, and what of it is seen: the flags, and the peer's end.
type Way = (&'static str, fn(TcpStream, &TcpStream), u8, Ended);

#[test]
fn are_left_as_they_are() {
    let ways: [Way; 6] = [
        ("active rst", |ours, _| drop(ours), FIN | ACK, Ended::Eof),
        ("active rst", with_data, FIN | ACK, Ended::Eof),
        ("active rst", behind_data, FIN | ACK, Ended::Eof),
        ("active rst force", |ours, _| drop(ours), FIN | ACK, Ended::Eof),
        ("passive rst", after_theirs, FIN | ACK, Ended::Eof),
        ("abort fin", |ours, _| abort(ours), RST | ACK, Ended::Reset),
    ];
    for family in [Family::V4, Family::V6] {
        for way in ways {
            is_left(&Topology::veth(family), way);
        }
    }
}

/// In the FIN's own segment, and before it is acknowledged.
fn with_data(ours: TcpStream, _: &TcpStream) {
    Socket::from(ours).send_with_flags(&bytes(300), libc::MSG_MORE).expect("a write");
}

/// That is not acknowledged yet: a FIN that could be changed would wait.
fn behind_data(mut ours: TcpStream, theirs: &TcpStream) {
    SockRef::from(theirs).set_tcp_quickack(false).expect("an option");
    ours.write_all(&bytes(300)).expect("a write");
}

fn after_theirs(ours: TcpStream, theirs: &TcpStream) {
    theirs.shutdown(Shutdown::Write).expect("their FIN");
    assert_eq!(hear(&ours).1, Ended::Eof);
}

fn is_left(topology: &Topology, (rule, close, flags, ended): Way) {
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    let capture = Tcpdump::start(&topology.backend, topology.peer_interface, topology.back_addr);
    let peer = SocketAddr::new(topology.backend_addr, 9100);
    enforcer.set(peer, rule);
    let listener = topology.backend.run(|| listen(peer, topology.back_addr, &sign));
    let listener = listener.expect("a port");
    let ours = topology.proxy.run(|| connect(peer, &sign)).expect("a connection");
    ours.set_nodelay(true).expect("an option");
    let theirs = accept(&listener);
    say_and_wait(&ours, &bytes(500));
    close(ours, &theirs);
    assert_eq!(hear(&theirs).1, ended, "{rule}");
    drop(theirs);
    for netns in [&topology.proxy, &topology.backend] {
        until_empty("sockets", || {
            let alive = ss::alive(netns).into_iter();
            alive.map(|socket| format!("{socket:?}")).collect()
        });
    }
    let packets = capture.stop();
    let sent: Vec<_> =
        packets.iter().filter(|packet| packet.target == peer && packet.has(FIN | RST)).collect();
    assert_eq!(sent.iter().map(|p| p.flags & !8).collect::<Vec<_>>(), [flags], "{rule}");
    let before = packets.iter().rfind(|packet| packet.time < sent[0].time).expect("a packet");
    assert!(sent[0].time - before.time < LEAST_TIMER, "{rule}: it was held back");
    let counts = enforcer.counts(peer);
    for (word, wanted) in [("matched", 1), ("refused (unknown header)", 1), ("waited", 0)] {
        assert_eq!(counts.of(word), wanted, "{rule}, {word}: {counts:?}");
    }
    let closes = enforcer.wait_for_closes(peer.port(), 1);
    assert!(closes[0]["actor"].is_null(), "{rule}: {}", closes[0]);
}
