//! Other people's tc programs on the same hooks keep seeing every packet.

use crate::support::clients::{Way, ask};
use crate::support::foreign::{Counter, Hook};
use crate::support::proxies::{Mode, haproxy};
use crate::support::servers::{Manner, Servers};
use crate::support::topology::{Family, Topology};
use crate::support::watch::{Ingress, Watch};
use aya::programs::TcAttachType;
use std::net::SocketAddr;
use std::process::Command;

#[test]
fn foreign_programs_see_every_packet_beside_tc() {
    see_every_packet(Ingress::Tc);
}

#[test]
fn foreign_programs_see_every_packet_beside_xdp() {
    see_every_packet(Ingress::Xdp);
}

/// Foreign programs before and behind teardown's; the interface's own counters are the witness.
fn see_every_packet(ingress: Ingress) {
    let topology = Topology::veth(Family::V4);
    let ways = [TcAttachType::Ingress, TcAttachType::Egress];
    let attach =
        |hook: &Hook| ways.map(|way| Counter::attach(&topology.proxy, "front", way, *hook));
    let mut all: Vec<[Counter; 2]> = Hook::all().iter().map(attach).collect();
    let watch = Watch::start(&topology, &["--ingress", ingress.word()]);
    all.extend(Hook::all().iter().map(attach));
    let start = packets(&topology);
    let seen = || all.iter().map(|pair| pair.each_ref().map(Counter::seen)).collect::<Vec<_>>();
    let first = seen();
    let servers = Servers::start(&topology);
    let proxy = haproxy(&topology, false);
    for manner in Manner::ALL {
        let peer = SocketAddr::new(topology.front_addr, Mode::Tcp.port(manner));
        for way in Way::ALL {
            ask(&topology, peer, way);
        }
    }
    drop(proxy);
    drop(servers);
    watch.wait_for_closes(Manner::ALL.len() * Way::ALL.len());
    // A late ACK may come between two readings: read until all agree.
    crate::support::until::until("every program to have seen every packet", || {
        let end = packets(&topology);
        let last = seen();
        let seen: Vec<[u64; 2]> = last
            .iter()
            .zip(&first)
            .map(|(last, first)| [last[0] - first[0], last[1] - first[1]])
            .collect();
        let real = [end[0] - start[0], end[1] - start[1]];
        (real[0] > 200 && seen.iter().all(|seen| *seen == real)).then_some(())
    });
    assert!(watch.stop().status.success());
}

/// Packets that the front interface received and sent.
fn packets(topology: &Topology) -> [u64; 2] {
    let text =
        topology.proxy.output(Command::new("ip").args(["-j", "-s", "link", "show", "front"]));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    ["rx", "tx"].map(|way| json[0]["stats64"][way]["packets"].as_u64().expect("a counter"))
}
