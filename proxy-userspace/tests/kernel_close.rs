//! `teardown close`: connections are closed now, idle ones and those older than the daemon too. On
//! veth and loopback, seen by a capture at the peer, by `ss` on both sides, and by both
//! applications.

mod support;

use serde_json::Value;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::packets::{ACK, FIN, RST};
use support::process::Process;
use support::reading::{Connection, End, Sign, connections};
use support::runtime::ask;
use support::ss;
use support::tcpdump::Tcpdump;
use support::topology::{Family, Topology};
use support::until::{PATIENCE, until};
use support::watch::teardown;
use support::weather::{Hole, timestamps};

/// A running daemon and its socket.
struct Daemon {
    _process: Process,
    socket: String,
}

impl Daemon {
    fn start(topology: &Topology) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("/tmp/td-close-{}-{number}.sock", std::process::id());
        let mut command = teardown();
        command.args(["run", "--socket", &socket]);
        let mut process = Process::start(&topology.proxy, &mut command);
        process.wait_for_words("watching");
        Self { _process: process, socket }
    }

    /// `teardown close` with these words: what it said, and its exit code.
    fn close(&self, words: &[&str]) -> (String, i32) {
        let mut command = teardown();
        command.args(["close", "--socket", &self.socket]).args(words);
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        let said = [stdout, stderr].concat();
        (String::from_utf8_lossy(&said).into_owned(), status.code().expect("an exit code"))
    }

    /// A line on the runtime socket, and its answer.
    fn ask(&self, line: &str) -> String {
        ask(Path::new(&self.socket), line)
    }

    /// The one close that was told of a connection with `port`.
    fn told(&self, port: u16) -> Value {
        let told = || -> Vec<Value> {
            let text = self.ask("show closes --last 10000 --json");
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let end = format!(":{port}");
            lines
                .filter(|close| close["orig"].as_str().is_some_and(|o| o.ends_with(&end)))
                .collect()
        };
        until("the close", || (!told().is_empty()).then_some(()));
        let told = told();
        assert_eq!(told.len(), 1, "{told:#?}");
        told[0].clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.socket);
    }
}

/// Connections from the proxy's namespace to the backend's.
struct Pair {
    ours: TcpStream,
    theirs: TcpStream,
}

impl Pair {
    fn open(topology: &Topology, listener: &TcpListener) -> Self {
        let remote = listener.local_addr().expect("its address");
        let mut ours = topology.proxy.run(|| TcpStream::connect(remote)).expect("a connection");
        let (mut theirs, _) = listener.accept().expect("its other end");
        ours.write_all(b"a question").expect("sent");
        theirs.read_exact(&mut [0; 10]).expect("the question");
        theirs.write_all(b"an answer").expect("sent");
        ours.read_exact(&mut [0; 9]).expect("the answer");
        Self { ours, theirs }
    }

    fn port(&self) -> u16 {
        self.ours.local_addr().expect("its address").port()
    }

    /// Both ends, as `close` wants them.
    fn ends(&self) -> [String; 2] {
        let address = |address: std::io::Result<SocketAddr>| address.expect("it").to_string();
        [address(self.ours.local_addr()), address(self.ours.peer_addr())]
    }
}

fn listen(topology: &Topology) -> TcpListener {
    let address = SocketAddr::new(topology.backend_addr, 0);
    topology.backend.run(|| TcpListener::bind(address)).expect("a port")
}

fn capture(topology: &Topology) -> Tcpdump {
    Tcpdump::start(&topology.backend, topology.peer_interface, topology.back_addr)
}

/// The sockets with `port` at either end, in both namespaces.
fn left(topology: &Topology, port: u16) -> Vec<ss::Socket> {
    let end = format!(":{port}");
    let mut all = ss::sockets(&topology.proxy);
    all.extend(ss::sockets(&topology.backend));
    all.retain(|one| one.local.ends_with(&end) || one.peer.ends_with(&end));
    all
}

fn wait_until_freed(topology: &Topology, port: u16) {
    until("no socket to be left on either side", || left(topology, port).is_empty().then_some(()));
}

fn captured(capture: Tcpdump, port: u16) -> Connection {
    let all = connections(&capture.stop());
    all.into_iter().find(|one| one.orig.port() == port).expect("the connection in the capture")
}

