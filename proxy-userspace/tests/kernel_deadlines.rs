//! Connections that stay half closed are ended in time, at both ends, and no others: on veth and on
//! loopback, seen by a capture at the peer, by `ss` on both sides, and by the peer's application.

mod support;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use support::packets::{ACK, FIN, Packet, RST, SYN};
use support::reading::{Connection, End, Sign, connections};
use support::ss;
use support::tcpdump::Tcpdump;
use support::topology::{Family, Topology};
use support::until::until;
use support::watch::{Stopped, Watch};
use support::weather::Hole;

/// The deadline of these tests, and how much later a RST may come: a fifth of a second is promised
/// for two seconds; a loaded machine is given as much for less.
const WAIT: Duration = Duration::from_millis(700);
const SLACK: Duration = Duration::from_millis(200);

/// A connection from the proxy's namespace to the backend's, under a rule and a capture.
struct Scene {
    topology: Topology,
    watch: Watch,
    capture: Tcpdump,
    /// The proxy's end.
    ours: Option<TcpStream>,
    /// The backend's end.
    theirs: TcpStream,
    port: u16,
}

impl Scene {
    fn open(topology: Topology, words: &str) -> Self {
        let address = SocketAddr::new(topology.backend_addr, 0);
        let listener = topology.backend.run(|| TcpListener::bind(address)).expect("a port");
        let remote = listener.local_addr().expect("its address");
        let policy = format!("{remote} {words}");
        let watch = Watch::start(&topology, &["--policy", &policy]);
        let capture =
            Tcpdump::start(&topology.backend, topology.peer_interface, topology.back_addr);
        let mut ours = topology.proxy.run(|| TcpStream::connect(remote)).expect("a connection");
        let (mut theirs, _) = listener.accept().expect("its other end");
        ours.write_all(b"a question").expect("sent");
        theirs.read_exact(&mut [0; 10]).expect("the question");
        theirs.write_all(b"an answer").expect("sent");
        ours.read_exact(&mut [0; 9]).expect("the answer");
        let port = ours.local_addr().expect("its address").port();
        Self { topology, watch, capture, ours: Some(ours), theirs, port }
    }

    fn ours(&mut self) -> &mut TcpStream {
        self.ours.as_mut().expect("open")
    }

    /// The application closes; what remains is an orphan.
    fn close(&mut self) {
        self.ours = None;
    }

    /// The state of the socket with our port in a namespace, by `ss`; `None` where there is none.
    fn state(&self, backend: bool) -> Option<String> {
        let end = format!(":{}", self.port);
        let netns = if backend { &self.topology.backend } else { &self.topology.proxy };
        let is_ours = |socket: &ss::Socket| {
            let place = if backend { &socket.peer } else { &socket.local };
            place.ends_with(&end)
        };
        ss::sockets(netns).into_iter().find(is_ours).map(|socket| socket.state)
    }

    /// Waits until neither side has a socket left.
    fn wait_until_freed(&self) {
        until("no socket to be left on either side", || {
            (self.state(false).is_none() && self.state(true).is_none()).then_some(())
        });
    }

    fn wait_for_state(&self, backend: bool, state: &str) {
        until(state, || (self.state(backend).as_deref() == Some(state)).then_some(()));
    }

    /// The captured connection, and what teardown told.
    fn end(self) -> (Connection, Stopped) {
        let packets = self.capture.stop();
        let found = connections(&packets);
        let ours = found.into_iter().find(|one| one.orig.port() == self.port);
        (ours.expect("the connection in the capture"), self.watch.stop())
    }
}

/// The one close that was told, which must say who ended it.
fn told(stopped: &Stopped, cause: &str) -> Value {
    assert_eq!(stopped.closes.len(), 1, "{:#?}", stopped.closes);
    let close = stopped.closes[0].clone();
    assert_eq!(
        (&close["actor"], &close["cause"], &close["asked"], &close["sent"]),
        (&"rule".into(), &cause.into(), &Value::Null, &"rst_ack".into()),
        "{close}"
    );
    close
}

/// What `show policy` would say of the one rule.
fn counters(stopped: &Stopped) -> &str {
    stopped.words.iter().find(|line| line.contains("matched")).expect("the rule's counters")
}

