//! Connections that are half closed before there is a rule, those older than the daemon too.

use crate::scene::{CLOSE_WAIT, HALF_CLOSE, SLACK, WAIT};
use crate::support::clock::unix_ns;
use crate::support::enforcer::Enforcer;
use crate::support::packets::{FIN, Packet, RST};
use crate::support::scheduled::Scheduled;
use crate::support::sockets::{Prepare, bind_to, connect, plain};
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::Family;
use crate::support::until::{until, until_empty};
use crate::support::wires::{Laid, Wire};
use std::io::{ErrorKind, Read as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A connection whose ends are at two hosts, and a capture at theirs.
struct Old {
    laid: Laid,
    capture: Tcpdump,
    ours: Option<TcpStream>,
    theirs: TcpStream,
    peer: SocketAddr,
}

impl Old {
    fn new(wire: Wire, family: Family, prepare: Prepare<'_>) -> Self {
        let laid = Laid::new(wire, family);
        let topology = &laid.topology;
        let capture =
            Tcpdump::start(&topology.backend, topology.peer_interface, topology.back_addr);
        let at = SocketAddr::new(topology.backend_addr, 0);
        let listener = topology.backend.run(|| TcpListener::bind(at)).expect("a port");
        let peer = listener.local_addr().expect("its address");
        let ours = topology.proxy.run(|| connect(peer, prepare)).expect("a connection");
        let (theirs, _) = listener.accept().expect("its other end");
        Self { laid, capture, ours: Some(ours), theirs, peer }
    }

    /// Ours closes, and leaves an orphan.
    fn close(&mut self) {
        self.ours = None;
        assert_eq!(self.theirs.read(&mut [0; 1]).expect("the end"), 0);
        self.wait_for("FIN-WAIT-2");
    }

    /// Theirs closes, and ours does not.
    fn be_closed(&mut self) {
        self.theirs.shutdown(Shutdown::Write).expect("it is open");
        let mut ours = self.ours.as_ref().expect("open");
        assert_eq!(ours.read(&mut [0; 1]).expect("the end"), 0);
        self.wait_for("CLOSE-WAIT");
    }

    fn wait_for(&self, state: &str) {
        until(state, || self.states().iter().any(|found| found == state).then_some(()));
    }

    /// The states of sockets towards the peer on our host.
    fn states(&self) -> Vec<String> {
        let end = format!(":{}", self.peer.port());
        let all = ss::sockets(&self.laid.topology.proxy).into_iter();
        let all = all.filter(|s| s.peer.ends_with(&end) || s.local.ends_with(&end));
        all.filter(|socket| socket.state != "LISTEN").map(|socket| socket.state).collect()
    }

    fn first(&self, flag: u8) -> Option<Packet> {
        self.capture.packets().into_iter().find(|packet| packet.has(flag))
    }

    /// Waits for the end at both hosts; gives the RST.
    fn end(&mut self) -> Packet {
        let reset = until("the RST", || self.first(RST));
        assert_eq!(reset.target, self.peer);
        let error = until("its end", || self.theirs.take_error().expect("an option"));
        let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(kinds.contains(&error.kind()), "{error}");
        until_empty("sockets", || self.states());
        reset
    }
}

/// Whether `packet` came that long after a moment between the two, given in nanoseconds since 1970;
/// what the daemon was `kept` from running comes on top.
fn is_in_time(packet: &Packet, began: (u64, u64), wait: Duration, kept: Duration) {
    let after = Duration::from_nanos(packet.time.saturating_sub(began.1));
    let at_most = Duration::from_nanos(packet.time.saturating_sub(began.0));
    assert!(at_most >= wait && after <= wait + SLACK + kept, "{after:?} to {at_most:?}, {kept:?}");
}

/// Nobody saw the FIN: time counts from the daemon's start.
fn older_than_the_daemon(wire: Wire, family: Family, prepare: Prepare<'_>) {
    for rule in [HALF_CLOSE, CLOSE_WAIT] {
        let mut old = Old::new(wire, family, prepare);
        if rule == HALF_CLOSE {
            old.close();
        } else {
            old.be_closed();
        }
        let before = unix_ns();
        let enforcer = Enforcer::start(&old.laid.topology.proxy, &[]);
        let _tags = old.laid.tags();
        let scheduled = Scheduled::of(&enforcer.process);
        enforcer.set(old.peer, rule);
        let after = unix_ns();
        let reset = old.end();
        let kept = Scheduled::kept_since(&enforcer.process, &scheduled);
        is_in_time(&reset, (before, after), WAIT, kept);
        let counts = enforcer.counts(old.peer);
        let word = if rule == HALF_CLOSE { "half close over" } else { "close wait over" };
        assert_eq!((counts.of("matched"), counts.of(word)), (1, 1), "{counts:?}");
    }
}

#[test]
fn older_than_the_daemon_over_veth() {
    older_than_the_daemon(Wire::Veth, Family::V4, &plain);
    older_than_the_daemon(Wire::Veth, Family::V6, &|socket, _| bind_to(socket, "back"));
}

/// There the way to the peer is asked for, as no segment was seen to leave.
#[test]
fn older_than_the_daemon_on_other_wires() {
    older_than_the_daemon(Wire::Loopback, Family::V4, &plain);
    older_than_the_daemon(Wire::Tun, Family::V4, &|socket, _| bind_to(socket, "tun0"));
    older_than_the_daemon(Wire::Vlan, Family::V6, &|socket, _| bind_to(socket, "back.7"));
}

/// Time counts from the FIN where the daemon saw it.
#[test]
fn a_rule_that_comes_or_is_changed_in_time_holds() {
    for first in ["", "half-close 1h"] {
        let mut old = Old::new(Wire::Veth, Family::V4, &plain);
        let enforcer = Enforcer::start(&old.laid.topology.proxy, &[]);
        if !first.is_empty() {
            enforcer.set(old.peer, first);
        }
        let scheduled = Scheduled::of(&enforcer.process);
        old.close();
        let fin = until("its FIN", || old.first(FIN)).time;
        enforcer.set(old.peer, "half-close 1500ms");
        let reset = old.end();
        let kept = Scheduled::kept_since(&enforcer.process, &scheduled);
        is_in_time(&reset, (fin, fin), Duration::from_millis(1_500), kept);
    }
}

#[test]
fn a_rule_that_is_gone_in_time_ends_nothing() {
    let mut old = Old::new(Wire::Veth, Family::V4, &plain);
    let enforcer = Enforcer::start(&old.laid.topology.proxy, &[]);
    // Long enough for the rule to be gone in time on a busy machine too.
    enforcer.set(old.peer, "half-close 2s");
    let began = Instant::now();
    old.close();
    enforcer.forget(old.peer);
    std::thread::sleep((Duration::from_secs(2) + SLACK * 2).saturating_sub(began.elapsed()));
    assert_eq!(old.states(), ["FIN-WAIT-2"]);
    assert_eq!(old.first(RST), None);
}
