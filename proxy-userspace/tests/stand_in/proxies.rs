//! Health checks of HAProxy end in RST; by a rule the backend sees a clean end, and back.

use crate::scene::{Scene, end_of};
use crate::support::packets::{FIN, Packet, RST};
use crate::support::process::Process;
use crate::support::proxies::haproxy;
use crate::support::runtime::ask;
use crate::support::servers::{Ended, Manner, Servers};
use crate::support::sockets::abort;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::watch::teardown;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// How the proxy's side of each connection ended: whether any RST was sent, by its port.
fn ends(packets: &[Packet], server: SocketAddr) -> (usize, usize) {
    let of = |flag| packets.iter().filter(|p| p.target == server && p.has(flag)).count();
    (of(FIN), of(RST))
}

/// A daemon whose runtime socket is asked, and servers that see checks come and go.
struct Checked {
    topology: Topology,
    servers: Servers,
    socket: PathBuf,
    _daemon: Process,
    _folder: TempDir,
}

impl Checked {
    /// Starts `teardown run` with what `arguments` say, given a folder for its files.
    fn start(topology: Topology, arguments: impl FnOnce(&Path) -> Vec<PathBuf>) -> Self {
        let servers = Servers::start(&topology);
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("teardown.sock");
        let mut run = teardown();
        run.args(["run", "--socket"]).arg(&socket).args(arguments(folder.path()));
        let mut daemon = Process::start(&topology.proxy, &mut run);
        daemon.wait_for_words("watching");
        Self { topology, servers, socket, _daemon: daemon, _folder: folder }
    }

    /// How further checks of the server end on the wire: FINs and RSTs that were sent to it.
    fn checks(&self, wanted: usize) -> (usize, usize) {
        let server = SocketAddr::new(self.topology.backend_addr, Manner::KeepAlive.port());
        let interface = self.topology.peer_interface;
        let capture = Tcpdump::start(&self.topology.backend, interface, self.topology.back_addr);
        until("further checks", || {
            let (fins, rsts) = ends(&capture.packets(), server);
            (fins + rsts >= wanted).then_some(())
        });
        ends(&capture.stop(), server)
    }

    /// They leave as RST, as the proxy makes them.
    fn end_in_rst(&self) {
        let (fins, rsts) = self.checks(10);
        assert!(fins == 0 && rsts >= 10, "as they are made: {fins} FINs, {rsts} RSTs");
    }

    /// They leave as FIN, and the server sees a clean end every time.
    fn end_in_fin(&self) {
        let before = self.servers.served().len();
        let (fins, rsts) = self.checks(20);
        assert!(rsts == 0 && fins >= 20, "by the rule: {fins} FINs, {rsts} RSTs");
        until("connections that the server saw", || {
            (self.servers.served().len() >= before + 20).then_some(())
        });
        let mut seen = self.servers.served().split_off(before);
        seen.retain(|one| one.ended == Ended::Reset);
        assert!(seen.is_empty(), "{seen:#?}");
        let shown = ask(&self.socket, "show policy");
        assert!(shown.contains("rst to fin") && !shown.contains("failed"), "{shown}");
        assert!(!shown.contains("refused"), "{shown}");
    }
}

#[test]
fn health_checks_of_haproxy_end_cleanly_and_back() {
    let checked = Checked::start(Topology::veth(Family::V4), |_| Vec::new());
    let _proxy = haproxy(&checked.topology, true);
    let backend = checked.topology.backend_addr;
    for _ in 0..2 {
        checked.end_in_rst();
        ask(&checked.socket, &format!("set policy {backend} abort fin"));
        checked.end_in_fin();
        ask(&checked.socket, &format!("del policy {backend}"));
    }
}

#[test]
fn health_checks_of_our_own_proxy_have_their_own_rule() {
    let topology = Topology::veth(Family::V4);
    let (front, backend) = (topology.front_addr, topology.backend_addr);
    let checked = Checked::start(topology, |folder| {
        let file = folder.join("haproxy.cfg");
        let text = format!(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  \
             timeout server 5s\nlisten web\n  bind {front}:7999\n  \
             server w1 {backend}:{} check inter 100ms\n",
            Manner::KeepAlive.port()
        );
        std::fs::write(&file, text).expect("the configuration");
        vec!["-f".into(), file]
    });
    checked.end_in_rst();
    ask(&checked.socket, "set policy web/w1 checks abort fin");
    checked.end_in_fin();
    // What is said of traffic alone changes no check.
    ask(&checked.socket, "set policy web/w1 abort fin checks abort keep");
    checked.end_in_rst();
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

#[test]
fn checks_apart_are_refused_where_nothing_tells_them() {
    let rule = "10.0.0.5:80 passive rst checks abort fin";
    let output = teardown().args(["watch", "--policy", rule]).output().expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("'checks' is for servers of teardown's own proxy"), "{words}");
    assert!(words.contains("ADDR:PORT abort fin"), "{words}");
}
