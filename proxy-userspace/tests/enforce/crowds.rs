//! Thousands of connections closed at once: none is left over, and the counters add up.

use crate::stage::{accept, connect, hear, listen};
use crate::support::descriptors::descriptors_for;
use crate::support::enforcer::Enforcer;
use crate::support::packets::{FIN, RST};
use crate::support::process::{Process, undivided};
use crate::support::servers::Ended;
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::{until, until_empty};
use rustix::process::Signal;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;

const PORT: u16 = 9100;
const ROUNDS: usize = 25;
const EACH: usize = 400;
const ALL: usize = ROUNDS * EACH;

#[test]
fn ten_thousand_active_closes_leave_nothing() {
    crowd("active rst", |ours, theirs| {
        undivided(|| drop(ours));
        for theirs in &theirs {
            assert_eq!(hear(theirs), (Vec::new(), Ended::Reset));
        }
    });
}

#[test]
fn ten_thousand_passive_closes_leave_nothing() {
    crowd("passive rst", |ours, theirs| {
        for theirs in &theirs {
            theirs.shutdown(Shutdown::Write).expect("their FIN");
        }
        for ours in &ours {
            assert_eq!(hear(ours), (Vec::new(), Ended::Eof));
        }
        undivided(|| drop(ours));
        for theirs in &theirs {
            assert_eq!(hear(theirs), (Vec::new(), Ended::Reset));
        }
    });
}

fn crowd(words: &str, close: impl Fn(Vec<TcpStream>, Vec<TcpStream>)) {
    descriptors_for(20_000);
    let topology = Topology::veth(Family::V4);
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    let peer = SocketAddr::new(topology.backend_addr, PORT);
    enforcer.set(peer, words);
    let capture = control_at_the_backend(&topology);
    let listener = listen(&topology.backend, peer);
    let local = SocketAddr::new(topology.back_addr, 0);
    for _ in 0..ROUNDS {
        // Connected on one thread inside: entering the namespace each time would take longer.
        let pairs: Vec<(TcpStream, TcpStream)> =
            (0..EACH).map(|_| (connect(&topology.proxy, local, peer), accept(&listener))).collect();
        let (ours, theirs) = pairs.into_iter().unzip();
        close(ours, theirs);
    }
    none_is_left(&topology);
    capture.flush();
    let packets = capture.packets();
    let sent = |flag| packets.iter().filter(|p| p.target == peer && p.has(flag)).count();
    assert_eq!((sent(FIN), sent(RST)), (0, ALL));
    let counts = enforcer.counts(peer);
    for (word, wanted) in [("matched", ALL), ("fin to rst", ALL), ("failed", 0), ("waited", 0)] {
        assert_eq!(counts.of(word), wanted as u64, "{word}: {counts:?}");
    }
    until("a record of each", || (enforcer.closes().len() >= ALL).then_some(()));
    assert_eq!(enforcer.closes().len(), ALL);
}

const SOCKETS: usize = 3_000;

/// HAProxy in `mode tcp`, killed with 3,000 connections to its server.
#[test]
fn a_process_that_exits_with_thousands_of_sockets_leaves_none() {
    let closes_first = |_: &[TcpStream]| {};
    exit(closes_first, "active rst");
    // Stopped, it cannot answer the servers' FINs; killed, it does, all at once.
    let after_theirs = |theirs: &[TcpStream]| {
        for theirs in theirs {
            theirs.shutdown(Shutdown::Write).expect("their FIN");
        }
    };
    exit(after_theirs, "passive rst");
}

fn exit(before: impl Fn(&[TcpStream]), words: &str) {
    descriptors_for(20_000);
    let topology = Topology::veth(Family::V4);
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    let peer = SocketAddr::new(topology.backend_addr, PORT);
    enforcer.set(peer, words);
    let listener = listen(&topology.backend, peer);
    let front = SocketAddr::new(topology.front_addr, 8000);
    let (mut haproxy, _folder) = haproxy(&topology, front, peer);
    let mut clients = Vec::new();
    let mut theirs = Vec::new();
    let local = SocketAddr::new(topology.client_addr, 0);
    for _ in 0..SOCKETS {
        clients.push(connect(&topology.client, local, front));
        theirs.push(accept(&listener));
    }
    let capture = control_at_the_backend(&topology);
    haproxy.signal(Signal::STOP);
    before(&theirs);
    until("their FINs to be acknowledged", || {
        let waiting = ss::sockets(&topology.backend);
        waiting.iter().all(|socket| socket.state != "FIN-WAIT-1").then_some(())
    });
    haproxy.signal(Signal::KILL);
    haproxy.wait();
    for theirs in &theirs {
        assert_eq!(hear(theirs), (Vec::new(), Ended::Reset));
    }
    drop((clients, theirs));
    let of_server = |socket: &ss::Socket| {
        [&socket.local, &socket.peer].iter().any(|end| end.ends_with(":9100"))
    };
    for netns in [&topology.proxy, &topology.backend] {
        until_empty("sockets", || {
            let all =
                ss::sockets(netns).into_iter().filter(|s| s.state != "LISTEN" && of_server(s));
            all.map(|socket| format!("{socket:?}")).collect()
        });
    }
    capture.flush();
    let packets = capture.packets();
    let sent = |flag| packets.iter().filter(|p| p.target == peer && p.has(flag)).count();
    assert_eq!((sent(FIN), sent(RST)), (0, SOCKETS));
    let counts = enforcer.counts(peer);
    for (word, wanted) in [("matched", SOCKETS), ("fin to rst", SOCKETS), ("failed", 0)] {
        assert_eq!(counts.of(word), wanted as u64, "{word}: {counts:?}");
    }
}

fn haproxy(
    topology: &Topology,
    front: SocketAddr,
    server: SocketAddr,
) -> (Process, tempfile::TempDir) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn 4000\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 60s\n  timeout server 60s\nlisten all\n  bind {front}\n  \
         server one {server}\n"
    );
    std::fs::write(&path, text).expect("the configuration");
    let mut command = Command::new("/usr/sbin/haproxy");
    let process = Process::start(&topology.proxy, command.args(["-db", "-f"]).arg(&path));
    until("HAProxy to listen", || ss::listens(&topology.proxy, front.port()).then_some(()));
    (process, folder)
}

/// The control segments alone, so that the witness keeps up with any load.
pub(crate) fn control_at_the_backend(topology: &Topology) -> Tcpdump {
    let control = match topology.backend_addr {
        IpAddr::V4(_) => "tcp[13] & 7 != 0 or udp port 9",
        IpAddr::V6(_) => "(ip6 proto 6 and ip6[53] & 7 != 0) or udp port 9",
    };
    Tcpdump::filtered(&topology.backend, topology.peer_interface, topology.back_addr, control)
}

/// Not even one in TIME-WAIT.
fn none_is_left(topology: &Topology) {
    for netns in [&topology.proxy, &topology.backend] {
        until_empty("sockets", || {
            let all = ss::sockets(netns).into_iter().filter(|socket| socket.state != "LISTEN");
            all.map(|socket| format!("{socket:?}")).collect()
        });
    }
}
