//! A server that never closes, behind nginx and behind HAProxy in `mode tcp`: how long connections
//! stay half closed, sampled by `ss` at both ends.

use crate::crowds::control_at_the_backend;
use crate::support::clients::{Way, ask};
use crate::support::enforcer::Enforcer;
use crate::support::proxies::{Mode, haproxy_that_waits, nginx};
use crate::support::reading::{Connection, End, Sign, connections};
use crate::support::servers::{Manner, Servers};
use crate::support::ss::{self, Socket};
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Connections without a rule, and with one.
const BEFORE: usize = 5;
const UNDER: usize = 30;

/// What the rule says, and what may be added to it until both ends are free.
const DEADLINE: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(200);

#[test]
fn nothing_stays_half_closed_behind_nginx() {
    let topology = Topology::veth(Family::V4);
    let _servers = Servers::start(&topology);
    let _proxy = nginx(&topology);
    // nginx closes once it has the response: an orphan in FIN-WAIT-2.
    half_closed(&topology, Mode::NginxHttp, Way::Http10);
}

#[test]
fn nothing_stays_half_closed_behind_haproxy_in_mode_tcp() {
    let topology = Topology::veth(Family::V6);
    let _servers = Servers::start(&topology);
    let _proxy = haproxy_that_waits(&topology, false, "60s");
    // The client's half-close goes through, and HAProxy holds on to its socket.
    half_closed(&topology, Mode::Tcp, Way::HalfClosing);
}

fn half_closed(topology: &Topology, mode: Mode, way: Way) {
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    let server = SocketAddr::new(topology.backend_addr, Manner::Dodgy.port());
    let front = SocketAddr::new(topology.front_addr, mode.port(Manner::Dodgy));
    let sampled = Mutex::new(Sampled::default());
    let look = || sampled.lock().expect("the samples").look(topology, server);
    std::thread::scope(|scope| {
        // Clients may wait for as long as the server does.
        let ask_some = |count: usize| {
            for _ in 0..count {
                scope.spawn(|| ask(topology, front, way));
            }
        };
        ask_some(BEFORE);
        until("connections that nobody ends", || {
            look();
            let sampled = sampled.lock().expect("the samples");
            let long = |end: &HashMap<_, (Instant, Instant)>| {
                end.values().filter(|(from, to)| *to - *from > DEADLINE + SLACK * 3).count()
            };
            sampled.ends.iter().all(|end| long(end) == BEFORE).then_some(())
        });
        let mut before = sampled.lock().expect("the samples");
        let old: [HashSet<_>; 2] = before.ends.each_ref().map(|end| end.keys().cloned().collect());
        drop(std::mem::take(&mut *before));
        drop(before);

        let capture = control_at_the_backend(topology);
        enforcer.set(server, "half-close 2s any-fin");
        ask_some(UNDER);
        until("the end of every connection under the rule", || {
            look();
            let sampled = sampled.lock().expect("the samples");
            let over = |at: usize| {
                let ours = sampled.ends[at].iter().filter(|(name, _)| !old[at].contains(*name));
                let times: Vec<_> = ours.collect();
                let gone = times.iter().all(|(name, _)| !sampled.now[at].contains(*name));
                times.len() == UNDER && gone
            };
            (over(0) && over(1)).then_some(())
        });
        let mut known = connections(&capture.stop());
        known.retain(Connection::has_begun);
        assert_eq!(known.len(), UNDER);
        for known in &known {
            let ours = known.signs().into_iter().filter(|(end, ..)| *end == End::Orig);
            let mut ours: Vec<(Sign, u32)> =
                ours.map(|(_, sign, packet)| (sign, packet.end())).collect();
            // The RST is sent again, as it may be lost.
            ours.dedup();
            let (fin, rst) = (ours[0], ours[1]);
            assert_eq!((fin.0, rst.0, ours.len()), (Sign::Fin, Sign::RstAck, 2), "{known}");
            assert_eq!(fin.1, rst.1, "the RST's number is that behind the FIN\n{known}");
        }
        let sampled = sampled.lock().expect("the samples");
        for (end, old) in sampled.ends.iter().zip(&old) {
            for (name, (from, to)) in end.iter().filter(|(name, _)| !old.contains(*name)) {
                let time = *to - *from;
                assert!(time <= DEADLINE + SLACK, "{name}: half closed for {time:?}");
                assert!(time >= DEADLINE - SLACK * 2, "{name}: half closed for {time:?} only");
            }
        }
    });
}

/// Sockets in FIN-WAIT-2 or CLOSE-WAIT, by their ends: at the proxy and at the backend.
#[derive(Default)]
struct Sampled {
    /// When each was first and last seen half closed.
    ends: [HashMap<String, (Instant, Instant)>; 2],
    /// Those that are.
    now: [HashSet<String>; 2],
}

impl Sampled {
    fn look(&mut self, topology: &Topology, server: SocketAddr) {
        let server = server.to_string();
        let half = |socket: &Socket| ["FIN-WAIT-2", "CLOSE-WAIT"].contains(&&*socket.state);
        let ours = |socket: &Socket| [&socket.local, &socket.peer].contains(&&server);
        for (at, netns) in [&topology.proxy, &topology.backend].into_iter().enumerate() {
            let sockets = ss::sockets(netns).into_iter().filter(|s| half(s) && ours(s));
            self.now[at] = sockets.map(|s| format!("{} {}", s.local, s.peer)).collect();
            let now = Instant::now();
            for name in &self.now[at] {
                self.ends[at].entry(name.clone()).or_insert((now, now)).1 = now;
            }
        }
    }
}
