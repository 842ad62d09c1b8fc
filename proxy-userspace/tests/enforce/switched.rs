//! One HAProxy under full load closes like 1.4, then like 1.5, and no request notices.

use crate::support::enforcer::Enforcer;
use crate::support::proxies::{Mode, haproxy_that_waits};
use crate::support::reading::{Connection, End, Sign, connections};
use crate::support::servers::{Manner, Servers};
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::wrk;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// Connections and packets of a moment ago may still be on their way when a rule changes.
const MARGIN: u64 = 20_000_000;

#[test]
fn haproxy_in_mode_http_closes_like_1_4_and_like_1_5_in_turn() {
    switched(Mode::ServerClose, Family::V4);
    switched(Mode::KeepAlive, Family::V6);
}

#[test]
fn haproxy_in_mode_tcp_closes_like_1_4_and_like_1_5_in_turn() {
    switched(Mode::Tcp, Family::V4);
}

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
    // The control segments alone, so that the witness keeps up with any load.
    let control = match family {
        Family::V4 => "tcp[13] & 7 != 0 or udp port 9",
        Family::V6 => "(ip6 proto 6 and ip6[53] & 7 != 0) or udp port 9",
    };
    let capture = Tcpdump::filtered(&topology.backend, "eth0", topology.back_addr, control);
    let (load, phases) = std::thread::scope(|scope| {
        let load = scope.spawn(|| wrk::run(&topology.client, front, 32, time()));
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
    let checked: Vec<usize> = phases.iter().map(|phase| check(&known, phase)).collect();
    println!("{mode:?} {family:?}: {load:?}, {} connections, {checked:?}", known.len());
    for (phase, checked) in phases.iter().zip(&checked) {
        // The first and last may be short.
        let long = phase.until - phase.from > 100_000_000;
        assert!(!long || *checked > 0, "nothing closed in a phase: {checked:?}");
    }
    let checked_in_all: usize = checked.iter().sum();
    assert!(checked_in_all * 2 > known.len(), "{checked_in_all} of {}", known.len());
    // `matched` counts each connection once, whatever rule its close met.
    let counts = enforcer.counts(server);
    let closed = known.iter().filter(|known| known.over_at().is_some()).count();
    assert_eq!(counts.of("matched"), closed as u64, "{counts:?}");
    let resets = known.iter().filter(|known| known.answer() == Some(Sign::RstAck)).count();
    assert_eq!(counts.of("fin to rst"), resets as u64, "{counts:?}");
    assert_eq!(counts.of("failed"), 0, "{counts:?}");
    crate::support::until::until_empty("sockets between HAProxy and its server", || {
        let all = [ss::alive(&topology.proxy), ss::alive(&topology.backend)].concat();
        all.into_iter().map(|socket| format!("{socket:?}")).collect()
    });
    drop(servers);
}

/// Changes the rule over the runtime socket until the load is over.
fn switch(enforcer: &Enforcer, server: SocketAddr, over: impl Fn() -> bool) -> Vec<Phase> {
    let mut phases = Vec::new();
    let both = [("like haproxy-1.4", Sign::RstAck), ("like haproxy-1.5", Sign::Fin)];
    for (words, answer) in both.into_iter().cycle() {
        enforcer.set(server, words);
        let from = now();
        while now() < from + 300_000_000 && !over() {
            std::thread::sleep(Duration::from_millis(5));
        }
        phases.push(Phase { from: from + MARGIN, until: now(), answer });
        if over() {
            break;
        }
    }
    phases
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_nanos()).expect("before 2554")
}

/// Every close of the phase was the server's first, and the proxy's answer is the rule's.
fn check(known: &[Connection], phase: &Phase) -> usize {
    let mut checked = 0;
    for known in known {
        let signs = known.signs();
        let Some((_, sign, packet)) = signs.iter().find(|(end, ..)| *end == End::Orig) else {
            continue;
        };
        let first = signs[0].2.time;
        if first < phase.from || packet.time + MARGIN > phase.until {
            continue;
        }
        assert_eq!(known.first_close(), Some((End::Resp, Sign::Fin)), "{known}");
        assert_eq!(*sign, phase.answer, "{known}");
        checked += 1;
    }
    checked
}
