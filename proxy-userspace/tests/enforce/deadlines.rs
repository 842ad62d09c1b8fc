//! A server that never closes, behind nginx and behind HAProxy in `mode tcp`: how long connections
//! stay half closed, sampled by `ss` at both ends.

use crate::crowds::control_at_the_backend;
use crate::support::clients::{Way, ask};
use crate::support::enforcer::Enforcer;
use crate::support::proxies::{Mode, haproxy_that_waits, nginx};
use crate::support::reading::{Connection, End, Sign, connections};
use crate::support::scheduled::Scheduled;
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
            let long = |end: &HashMap<_, Seen>| {
                end.values().filter(|seen| seen.times().0 > DEADLINE + SLACK * 3).count()
            };
            sampled.ends.iter().all(|end| long(end) == BEFORE).then_some(())
        });
        let mut before = sampled.lock().expect("the samples");
        let old: [HashSet<_>; 2] = before.ends.each_ref().map(|end| end.keys().cloned().collect());
        drop(std::mem::take(&mut *before));
        drop(before);

        let capture = control_at_the_backend(topology);
        let scheduled = Scheduled::of(&enforcer.process);
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
        let kept = Scheduled::kept_since(&enforcer.process, &scheduled);
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
            for (name, seen) in end.iter().filter(|(name, _)| !old.contains(*name)) {
                let (least, most) = seen.times();
                assert!(least <= DEADLINE + SLACK + kept, "{name}: half closed for {least:?}");
                // Time counts from the FIN, and its acknowledgment may come 40 ms later.
                let late = DEADLINE / 10;
                assert!(most >= DEADLINE - late, "{name}: half closed for {most:?} only");
            }
        }
    });
}

/// When a socket was seen half closed: ss takes its time, and so does a busy machine between two looks.
struct Seen {
    /// The last look before it was, if there was one, and the first look that saw it.
    began: (Option<Instant>, Instant),
    /// When the last look that saw it began, and when the next one was over.
    ended: (Instant, Option<Instant>),
}

impl Seen {
    /// For how long it was half closed at least and at most.
    fn times(&self) -> (Duration, Duration) {
        let least = self.ended.0.saturating_duration_since(self.began.1);
        let most = self.began.0.zip(self.ended.1).map(|(from, to)| to - from);
        (least, most.unwrap_or(Duration::MAX))
    }
}

/// Sockets in FIN-WAIT-2 or CLOSE-WAIT, by their ends: at the proxy and at the backend.
#[derive(Default)]
struct Sampled {
    ends: [HashMap<String, Seen>; 2],
    /// Those that are half closed.
    now: [HashSet<String>; 2],
    /// When the last look began.
    looked: [Option<Instant>; 2],
}

impl Sampled {
    fn look(&mut self, topology: &Topology, server: SocketAddr) {
        let server = server.to_string();
        let half = |socket: &Socket| ["FIN-WAIT-2", "CLOSE-WAIT"].contains(&&*socket.state);
        let ours = |socket: &Socket| [&socket.local, &socket.peer].contains(&&server);
        for (at, netns) in [&topology.proxy, &topology.backend].into_iter().enumerate() {
            let begun = Instant::now();
            let before = self.looked[at].replace(begun);
            let sockets = ss::sockets(netns).into_iter().filter(|s| half(s) && ours(s));
            self.now[at] = sockets.map(|s| format!("{} {}", s.local, s.peer)).collect();
            let over = Instant::now();
            for name in &self.now[at] {
                let new = Seen { began: (before, over), ended: (begun, None) };
                self.ends[at].entry(name.clone()).or_insert(new).ended = (begun, None);
            }
            let gone = self.ends[at].iter_mut().filter(|(name, _)| !self.now[at].contains(*name));
            gone.for_each(|(_, seen)| _ = seen.ended.1.get_or_insert(over));
        }
    }
}
