//! The matrix: every proxy, mode, server and client once over a topology, captured at the peers.

use super::clients::{Asked, Way, ask};
use super::packets::Packet;
use super::proxies::{Mode, haproxy, nginx};
use super::reading::{Connection, End, connections};
use super::servers::{Manner, Served, Servers};
use super::ss;
use super::tcpdump::Tcpdump;
use super::topology::Topology;
use super::until::until_empty;
use std::net::SocketAddr;
use std::sync::Mutex;

/// One cell of the matrix: who is asked by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Case {
    pub(crate) mode: Mode,
    pub(crate) manner: Manner,
    pub(crate) way: Way,
}

/// Every cell.
pub(crate) fn every_case() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in Mode::ALL {
        for manner in Manner::ALL {
            cases.extend(Way::ALL.map(|way| Case { mode, manner, way }));
        }
    }
    cases
}

/// Where the captures are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vantage {
    /// At the client and at the backend: what really arrived there.
    Peers,
    /// At the proxy's own interfaces: all packets in the order that the proxy saw.
    Proxy,
}

/// What is run, and how it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) vantage: Vantage,
    /// HAProxy asks the servers for their health all the while.
    pub(crate) checks: bool,
}

/// What happened, as the witnesses tell it.
pub(crate) struct Traffic {
    /// Each case with what its client saw.
    pub(crate) asked: Vec<(Case, Asked)>,
    /// What the servers saw, health checks included.
    pub(crate) served: Vec<Served>,
    /// Connections from the clients to the proxies, captured at the client.
    pub(crate) front: Vec<Connection>,
    /// Connections from the proxies to the servers, captured at the backend.
    pub(crate) back: Vec<Connection>,
    /// The files of the captures, kept for whoever looks into a failure.
    pub(crate) files: Vec<String>,
}

/// Runs every case through both proxies, and waits until each connection is over on the wire.
pub(crate) fn run(topology: &Topology, plan: Plan, name: &str) -> Traffic {
    let cases = every_case();
    let captures = captures(topology, plan.vantage);
    let servers = Servers::start(topology);
    let proxies = [haproxy(topology, plan.checks), nginx(topology)];
    let asked = ask_all(topology, &cases);
    // What the proxies keep, idle connections and those that wait, ends with them.
    for mut proxy in proxies {
        proxy.process.signal(rustix::process::Signal::TERM);
        proxy.process.wait();
    }
    let served = servers.stop();
    for capture in &captures {
        until_empty("connections that are not over in the capture", || {
            let mut known = connections(&capture.packets());
            known.retain(|connection| connection.over_at().is_none());
            // A SYN that was lost, its sender gone: where no socket is left, no more will come.
            let hosts = [&topology.client, &topology.proxy, &topology.backend];
            if hosts.iter().all(|host| ss::alive(host).is_empty()) {
                known.retain(|connection| connection.bytes(End::Orig) > 0);
            }
            known
        });
        capture.flush();
    }
    let files: Vec<String> = captures
        .iter()
        .enumerate()
        .map(|(number, capture)| capture.keep(&format!("{name}-{number}")))
        .collect();
    let mut packets: Vec<Packet> = captures.into_iter().flat_map(Tcpdump::stop).collect();
    packets.sort_by_key(|packet| packet.time);
    let (back, front) = connections(&packets)
        .into_iter()
        .partition(|connection| connection.resp.port() >= Manner::FinWithData.port());
    Traffic { asked, served, front, back, files }
}

/// Starts the captures that together see each connection once.
fn captures(topology: &Topology, vantage: Vantage) -> Vec<Tcpdump> {
    let Topology { client, proxy, backend, .. } = topology;
    if topology.is_loopback() {
        return vec![Tcpdump::start(proxy, "lo", topology.front_addr)];
    }
    let [front, back] = match vantage {
        Vantage::Peers => [(client, "eth0"), (backend, "eth0")],
        Vantage::Proxy => [(proxy, "front"), (proxy, "back")],
    };
    let toward = match vantage {
        Vantage::Peers => [topology.front_addr, topology.back_addr],
        Vantage::Proxy => [topology.client_addr, topology.backend_addr],
    };
    vec![Tcpdump::start(front.0, front.1, toward[0]), Tcpdump::start(back.0, back.1, toward[1])]
}

/// Asks every case, a few at a time.
fn ask_all(topology: &Topology, cases: &[Case]) -> Vec<(Case, Asked)> {
    let (waiting, done) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("the cases").next();
                    let Some(case) = next else { break };
                    let peer = SocketAddr::new(topology.front_addr, case.mode.port(case.manner));
                    let asked = ask(topology, peer, case.way);
                    done.lock().expect("the answers").push((*case, asked));
                }
            });
        }
    });
    done.into_inner().expect("the answers")
}

impl Traffic {
    /// Every connection, each once.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.front.iter().chain(&self.back).cloned().collect()
    }

    /// The connection of one client.
    pub(crate) fn front_of(&self, asked: &Asked) -> &Connection {
        self.front
            .iter()
            .find(|connection| connection.orig == asked.local && connection.resp == asked.peer)
            .unwrap_or_else(|| panic!("{asked:?} is not in the capture"))
    }
}