fn an_idle_connection_is_reset(topology: &Topology, is_older: bool) {
    let listener = listen(topology);
    let capture = capture(topology);
    let older = is_older.then(|| Pair::open(topology, &listener));
    let daemon = Daemon::start(topology);
    let mut pair = older.unwrap_or_else(|| Pair::open(topology, &listener));
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&[&ours, &theirs, "--dry-run"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("{ours} > {theirs} ESTABLISHED would be closed")), "{said}");
    assert!(said.contains("1 would be closed, 0 not"), "{said}");
    pair.ours.write_all(b"alive").expect("a dry run does nothing");
    pair.theirs.read_exact(&mut [0; 5]).expect("it came");
    let (said, code) = daemon.close(&[&ours, &theirs]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 closed, 0 not"), "{said}");
    let error = pair.theirs.read(&mut [0; 1]).expect_err("the RST came");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = pair.ours.read(&mut [0; 1]).expect_err("aborted");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    wait_until_freed(topology, pair.port());
    let told = daemon.told(pair.port());
    assert_eq!(
        (&told["actor"], &told["cause"], &told["rule"], &told["asked"], &told["sent"]),
        (&"command".into(), &"command".into(), &Value::Null, &Value::Null, &"rst_ack".into()),
        "{told}"
    );
    assert_eq!((&told["first_closer"], &told["answer"]), (&"orig".into(), &Value::Null), "{told}");
    let connection = captured(capture, pair.port());
    let resets: Vec<_> = connection.packets.iter().filter(|(_, p)| p.has(RST)).collect();
    // It is sent again, as it may be lost.
    let first = &resets[0].1;
    assert!(resets.iter().all(|(_, p)| (p.seq, p.ack) == (first.seq, first.ack)), "{connection}");
    let mut before = connection.packets.iter().filter(|(end, p)| *end == End::Orig && !p.has(RST));
    assert_eq!(resets[0].1.seq, before.next_back().expect("it spoke").1.end(), "{connection}");
    assert!(resets[0].0 == End::Orig && resets[0].1.has(ACK), "{connection}");
}

#[test]
fn an_idle_connection_is_reset_over_veth() {
    an_idle_connection_is_reset(&Topology::veth(Family::V4), false);
    an_idle_connection_is_reset(&Topology::veth(Family::V6), false);
}

#[test]
fn an_idle_connection_is_reset_on_loopback() {
    an_idle_connection_is_reset(&Topology::loopback(Family::V4), false);
    an_idle_connection_is_reset(&Topology::loopback(Family::V6), false);
}

#[test]
fn a_connection_older_than_the_daemon_is_reset() {
    an_idle_connection_is_reset(&Topology::veth(Family::V4), true);
}

#[test]
fn a_peer_whose_rst_was_lost_gets_another() {
    let topology = Topology::veth(Family::V4);
    let listener = listen(&topology);
    let daemon = Daemon::start(&topology);
    let capture = capture(&topology);
    let mut pair = Pair::open(&topology, &listener);
    let _hole = Hole::for_the_first(1, &topology.backend, "tcp flags & rst == rst");
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&[&ours, &theirs]);
    assert_eq!(code, 0, "{said}");
    pair.theirs.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let error = pair.theirs.read(&mut [0; 1]).expect_err("the next RST came");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    wait_until_freed(&topology, pair.port());
    let connection = captured(capture, pair.port());
    let resets: Vec<_> = connection.packets.iter().filter(|(_, p)| p.has(RST)).collect();
    assert!(resets.len() > 1, "{connection}");
    daemon.told(pair.port());
}

fn an_idle_connection_is_finished(topology: &Topology) {
    let listener = listen(topology);
    let daemon = Daemon::start(topology);
    let capture = capture(topology);
    let mut pair = Pair::open(topology, &listener);
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&["--how", "fin", &ours, &theirs]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pair.theirs.read(&mut [0; 1]).expect("a clean end"), 0);
    let error = pair.ours.read(&mut [0; 1]).expect_err("aborted");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    // What it still says is taken, and its own FIN answered.
    pair.theirs.write_all(b"farewell").expect("the connection is half open");
    pair.theirs.shutdown(Shutdown::Both).expect("it is open");
    wait_until_freed(topology, pair.port());
    let told = daemon.told(pair.port());
    assert_eq!(
        (&told["actor"], &told["asked"], &told["sent"], &told["conn_state"]),
        (&"command".into(), &Value::Null, &"fin".into(), &"SF".into()),
        "{told}"
    );
    let connection = captured(capture, pair.port());
    assert!(!connection.packets.iter().any(|(_, p)| p.has(RST)), "{connection}");
    let fins = connection.packets.iter().filter(|(_, p)| p.has(FIN)).count();
    assert!(fins >= 2, "{connection}");
    assert!(pair.theirs.take_error().expect("an option").is_none());
}

