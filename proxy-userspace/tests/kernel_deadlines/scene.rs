//! One connection under a rule with a deadline, and its witnesses.

use crate::support::packets::{ACK, FIN, Packet, RST};
use crate::support::reading::{Connection, End, connections};
use crate::support::scheduled::Scheduled;
use crate::support::sockets::{self, Prepare, plain};
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::Topology;
use crate::support::until::until;
use crate::support::watch::{Stopped, Watch};
use crate::support::wires::{Laid, Tags};
use serde_json::Value;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The deadline of these tests, and how much later a RST may come: a fifth of a second is promised
/// for two seconds; a loaded machine is given as much for less.
pub(crate) const WAIT: Duration = Duration::from_millis(700);
pub(crate) const SLACK: Duration = Duration::from_millis(200);

/// How much longer a FIN may be on its way to the capture than the RST is that follows it: a tun's other
/// end is a program of these tests, which has to get its turn.
const ON_THE_WAY: Duration = Duration::from_millis(20);

/// The rules that say so.
pub(crate) const HALF_CLOSE: &str = "half-close 700ms";
pub(crate) const CLOSE_WAIT: &str = "close-wait 700ms";

/// A connection from the proxy's namespace to the backend's, under a rule and a capture.
pub(crate) struct Scene {
    pub(crate) watch: Watch,
    pub(crate) capture: Tcpdump,
    /// The proxy's end.
    ours: Option<TcpStream>,
    /// The backend's end.
    pub(crate) theirs: TcpStream,
    pub(crate) port: u16,
    _tags: Option<Tags>,
    // Last, as what was attached to its devices goes first.
    laid: Laid,
}

impl Scene {
    /// The connection under a rule for the backend.
    pub(crate) fn open(laid: Laid, rule: &str) -> Self {
        Self::with(laid, rule, &[], &plain, &plain)
    }

    /// The same with more arguments for `watch`, and with sockets that are prepared: ours, and the
    /// one that listens.
    pub(crate) fn with(
        laid: Laid,
        rule: &str,
        arguments: &[&str],
        ours: Prepare<'_>,
        theirs: Prepare<'_>,
    ) -> Self {
        let backend_addr = laid.topology.backend_addr;
        Self::towards(laid, backend_addr, rule, arguments, (ours, theirs))
    }

    /// The same, where ours knows the backend by another address.
    pub(crate) fn towards(
        laid: Laid,
        known_as: IpAddr,
        rule: &str,
        arguments: &[&str],
        (ours, theirs): (Prepare<'_>, Prepare<'_>),
    ) -> Self {
        let Topology { back_addr, backend_addr, peer_interface, .. } = laid.topology;
        let address = SocketAddr::new(backend_addr, 0);
        let listening = laid.topology.backend.run(|| sockets::listen(address, back_addr, theirs));
        let listener = listening.expect("a port");
        // Without the scope that a link-local one has, which is another here and there.
        let port = listener.local_addr().expect("its address").port();
        let policy = format!("{} {rule}", SocketAddr::new(backend_addr, port));
        let mut all = vec!["--policy", &policy];
        all.extend(arguments);
        let watch = Watch::start(&laid.topology, &all);
        let tags = laid.tags();
        let capture = Tcpdump::start(&laid.topology.backend, peer_interface, back_addr);
        let connected =
            laid.topology.proxy.run(|| sockets::connect(SocketAddr::new(known_as, port), ours));
        let mut ours = connected.expect("a connection");
        let (mut theirs, _) = listener.accept().expect("its other end");
        ours.write_all(b"a question").expect("sent");
        theirs.read_exact(&mut [0; 10]).expect("the question");
        theirs.write_all(b"an answer").expect("sent");
        ours.read_exact(&mut [0; 9]).expect("the answer");
        let port = ours.local_addr().expect("its address").port();
        Self { watch, capture, ours: Some(ours), theirs, port, _tags: tags, laid }
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.laid.topology
    }

    pub(crate) fn ours(&mut self) -> &mut TcpStream {
        self.ours.as_mut().expect("open")
    }

    /// The application closes; what remains is an orphan.
    pub(crate) fn close(&mut self) {
        self.ours = None;
    }

    /// Half closed by ours: as an orphan, or by an application that holds on to its socket.
    pub(crate) fn half_close(&mut self, holds_on: bool) {
        if holds_on {
            self.ours().shutdown(Shutdown::Write).expect("it is open");
        } else {
            self.close();
        }
        // The peer sees a clean end, and does nothing about it.
        assert_eq!(self.theirs.read(&mut [0; 1]).expect("the end"), 0);
    }

    /// Half closed by theirs.
    pub(crate) fn be_half_closed(&mut self) {
        self.theirs.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(self.ours().read(&mut [0; 1]).expect("the end"), 0);
    }

