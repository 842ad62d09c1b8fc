//! Every proxy, mode, server and client: the tail against the captures.

use crate::compare::{History, differences, exaggerations, wait_until_told, word};
use crate::support::proxies::Mode;
use crate::support::servers::Manner;
use crate::support::topology::{Family, Topology};
use crate::support::traffic::{self, Plan, Traffic, Vantage};
use crate::support::watch::{Ingress, Watch};
use crate::support::weather::{Loss, Weather, offloads, timestamps};
use serde_json::Value;

/// Declares one test for each lane: where the traffic runs, and how teardown watches it.
macro_rules! lanes {
    ($($name:ident: $topology:ident $family:ident $ingress:ident $history:ident;)*) => {
        $(
            #[test]
            fn $name() {
                let topology = Topology::$topology(Family::$family);
                lane(&topology, Ingress::$ingress, History::$history, stringify!($name));
            }
        )*
    };
}

lanes! {
    veth_ipv4_tc: veth V4 Tc Sparse;
    veth_ipv6_tc: veth V6 Tc Sparse;
    veth_ipv4_xdp: veth V4 Xdp Sparse;
    veth_ipv6_xdp: veth V6 Xdp Sparse;
    loopback_ipv4_tc: loopback V4 Tc Sparse;
    loopback_ipv6_tc: loopback V6 Tc Sparse;
    loopback_ipv4_xdp: loopback V4 Xdp Sparse;
    loopback_ipv6_xdp: loopback V6 Xdp Sparse;
    veth_ipv4_tc_full: veth V4 Tc Full;
    veth_ipv6_xdp_full: veth V6 Xdp Full;
    loopback_ipv6_tc_full: loopback V6 Tc Full;
    loopback_ipv4_xdp_full: loopback V4 Xdp Full;
}

#[test]
fn veth_ipv4_tc_losses() {
    let topology = Topology::veth(Family::V4);
    let _weather = losses(&topology);
    lane(&topology, Ingress::Tc, History::Sparse, "veth_ipv4_tc_losses");
}

#[test]
fn veth_ipv6_xdp_full_losses() {
    let topology = Topology::veth(Family::V6);
    let _weather = losses(&topology);
    lane(&topology, Ingress::Xdp, History::Full, "veth_ipv6_xdp_full_losses");
}

/// Three packets of a hundred never reach the sockets of the proxy and of the backend. Offloads
/// and timestamps are off, too.
fn losses(topology: &Topology) -> [Weather; 2] {
    for (host, interface) in [(&topology.client, "eth0"), (&topology.proxy, "back")] {
        offloads(host, interface, false);
        timestamps(host, false);
    }
    [&topology.proxy, &topology.backend].map(|host| Weather::lose(host, Loss::Share(3)))
}

fn lane(topology: &Topology, ingress: Ingress, history: History, name: &str) {
    let mut arguments = vec!["--ingress", ingress.word()];
    if history == History::Full {
        arguments.extend(["--history", "full"]);
    }
    let watch = Watch::start(topology, &arguments);
    // The order of all packets is the same only where teardown itself looks.
    let vantage = if history == History::Full { Vantage::Proxy } else { Vantage::Peers };
    // A check that times out before its SYN is sent again would leave no close to compare.
    let lossy = name.ends_with("losses");
    let traffic = traffic::run(topology, Plan { vantage, checks: !lossy }, name);
    let connections = traffic.connections();
    wait_until_told(&watch, &connections);
    let stopped = watch.stop();
    assert!(stopped.status.success(), "{} {:?}", stopped.status, stopped.words);
    let mut differing = differences(&connections, &stopped.closes, history);
    if !lossy {
        differing.extend(exaggerations(&connections, &stopped.closes));
    }
    assert!(
        differing.is_empty(),
        "{} of {} connections differ; captures {:?}\n{}",
        differing.len(),
        connections.len(),
        traffic.files,
        differing[..differing.len().min(8)].join("\n")
    );
    if !topology.is_loopback() {
        owners_are_named(&stopped.closes);
    }
    assert_covered(&traffic);
}

/// Over veth the only local socket is the proxy's own.
fn owners_are_named(closes: &[Value]) {
    for close in closes {
        let port = |end| -> u16 {
            word(close, end).rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
        };
        let owner = close["process"].as_str();
        if port("resp") < Manner::FinWithData.port() {
            let mode = Mode::ALL
                .into_iter()
                .find(|mode| Manner::ALL.iter().any(|manner| mode.port(*manner) == port("resp")))
                .expect("a port of a proxy");
            assert_eq!(owner, Some(mode.process()), "{close}");
        } else {
            assert!(matches!(owner, Some("haproxy" | "nginx")), "{close}");
        }
        assert!(close["pid"].as_u64().is_some_and(|pid| pid > 1), "{close}");
    }
}

/// A matrix that went wrong in silence proves nothing: every kind of close must have been there.
fn assert_covered(traffic: &Traffic) {
    let connections = traffic.connections();
    for state in ["SF", "RSTO", "RSTR"] {
        let count = connections.iter().filter(|known| known.conn_state() == state).count();
        assert!(count >= 20, "only {count} {state}");
    }
    assert!(traffic.back.len() >= 300, "only {} connections to servers", traffic.back.len());
}
