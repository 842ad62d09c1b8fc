//! One HAProxy under full load closes like 1.4, then like 1.5, and no request notices.

use crate::crowds::control_at_the_backend;
use crate::support::clock::unix_ns;
use crate::support::enforcer::Enforcer;
use crate::support::proxies::{Mode, haproxy_that_waits};
use crate::support::reading::{Connection, End, Sign, connections};
use crate::support::servers::{Manner, Servers};
use crate::support::ss;
use crate::support::topology::{Family, Topology};
use crate::support::wrk;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections and packets of a moment ago may still be on their way when a rule changes.
const MARGIN: u64 = 20_000_000;

/// wrk's connections.
const CLIENTS: u32 = 32;

#[test]
fn haproxy_in_mode_http_closes_like_1_4_and_like_1_5_in_turn() {
    switched(Mode::ServerClose, Family::V4);
    switched(Mode::KeepAlive, Family::V6);
}

#[test]
fn haproxy_in_mode_tcp_closes_like_1_4_and_like_1_5_in_turn() {
    switched(Mode::Tcp, Family::V4);
}

/// A RST that reaches the server while its socket gives way to one in TIME-WAIT is dropped by the
/// server's kernel (`tcp_rcv_state_process`, reason TCP_CLOSE), whoever sent it, and nobody sends it
/// again: what is left there ends by itself after `tcp_fin_timeout`. One in some ten thousand.
const MISSED: usize = 3;

/// How long wrk runs; by hand it may be longer.
fn time() -> Duration {
    let seconds = std::env::var("TEARDOWN_LOAD_SECONDS").ok();
    Duration::from_secs(seconds.map_or(3, |text| text.parse().expect("seconds")))
}

/// A rule was in force from one time to the other, in nanoseconds since 1970.
struct Phase {
    from: u64,
    until: u64,
    answer: Sign,
}

fn switched(mode: Mode, family: Family) {
    let topology = Topology::veth(family);
    let servers = Servers::start(&topology);
    let proxy = haproxy_that_waits(&topology, false, "30s");
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    let server = SocketAddr::new(topology.backend_addr, Manner::FinWithData.port());
    let front = SocketAddr::new(topology.front_addr, mode.port(Manner::FinWithData));
    let capture = control_at_the_backend(&topology);
    let (load, phases) = std::thread::scope(|scope| {
        let load = scope.spawn(|| wrk::run(&topology.client, front, CLIENTS, time()));
        let phases = switch(&enforcer, server, || load.is_finished());
        (load.join().expect("wrk ends well"), phases)
    });
    let pid = proxy.process.pid();
    assert!(std::fs::metadata(format!("/proc/{pid}")).is_ok(), "the same process all the time");
    assert_eq!((load.errors, load.wrong), (0, 0), "{load:?}");
    assert!(load.requests > 1000, "{load:?}");
    drop(proxy);
    capture.flush();
    let known = connections(&capture.packets());
    let checked = check(&known, &phases);
    println!("{mode:?} {family:?}: {load:?}, {} connections, {checked:?}", known.len());
    for (phase, checked) in phases.iter().zip(&checked) {
        // The first and last may be short.
        let long = phase.until.saturating_sub(phase.from) > 100_000_000;
        assert!(!long || *checked > 0, "nothing closed in a phase: {checked:?}");
    }
    // An emulated machine takes longer to change a rule than the rule then stands.
    let checked_in_all: usize = checked.iter().sum();
    assert!(checked_in_all > 500, "{checked_in_all} of {}", known.len());
    // `matched` counts each connection once, whatever rule its close met.
    let counts = enforcer.counts(server);
    let closed = known.iter().filter(|known| a_socket_closed(known)).count();
    assert_eq!(counts.of("matched"), closed as u64, "{counts:?}");
    // Also where a FIN was not acknowledged in time, and is a RST when it is sent again.
    let reset = |known: &&Connection| {
        known.signs().iter().any(|(end, sign, _)| (*end, *sign) == (End::Orig, Sign::RstAck))
    };
    let resets = known.iter().filter(reset).count() as u64;
    // HAProxy itself resets what a client gave up; as wrk ends it gives up all.
    let own = resets.checked_sub(counts.of("fin to rst"));
    assert!(own.is_some_and(|own| own <= u64::from(CLIENTS)), "{counts:?}, {resets} on the wire");
    assert_eq!(counts.of("failed"), 0, "{counts:?}");
    crate::support::until::until_empty("sockets between HAProxy and its server", || {
        let all = [ss::alive(&topology.proxy), ss::alive(&topology.backend)].concat();
        let (missed, mut left): (Vec<_>, Vec<_>) = all
            .into_iter()
            .map(|socket| (of(&socket, &known), socket))
            .partition(|(known, socket)| missed_its_reset(*known, socket));
        if missed.len() > MISSED {
            left.extend(missed);
        }
        let told = |(known, socket): &(Option<&Connection>, ss::Socket)| {
            format!("{socket:?}: {}", known.map(ToString::to_string).unwrap_or_default())
        };
        left.iter().map(told).collect()
    });
    drop(servers);
}

