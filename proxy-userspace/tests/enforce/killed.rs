//! The daemon dead by SIGKILL in mid-traffic: the next closes are as the application makes them.

use crate::crowds::control_at_the_backend;
use crate::support::enforcer::Enforcer;
use crate::support::proxies::{Mode, haproxy_that_waits};
use crate::support::reading::{Connection, End, Sign, connections};
use crate::support::servers::{Manner, Servers};
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::wrk;
use proxy_common::stand_in::UNTENDED_NS;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_kill_in_mid_traffic_fails_open() {
    kill_in_mid_traffic(&[]);
}

#[test]
fn a_kill_fails_open_where_the_filters_stay() {
    kill_in_mid_traffic(&["--hook", "clsact"]);
}

fn kill_in_mid_traffic(arguments: &[&str]) {
    let topology = Topology::veth(Family::V4);
    let servers = Servers::start(&topology);
    let proxy = haproxy_that_waits(&topology, false, "30s");
    let server = SocketAddr::new(topology.backend_addr, Manner::FinWithData.port());
    let front = SocketAddr::new(topology.front_addr, Mode::ServerClose.port(Manner::FinWithData));
    let capture = || control_at_the_backend(&topology);
    let load = wrk::Running::start(&topology.client, front, 16);
    for _ in 0..2 {
        let mut enforcer = Enforcer::start(&topology.proxy, arguments);
        enforcer.set(server, "like haproxy-1.4");
        let with = capture();
        until("closes by the rule", || (answers(&with, Sign::RstAck) > 100).then_some(()));
        enforcer.process.signal(Signal::KILL);
        enforcer.process.wait();
        with.stop();
        if filters(&topology).contains("td_egress") {
            // Nobody tells them at once that the daemon is dead.
            std::thread::sleep(Duration::from_nanos(UNTENDED_NS));
        }
        // What was under way has ended before this capture's first SYN.
        let without = capture();
        until("closes without it", || (answers(&without, Sign::Fin) > 100).then_some(()));
        assert_eq!(answers(&without, Sign::RstAck), 0);
        without.stop();
    }
    let load = load.stop();
    assert_eq!((load.errors, load.wrong), (0, 0), "{load:?}");
    drop((proxy, servers));
}

/// What `tc` shows on the way out to the backend.
fn filters(topology: &Topology) -> String {
    let words = ["filter", "show", "dev", "back", "egress"];
    topology.proxy.output(Command::new("tc").args(words))
}

/// How many connections whose SYN was seen the proxy closed like this, after the server.
fn answers(capture: &Tcpdump, sign: Sign) -> usize {
    let known = connections(&capture.packets());
    let closed = |known: &&Connection| {
        known.has_begun()
            && known.first_close() == Some((End::Resp, Sign::Fin))
            && known.answer() == Some(sign)
    };
    known.iter().filter(closed).count()
}
