//! Health checks of HAProxy end in RST; by a rule the backend sees a clean end, and back.

use crate::scene::{Scene, abort, end_of};
use crate::support::packets::{FIN, Packet, RST};
use crate::support::process::Process;
use crate::support::proxies::haproxy;
use crate::support::servers::{Ended, Manner, Servers};
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::watch::teardown;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Asks the runtime socket.
fn ask(socket: &Path, command: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("the runtime socket");
    writeln!(stream, "{command}").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// How the proxy's side of each connection ended: whether any RST was sent, by its port.
fn ends(packets: &[Packet], server: SocketAddr) -> (usize, usize) {
    let of = |flag| packets.iter().filter(|p| p.target == server && p.has(flag)).count();
    (of(FIN), of(RST))
}

#[test]
fn health_checks_end_cleanly_and_back() {
    let topology = Topology::veth(Family::V4);
    let servers = Servers::start(&topology);
    let _proxy = haproxy(&topology, true);
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("teardown.sock");
    let mut run = teardown();
    run.args(["run", "--socket"]).arg(&socket);
    let mut daemon = Process::start(&topology.proxy, &mut run);
    daemon.wait_for_words("watching");
    let server = SocketAddr::new(topology.backend_addr, Manner::KeepAlive.port());
    let checks = |wanted: usize| {
        let capture = Tcpdump::start(&topology.backend, "eth0", topology.back_addr);
        until("further checks", || {
            let (fins, rsts) = ends(&capture.packets(), server);
            (fins + rsts >= wanted).then_some(())
        });
        ends(&capture.stop(), server)
    };
    let seen = || servers.served().len();
    for _ in 0..2 {
        let (fins, rsts) = checks(10);
        assert!(fins == 0 && rsts >= 10, "as HAProxy makes them: {fins} FINs, {rsts} RSTs");
        let answer = ask(&socket, &format!("set policy {} abort fin", topology.backend_addr));
        assert!(!answer.contains("unknown"), "{answer}");
        let before = seen();
        let (fins, rsts) = checks(20);
        assert!(rsts == 0 && fins >= 20, "by the rule: {fins} FINs, {rsts} RSTs");
        until("connections that the server saw", || (seen() >= before + 20).then_some(()));
        let bad: Vec<_> = servers.served()[before..]
            .iter()
            .filter(|s| s.ended == Ended::Reset)
            .cloned()
            .collect();
        assert!(bad.is_empty(), "{bad:#?}");
        let shown = ask(&socket, "show policy");
        assert!(shown.contains("rst to fin") && !shown.contains("failed"), "{shown}");
        ask(&socket, &format!("del policy {}", topology.backend_addr));
    }
}

#[test]
fn thousands_of_aborts_within_seconds_leave_nothing() {
    let scene = Scene::new(Topology::veth(Family::V4), "abort fin");
    const ROUNDS: usize = 50;
    const EACH: usize = 200;
    for _ in 0..ROUNDS {
        let pairs: Vec<_> = (0..EACH).map(|_| scene.connect()).collect();
        let mut peers = Vec::with_capacity(EACH);
        for pair in pairs {
            abort(pair.local);
            peers.push(pair.peer);
        }
        for mut peer in peers {
            assert_eq!(end_of(&mut peer), (0, Ok(())));
        }
    }
    let left = scene.end(ROUNDS * EACH);
    assert_eq!(left.stopped.closes.len(), ROUNDS * EACH);
    assert!(left.packets.iter().all(|packet| !packet.has(RST)));
    assert_eq!(left.count("rst to fin"), (ROUNDS * EACH) as u64, "{}", left.counts());
    let matched = left.counts().split(", ").next().expect("the first").to_owned();
    assert_eq!(matched, format!("matched {}", ROUNDS * EACH));
    assert!(!left.counts().contains("refused") && !left.counts().contains("failed"));
}
