//! Other people's tc programs on the same hooks keep seeing every packet while rules change some.

use crate::support::clients::{Way, ask};
use crate::support::enforcer::Enforcer;
use crate::support::foreign::{Counter, Hook};
use crate::support::proxies::{Mode, haproxy};
use crate::support::servers::{Manner, Servers};
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use aya::programs::TcAttachType;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// Foreign programs before and behind teardown's; the interface's own counters are the witness.
#[test]
fn foreign_programs_see_every_packet() {
    let topology = Topology::veth(Family::V4);
    let ways = [TcAttachType::Ingress, TcAttachType::Egress];
    let attach = |hook: &Hook| ways.map(|way| Counter::attach(&topology.proxy, "back", way, *hook));
    let mut all: Vec<[Counter; 2]> = Hook::all().iter().map(attach).collect();
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    enforcer.set(topology.backend_addr, "active rst passive rst any-fin");
    all.extend(Hook::all().iter().map(attach));
    let start = packets(&topology);
    let seen = || all.iter().map(|pair| pair.each_ref().map(Counter::seen)).collect::<Vec<_>>();
    let first = seen();
    let servers = Servers::start(&topology);
    let proxy = haproxy(&topology, false);
    for mode in [Mode::Tcp, Mode::ServerClose] {
        for manner in Manner::ALL {
            let peer = SocketAddr::new(topology.front_addr, mode.port(manner));
            for way in Way::ALL {
                ask(&topology, peer, way);
            }
        }
    }
    drop(proxy);
    drop(servers);
    until("every program to have seen every packet", || {
        let end = packets(&topology);
        let last = seen();
        let counts = enforcer.counts(topology.backend_addr);
        let resets = counts.of("fin to rst");
        // The copies for the local stack come in by the interface too, which does not count them;
        // where data's acknowledgment became the RST there is none.
        let copies = resets - counts.of("stripped");
        let real = [end[0] - start[0] + copies, end[1] - start[1]];
        let agree = |(last, first): (&[u64; 2], &[u64; 2])| {
            [last[0] - first[0], last[1] - first[1]] == real
        };
        let all_agree = last.iter().zip(&first).all(agree);
        (real[0] > 200 && resets > 20 && all_agree).then_some(())
    });
}

/// The stack answers a peer that asks where nobody listens: no application closes by that, and no
/// rule has a say.
#[test]
fn the_stacks_own_answer_to_a_stray_segment_matches_no_rule() {
    let topology = Topology::veth(Family::V4);
    let enforcer = Enforcer::start(&topology.proxy, &[]);
    enforcer.set(topology.backend_addr, "active rst passive rst abort fin any-fin");
    let nobody = SocketAddr::new(topology.back_addr, 9);
    let error = topology.backend.run(|| TcpStream::connect(nobody)).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let closes = enforcer.wait_for_closes(nobody.port(), 1);
    assert!(closes[0]["actor"].is_null(), "{}", closes[0]);
    let counts = enforcer.counts(topology.backend_addr);
    for word in ["matched", "fin to rst", "rst to fin", "refused"] {
        assert_eq!(counts.of(word), 0, "{word}: {counts:?}");
    }
}

/// Packets that the back interface received and sent.
fn packets(topology: &Topology) -> [u64; 2] {
    let text = topology.proxy.output(Command::new("ip").args(["-j", "-s", "link", "show", "back"]));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    ["rx", "tx"].map(|way| json[0]["stats64"][way]["packets"].as_u64().expect("a counter"))
}