/// Whether a socket of the proxy's has closed. A RST without ACK is its stack's, for a socket that
/// was given up before the handshake was over.
fn a_socket_closed(known: &Connection) -> bool {
    known.signs().iter().any(|(end, sign, _)| *end == End::Orig && *sign != Sign::Rst)
}

/// The last connection of a socket.
fn of<'k>(socket: &ss::Socket, known: &'k [Connection]) -> Option<&'k Connection> {
    let ends = [&socket.local, &socket.peer];
    known.iter().rfind(|known| ends.contains(&&known.orig.to_string()))
}

/// Whether it is what is left of the server's end after the RST came, and was dropped: [`MISSED`].
fn missed_its_reset(known: Option<&Connection>, socket: &ss::Socket) -> bool {
    let is_reset = |known: &Connection| {
        known.resp.to_string() == socket.local && known.answer() == Some(Sign::RstAck)
    };
    socket.state == "FIN-WAIT-2" && known.is_some_and(is_reset)
}

/// Changes the rule over the runtime socket until the load is over.
fn switch(enforcer: &Enforcer, server: SocketAddr, over: impl Fn() -> bool) -> Vec<Phase> {
    let mut phases = Vec::new();
    let both = [("like haproxy-1.4", Sign::RstAck), ("like haproxy-1.5", Sign::Fin)];
    for (words, answer) in both.into_iter().cycle() {
        enforcer.set(server, words);
        let from = unix_ns();
        while unix_ns() < from + 300_000_000 && !over() {
            std::thread::sleep(Duration::from_millis(5));
        }
        phases.push(Phase { from: from + MARGIN, until: unix_ns(), answer });
        if over() {
            break;
        }
    }
    phases
}

/// The proxy's answer to each FIN of the server's is that of the rule in force. Gives how many there
/// were in each phase; those on the border of two are left out, and what wrk gave up as it ended.
fn check(known: &[Connection], phases: &[Phase]) -> Vec<usize> {
    let mut checked = vec![0; phases.len()];
    let mut given_up = 0;
    for known in known {
        let signs = known.signs();
        let Some((_, sign, packet)) = signs.iter().find(|(end, ..)| *end == End::Orig) else {
            continue;
        };
        let first = signs[0].2.time;
        let within = |phase: &Phase| phase.from <= first && packet.time + MARGIN <= phase.until;
        let Some(phase) = phases.iter().position(within) else { continue };
        if known.first_close() != Some((End::Resp, Sign::Fin)) {
            given_up += 1;
            continue;
        }
        assert_eq!(*sign, phases[phase].answer, "{known}");
        checked[phase] += 1;
    }
    assert!(given_up <= CLIENTS, "{given_up} closes were not the server's first");
    checked
}
