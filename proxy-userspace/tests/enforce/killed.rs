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
use rustix::process::Signal;
use std::net::SocketAddr;

#[test]
fn a_kill_in_mid_traffic_fails_open() {
    let topology = Topology::veth(Family::V4);
    let servers = Servers::start(&topology);
    let proxy = haproxy_that_waits(&topology, false, "30s");
    let server = SocketAddr::new(topology.backend_addr, Manner::FinWithData.port());
    let front = SocketAddr::new(topology.front_addr, Mode::ServerClose.port(Manner::FinWithData));
    let capture = || control_at_the_backend(&topology);
    let load = wrk::Running::start(&topology.client, front, 16);
    for _ in 0..2 {
        let mut enforcer = Enforcer::start(&topology.proxy, &[]);
        enforcer.set(server, "like haproxy-1.4");
        let with = capture();
        until("closes by the rule", || (answers(&with, Sign::RstAck) > 100).then_some(()));
        enforcer.process.signal(Signal::KILL);
        enforcer.process.wait();
        with.stop();
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