/// The last packet of our end is the RST+ACK at the numbers that the peer expects, in time.
fn is_exact(connection: &Connection, waited_since: &Packet) {
    let resets: Vec<&Packet> = connection
        .packets
        .iter()
        .filter(|(end, packet)| *end == End::Orig && packet.has(RST))
        .map(|(_, packet)| packet)
        .collect();
    // What is sent again as it may be lost says the same.
    assert!((1..=3).contains(&resets.len()), "{connection}");
    let numbers = |packet: &Packet| (packet.seq, packet.ack, packet.timestamps);
    assert!(resets.iter().all(|again| numbers(again) == numbers(resets[0])), "{connection}");
    assert!(resets[0].has(ACK), "{connection}");
    assert_eq!(resets[0].seq, last_of(connection, End::Orig).end(), "{connection}");
    assert_eq!(resets[0].ack, last_of(connection, End::Resp).end(), "{connection}");
    let waited = Duration::from_nanos(resets[0].time - waited_since.time);
    assert!(waited >= WAIT && waited <= WAIT + SLACK, "{waited:?}\n{connection}");
}

fn last_of(connection: &Connection, end: End) -> &Packet {
    let mut sent = connection.packets.iter().filter(|(by, packet)| *by == end && !packet.has(RST));
    &sent.next_back().expect("it spoke").1
}

fn fin_of(connection: &Connection, end: End) -> &Packet {
    let fins = connection.packets.iter().find(|(by, packet)| *by == end && packet.has(FIN));
    &fins.expect("a FIN").1
}

fn half_close(topology: Topology, holds_on: bool) {
    let mut scene = Scene::open(topology, &format!("half-close {}", WAIT.as_millis()));
    if holds_on {
        scene.ours().shutdown(Shutdown::Write).expect("it is open");
    } else {
        scene.close();
    }
    // The peer sees a clean end, and does nothing about it.
    assert_eq!(scene.theirs.read(&mut [0; 1]).expect("the end"), 0);
    scene.wait_for_state(false, "FIN-WAIT-2");
    scene.wait_for_state(true, "CLOSE-WAIT");
    scene.wait_until_freed();
    let error = scene.theirs.take_error().expect("an option").expect("the RST came");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "a reset in CLOSE_WAIT");
    if holds_on {
        let error = scene.ours().read(&mut [0; 1]).expect_err("the end of ours");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    scene.watch.wait_for_closes(1);
    let (connection, stopped) = scene.end();
    is_exact(&connection, fin_of(&connection, End::Orig));
    let close = told(&stopped, "half-close");
    assert_eq!((&close["first_closer"], &close["first_signal"]), (&"orig".into(), &"fin".into()));
    assert_eq!(close["answer"], Value::Null, "{close}");
    let counters = counters(&stopped);
    assert!(counters.contains("matched 1") && counters.contains("half close over 1"), "{counters}");
}

#[test]
fn an_orphan_is_ended_over_veth_and_ipv4() {
    half_close(Topology::veth(Family::V4), false);
}

#[test]
fn an_orphan_is_ended_over_veth_and_ipv6() {
    half_close(Topology::veth(Family::V6), false);
}

#[test]
fn an_orphan_is_ended_on_loopback() {
    half_close(Topology::loopback(Family::V4), false);
    half_close(Topology::loopback(Family::V6), false);
}

#[test]
fn a_socket_that_its_application_holds_on_to_is_ended() {
    half_close(Topology::veth(Family::V4), true);
    half_close(Topology::loopback(Family::V6), true);
}

#[test]
fn a_connection_without_timestamps_is_ended_too() {
    let topology = Topology::veth(Family::V4);
    topology.proxy.output(Command::new("sysctl").args(["-qw", "net.ipv4.tcp_timestamps=0"]));
    half_close(topology.clone(), false);
    half_close(topology, true);
}

fn close_wait(topology: Topology) {
    let mut scene = Scene::open(topology, &format!("close-wait {}", WAIT.as_millis()));
    scene.theirs.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(scene.ours().read(&mut [0; 1]).expect("the end"), 0);
    scene.wait_for_state(false, "CLOSE-WAIT");
    scene.wait_until_freed();
    let error = scene.theirs.read(&mut [0; 1]).expect_err("the RST came");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = scene.ours().write(b"too late").expect_err("the end of ours");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    scene.watch.wait_for_closes(1);
    let (connection, stopped) = scene.end();
    is_exact(&connection, fin_of(&connection, End::Resp));
    let close = told(&stopped, "close-wait");
    assert_eq!((&close["first_closer"], &close["answer"]), (&"resp".into(), &"rst_ack".into()));
    let counters = counters(&stopped);
    assert!(counters.contains("matched 1") && counters.contains("close wait over 1"), "{counters}");
}

#[test]
fn an_application_that_never_closes_is_cut_off() {
    close_wait(Topology::veth(Family::V4));
    close_wait(Topology::veth(Family::V6));
    close_wait(Topology::loopback(Family::V4));
}

