//! The matrix: every proxy, mode, server and client once over a topology, captured at the peers.

use super::clients::{Asked, Way, ask};
use super::packets::Packet;
use super::proxies::{Mode, haproxy, nginx};
use super::reading::{Connection, connections};
use super::servers::{Manner, Served, Servers};
use super::tcpdump::Tcpdump;
use super::topology::Topology;
use super::until::until;
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

/// Runs `cases` through both proxies, and waits until each connection is over on the wire.
pub(crate) fn run(topology: &Topology, cases: &[Case], name: &str) -> Traffic {
    let client = Tcpdump::start(&topology.client, topology.peer_interface, topology.front_addr);
    let backend = (!topology.is_loopback())
        .then(|| Tcpdump::start(&topology.backend, topology.peer_interface, topology.back_addr));
    let servers = Servers::start(topology);
    let proxies = [haproxy(topology, true), nginx(topology)];
    let asked = ask_all(topology, cases);
    // What the proxies keep, idle connections and those that wait, ends with them.
    for mut proxy in proxies {
        proxy.process.signal(rustix::process::Signal::TERM);
        proxy.process.wait();
    }
    let served = servers.stop();
    let captures: Vec<&Tcpdump> = std::iter::once(&client).chain(&backend).collect();
    for capture in &captures {
        until("every connection to be over in the capture", || {
            let known = connections(&capture.packets());
            known.iter().all(|connection| connection.over_at().is_some()).then_some(())
        });
        capture.flush();
    }
    let files: Vec<String> = captures
        .iter()
        .enumerate()
        .map(|(number, capture)| capture.keep(&format!("{name}-{number}")))
        .collect();
    let mut packets: Vec<Packet> = client.stop();
    packets.extend(backend.map(Tcpdump::stop).unwrap_or_default());
    packets.sort_by_key(|packet| packet.time);
    let (back, front) = connections(&packets)
        .into_iter()
        .partition(|connection| connection.resp.port() >= Manner::FinWithData.port());
    Traffic { asked, served, front, back, files }
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
    /// The connection of one client.
    pub(crate) fn front_of(&self, asked: &Asked) -> &Connection {
        self.front
            .iter()
            .find(|connection| connection.orig == asked.local && connection.resp == asked.peer)
            .unwrap_or_else(|| panic!("{asked:?} is not in the capture"))
    }
}