    /// The state of the socket with our port in a namespace, by `ss`; `None` where there is none.
    pub(crate) fn state(&self, backend: bool) -> Option<String> {
        let end = format!(":{}", self.port);
        let netns = if backend { &self.topology().backend } else { &self.topology().proxy };
        let is_ours = |socket: &ss::Socket| {
            let place = if backend { &socket.peer } else { &socket.local };
            place.ends_with(&end)
        };
        ss::sockets(netns).into_iter().find(is_ours).map(|socket| socket.state)
    }

    /// Waits until neither side has a socket left.
    pub(crate) fn wait_until_freed(&self) {
        until("no socket to be left on either side", || {
            (self.state(false).is_none() && self.state(true).is_none()).then_some(())
        });
    }

    /// Waits until the socket is in that state, or gone: a busy machine looks too late for one that
    /// ends with the deadline.
    fn goes_through(&self, backend: bool, state: &str) {
        until(state, || {
            let found = self.state(backend);
            found.is_none_or(|found| found == state).then_some(())
        });
    }

    pub(crate) fn wait_for_state(&self, backend: bool, state: &str) {
        until(state, || (self.state(backend).as_deref() == Some(state)).then_some(()));
    }

    /// The captured connection, and what teardown told.
    pub(crate) fn end(self) -> (Connection, Stopped) {
        let packets = self.capture.stop();
        let found = connections(&packets);
        let ours = found.into_iter().find(|one| one.orig.port() == self.port);
        (ours.expect("the connection in the capture"), self.watch.stop())
    }
}

/// The one close that was told, which must say who ended it.
pub(crate) fn told(stopped: &Stopped, cause: &str) -> Value {
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
pub(crate) fn counters(stopped: &Stopped) -> &str {
    stopped.words.iter().find(|line| line.contains("matched")).expect("the rule's counters")
}

/// The last packet of our end is the RST+ACK at the numbers that the peer expects, in time: what the
/// daemon was `kept` from running comes on top.
fn is_exact(connection: &Connection, waited_since: &Packet, kept: Duration) {
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
    let in_time = WAIT.saturating_sub(ON_THE_WAY)..=WAIT + SLACK + kept;
    assert!(in_time.contains(&waited), "{waited:?}, {kept:?}\n{connection}");
}

fn last_of(connection: &Connection, end: End) -> &Packet {
    let mut sent = connection.packets.iter().filter(|(by, packet)| *by == end && !packet.has(RST));
    &sent.next_back().expect("it spoke").1
}

fn fin_of(connection: &Connection, end: End) -> &Packet {
    let fins = connection.packets.iter().find(|(by, packet)| *by == end && packet.has(FIN));
    &fins.expect("a FIN").1
}

/// Under [`HALF_CLOSE`]: both ends are freed in time, and everybody says so.
pub(crate) fn ends_half_closed(mut scene: Scene, holds_on: bool) {
    let before = Scheduled::of(&scene.watch.process);
    scene.half_close(holds_on);
    scene.goes_through(false, "FIN-WAIT-2");
    scene.goes_through(true, "CLOSE-WAIT");
    scene.wait_until_freed();
    let kept = Scheduled::kept_since(&scene.watch.process, &before);
    let error = scene.theirs.take_error().expect("an option").expect("the RST came");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "a reset in CLOSE_WAIT");
    if holds_on {
        let error = scene.ours().read(&mut [0; 1]).expect_err("the end of ours");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    scene.watch.wait_for_closes(1);
    let (connection, stopped) = scene.end();
    is_exact(&connection, fin_of(&connection, End::Orig), kept);
    let close = told(&stopped, "half-close");
    assert_eq!((&close["first_closer"], &close["first_signal"]), (&"orig".into(), &"fin".into()));
    assert_eq!(close["answer"], Value::Null, "{close}");
    let counters = counters(&stopped);
    assert!(counters.contains("matched 1") && counters.contains("half close over 1"), "{counters}");
}

/// Under [`CLOSE_WAIT`]: the same where our own application does not close.
pub(crate) fn cuts_off(mut scene: Scene) {
    let before = Scheduled::of(&scene.watch.process);
    scene.be_half_closed();
    scene.goes_through(false, "CLOSE-WAIT");
    scene.wait_until_freed();
    let kept = Scheduled::kept_since(&scene.watch.process, &before);
    let error = scene.theirs.read(&mut [0; 1]).expect_err("the RST came");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = scene.ours().write(b"too late").expect_err("the end of ours");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    scene.watch.wait_for_closes(1);
    let (connection, stopped) = scene.end();
    is_exact(&connection, fin_of(&connection, End::Resp), kept);
    let close = told(&stopped, "close-wait");
    assert_eq!((&close["first_closer"], &close["answer"]), (&"resp".into(), &"rst_ack".into()));
    let counters = counters(&stopped);
    assert!(counters.contains("matched 1") && counters.contains("close wait over 1"), "{counters}");
}