#[test]
fn an_idle_connection_is_finished_over_veth() {
    an_idle_connection_is_finished(&Topology::veth(Family::V4));
    an_idle_connection_is_finished(&Topology::veth(Family::V6));
}

/// Both ends are here, and only one of them was closed by command.
#[test]
fn an_idle_connection_is_finished_on_loopback() {
    an_idle_connection_is_finished(&Topology::loopback(Family::V4));
    an_idle_connection_is_finished(&Topology::loopback(Family::V6));
}

/// The application is gone, and what speaks for it would wait for the peer for a minute.
fn a_stand_in_is_ended(topology: &Topology) {
    let listener = listen(topology);
    let daemon = Daemon::start(topology);
    let capture = capture(topology);
    let remote = listener.local_addr().expect("its address");
    let answer = daemon.ask(&format!("set policy {remote} abort fin"));
    assert!(answer.contains("in force"), "{answer}");
    let pair = Pair::open(topology, &listener);
    let ([ours, theirs], port) = (pair.ends(), pair.port());
    let Pair { ours: aborts, theirs: mut peer } = pair;
    socket2::SockRef::from(&aborts).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(aborts);
    assert_eq!(peer.read(&mut [0; 1]).expect("a clean end"), 0);
    peer.write_all(b"farewell").expect("the connection is half open");
    let (said, code) = daemon.close(&["--how", "fin", &ours, &theirs]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not closed: our FIN was sent already: a stand-in is left"), "{said}");
    // Once the peer has told of its data, it also acknowledged the FIN.
    let line = until("the stand-in to await the peer's FIN", || {
        let (said, code) = daemon.close(&[&ours, &theirs, "--dry-run"]);
        assert_eq!(code, 0, "{said}");
        said.contains("FIN-WAIT-2").then_some(said)
    });
    let ends = format!("{ours} > {theirs} FIN-WAIT-2 (a stand-in) would be closed\n");
    assert_eq!(line, format!("{ends}1 would be closed, 0 not\n"));
    assert!(peer.take_error().expect("an option").is_none(), "a dry run does nothing");
    let (said, code) = daemon.close(&[&format!("--peer={remote}")]);
    assert_eq!((code, said.contains("(a stand-in) closed\n1 closed, 0 not")), (0, true), "{said}");
    let error = until("the RST", || peer.take_error().expect("an option"));
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "a reset in CLOSE_WAIT");
    wait_until_freed(topology, port);
    let (said, code) = daemon.close(&[&ours, &theirs]);
    assert_eq!((code, said.contains("0 closed, 0 not")), (1, true), "nothing is left: {said}");
    let told = daemon.told(port);
    assert_eq!(
        (&told["actor"], &told["cause"], &told["asked"], &told["sent"]),
        (&"command".into(), &"command".into(), &Value::Null, &"rst_ack".into()),
        "{told}"
    );
    assert_eq!((&told["first_signal"], &told["answer"]), (&"fin".into(), &Value::Null), "{told}");
    let policy = daemon.ask("show policy");
    assert!(policy.contains("rst to fin 1") && policy.contains("closed now 1"), "{policy}");
    until("the RST to be sent again, twice", || {
        let packets = capture.packets();
        (packets.iter().filter(|p| p.has(RST) && p.target == remote).count() >= 3).then_some(())
    });
    let connection = captured(capture, port);
    let of_ours = |flag| {
        let ours = connection.packets.iter().filter(|(end, _)| *end == End::Orig);
        ours.map(|(_, packet)| packet).filter(move |packet| packet.has(flag))
    };
    let fin = of_ours(FIN).next().expect("its FIN");
    let last = connection.packets.iter().rfind(|(end, _)| *end == End::Resp).expect("it spoke");
    for reset in of_ours(RST) {
        let numbers = (reset.flags, reset.seq, reset.ack, reset.timestamps);
        assert_eq!(numbers, (RST | ACK, fin.end(), last.1.end(), fin.timestamps), "{connection}");
    }
    assert_eq!(of_ours(RST).count(), 3, "{connection}");
}

#[test]
fn a_stand_in_is_ended_over_veth() {
    a_stand_in_is_ended(&Topology::veth(Family::V4));
    a_stand_in_is_ended(&Topology::veth(Family::V6));
}

#[test]
fn a_stand_in_is_ended_on_loopback() {
    a_stand_in_is_ended(&Topology::loopback(Family::V4));
    a_stand_in_is_ended(&Topology::loopback(Family::V6));
}