/// The first RSTs are lost behind the witness; the peer is freed by the next, within that time.
fn lost(topology: Topology, words: &str, lost: u32, at_most: Duration) {
    let mut scene = Scene::open(topology, words);
    let hole = Hole::for_the_first(lost, &scene.topology.backend, "tcp flags & rst == rst");
    if words.starts_with("half") {
        scene.close();
        assert_eq!(scene.theirs.read(&mut [0; 1]).expect("the end"), 0);
    } else {
        scene.theirs.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(scene.ours().read(&mut [0; 1]).expect("the end"), 0);
    }
    scene.wait_until_freed();
    drop(hole);
    let (connection, stopped) = scene.end();
    let mut resets = connection.packets.iter().filter(|(_, packet)| packet.has(RST));
    let first = &resets.next().expect("a RST").1;
    let last = &resets.next_back().expect("it was sent again").1;
    assert!(last.time - first.time <= at_most.as_nanos() as u64, "{connection}");
    assert_eq!((last.seq, last.ack, last.flags), (first.seq, first.ack, first.flags));
    assert_eq!(stopped.closes.len(), 1, "{:#?}", stopped.closes);
}

#[test]
fn a_rst_that_is_lost_is_sent_again() {
    let (soon, later) = (Duration::from_millis(400), Duration::from_millis(1_400));
    lost(Topology::veth(Family::V4), "half-close 700ms", 1, soon);
    lost(Topology::veth(Family::V6), "half-close 700ms", 2, later);
    // The kernel's own RST, which it does not repeat.
    lost(Topology::veth(Family::V6), "close-wait 700ms", 1, soon);
    lost(Topology::veth(Family::V4), "close-wait 700ms", 2, later);
}

/// Nobody repeats it for ever. A peer that speaks is told by the host itself: there is no socket.
#[test]
fn a_peer_that_speaks_after_every_rst_was_lost_is_reset() {
    let mut scene = Scene::open(Topology::veth(Family::V4), "half-close 700ms");
    let hole = Hole::for_the_first(3, &scene.topology.backend, "tcp flags & rst == rst");
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
    for topology in [Topology::veth(Family::V4), Topology::loopback(Family::V6)] {
        let mut scene = Scene::open(topology, &format!("half-close {}", WAIT.as_millis()));
        scene.close();
        let remote = scene.theirs.local_addr().expect("its address");
        let port = scene.port;
        until("the RST", || scene.theirs.take_error().expect("an option"));
        let listener = scene.topology.backend.run(|| listen_again(remote));
        let ours = scene.topology.proxy.run(|| connect_from(remote, port));
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

#[test]
fn a_peer_that_closes_just_in_time_is_left_alone() {
    for topology in [Topology::veth(Family::V4), Topology::loopback(Family::V6)] {
        let mut scene = Scene::open(topology, &format!("half-close {}", WAIT.as_millis()));
        scene.close();
        let began = Instant::now();
        assert_eq!(scene.theirs.read(&mut [0; 1]).expect("the end"), 0);
        std::thread::sleep((WAIT - Duration::from_millis(60)).saturating_sub(began.elapsed()));
        scene.theirs.shutdown(Shutdown::Both).expect("it is open");
        scene.wait_for_state(false, "TIME-WAIT");
        // Well behind the deadline.
        std::thread::sleep((WAIT + SLACK * 2).saturating_sub(began.elapsed()));
        assert_eq!(scene.state(false).as_deref(), Some("TIME-WAIT"));
        let (connection, stopped) = scene.end();
        assert!(!connection.packets.iter().any(|(_, packet)| packet.has(RST)), "{connection}");
        assert_eq!(connection.answer(), Some(Sign::Fin));
        assert_eq!(stopped.closes.len(), 1);
        assert_eq!(stopped.closes[0]["conn_state"], "SF", "{}", stopped.closes[0]);
        assert!(stopped.closes[0].get("actor").is_none(), "{}", stopped.closes[0]);
        assert!(!counters(&stopped).contains("over"), "{}", counters(&stopped));
    }
}

#[test]
fn a_dry_run_counts_and_leaves_them_half_closed() {
    let mut scene = Scene::open(Topology::veth(Family::V4), "half-close 100ms dry-run");
    let began = Instant::now();
    scene.close();
    assert_eq!(scene.theirs.read(&mut [0; 1]).expect("the end"), 0);
    std::thread::sleep(Duration::from_millis(600).saturating_sub(began.elapsed()));
    assert_eq!(scene.state(false).as_deref(), Some("FIN-WAIT-2"));
    scene.theirs.shutdown(Shutdown::Both).expect("it is open");
    scene.watch.wait_for_closes(1);
    let (_, stopped) = scene.end();
    assert!(stopped.closes[0].get("actor").is_none(), "{}", stopped.closes[0]);
    assert!(counters(&stopped).contains("dry run 1"), "{}", counters(&stopped));
}