/// The peer does not close after the FIN of a first command.
#[test]
fn a_connection_that_a_command_finished_is_reset_by_the_next() {
    let topology = Topology::veth(Family::V4);
    let listener = listen(&topology);
    let daemon = Daemon::start(&topology);
    let capture = capture(&topology);
    let mut pair = Pair::open(&topology, &listener);
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&["--how", "fin", &ours, &theirs]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(pair.theirs.read(&mut [0; 1]).expect("a clean end"), 0);
    let (said, code) = daemon.close(&[&ours, &theirs]);
    assert_eq!((code, said.contains("(a stand-in) closed")), (0, true), "{said}");
    let error = until("the RST", || pair.theirs.take_error().expect("an option"));
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "a reset in CLOSE_WAIT");
    wait_until_freed(&topology, pair.port());
    let told = daemon.told(pair.port());
    assert_eq!((&told["actor"], &told["sent"]), (&"command".into(), &"rst_ack".into()), "{told}");
    let connection = captured(capture, pair.port());
    let closes = connection.signs().into_iter().map(|(end, sign, _)| (end, sign));
    let mut closes: Vec<_> = closes.collect();
    closes.dedup();
    assert_eq!(closes, [(End::Orig, Sign::Fin), (End::Orig, Sign::RstAck)], "{connection}");
}

#[test]
fn a_stand_in_without_timestamps_is_ended() {
    let topology = Topology::veth(Family::V4);
    timestamps(&topology.proxy, false);
    a_stand_in_is_ended(&topology);
}

#[test]
fn a_fin_that_would_hide_a_loss_is_refused() {
    let topology = Topology::veth(Family::V4);
    let listener = listen(&topology);
    let daemon = Daemon::start(&topology);
    let mut pair = Pair::open(&topology, &listener);
    pair.theirs.write_all(b"unread").expect("sent");
    until("the bytes to come", || pair.ours.peek(&mut [0; 6]).ok().filter(|count| *count == 6));
    let [ours, theirs] = pair.ends();
    let (said, code) = daemon.close(&[&ours, &theirs, "--how", "fin"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not closed: data was never read"), "{said}");
    pair.ours.read_exact(&mut [0; 6]).expect("it lives");
}

#[test]
fn every_connection_to_a_peer_is_closed_and_no_other() {
    let topology = Topology::veth(Family::V4);
    let (listener, other) = (listen(&topology), listen(&topology));
    // Older than the daemon: an orphan whose peer does not close.
    let orphan = Pair::open(&topology, &listener);
    let orphans_port = orphan.port();
    let Pair { ours, theirs: _peer_of_orphan } = orphan;
    drop(ours);
    until("the orphan", || {
        let found = left(&topology, orphans_port);
        found.iter().any(|socket| socket.state == "FIN-WAIT-2").then_some(())
    });
    let daemon = Daemon::start(&topology);
    let mut pairs: Vec<Pair> = (0..50).map(|_| Pair::open(&topology, &listener)).collect();
    let mut stays = Pair::open(&topology, &other);
    let peer = format!("--peer={}", listener.local_addr().expect("its address"));
    let (said, code) = daemon.close(&[&peer, "--dry-run"]);
    assert_eq!((code, said.contains("51 would be closed, 0 not")), (0, true), "{said}");
    let (said, code) = daemon.close(&[&peer]);
    assert_eq!((code, said.contains("51 closed, 0 not")), (0, true), "{said}");
    assert!(said.contains(&format!(":{orphans_port} ")), "{said}");
    for pair in &mut pairs {
        let error = pair.theirs.read(&mut [0; 1]).expect_err("the RST came");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    pairs.iter().for_each(|pair| wait_until_freed(&topology, pair.port()));
    until("the orphan to be gone", || left(&topology, orphans_port).is_empty().then_some(()));
    stays.ours.write_all(b"alive").expect("another peer's is left alone");
    stays.theirs.read_exact(&mut [0; 5]).expect("it came");
    let (said, code) = daemon.close(&[&peer]);
    assert_eq!((code, said.contains("0 closed, 0 not")), (1, true), "nothing is left: {said}");
}

#[test]
fn wrong_words_are_named_and_nothing_is_closed() {
    let topology = Topology::loopback(Family::V4);
    let daemon = Daemon::start(&topology);
    for words in [&[][..], &["10.0.0.1:1"], &["--peer", "nobody"], &["--how", "shut"]] {
        let (said, code) = daemon.close(words);
        assert_eq!(code, 2, "{words:?}: {said}");
    }
    let (said, code) = daemon.close(&["--server", "w9"]);
    assert_eq!((code, said.contains("no server 'w9'")), (1, true), "{said}");
    let answer = daemon.ask("close --peer 10.9.9.9");
    assert!(answer.contains("0 closed, 0 not"), "{answer}");
}
