//! The machine alone, without a kernel: the captures of real traffic stepped in user space.

use crate::by_hand::{Host, everything, tagged};
use crate::compare::{History, differences};
use crate::support::packets::{ACK, FIN, Packet, RST, SYN};
use crate::support::reading::{Connection, End};
use crate::support::topology::{Family, Topology};
use crate::support::traffic::{self, Plan, Vantage};
use crate::support::weather::{Loss, Weather};
use proxy_common::flow::{Flow, Input, Mode, step};
use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::segment::{NO_WINDOW_SCALE, Segment};
use proxy_common::verdict::{self, Close};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

#[test]
fn captures_stepped_in_user_space_equal_the_reading_over_veth() {
    stepped(&Topology::veth(Family::V6), true, "machine-veth");
}

#[test]
fn captures_stepped_in_user_space_equal_the_reading_on_loopback() {
    stepped(&Topology::loopback(Family::V4), true, "machine-lo");
}

#[test]
fn captures_with_losses_equal_the_reading() {
    let topology = Topology::veth(Family::V4);
    let _at_the_proxy = Weather::lose(&topology.proxy, Loss::Share(5));
    let _at_the_backend = Weather::lose(&topology.backend, Loss::Share(5));
    stepped(&topology, false, "machine-losses");
}

#[test]
fn what_a_peer_did_by_hand_equals_the_reading() {
    for family in [Family::V4, Family::V6] {
        compare(&everything(&Host::new(family)));
    }
}

#[test]
fn tagged_frames_equal_the_reading() {
    let topology = Topology::veth(Family::V4);
    for tags in [&[][..], &[(0x8100, 7)], &[(0x88a8, 7), (0x8100, 8)]] {
        let known = tagged(&topology, tags, 5_000);
        assert_eq!(known.len(), 1);
        assert_eq!((known[0].conn_state(), known[0].bytes(End::Resp)), ("SF", 9));
        compare(&known);
    }
}

fn stepped(topology: &Topology, checks: bool, name: &str) {
    let plan = Plan { vantage: Vantage::Peers, checks };
    let traffic = traffic::run(topology, plan, name);
    compare(&traffic.connections());
}

fn compare(connections: &[Connection]) {
    for (mode, history) in [(Mode::OFFLINE, History::Full), (Mode::SPARSE, History::ControlAlone)] {
        let closes: Vec<Value> =
            connections.iter().map(|connection| told(connection, mode)).collect();
        let differing = differences(connections, &closes, history);
        assert!(
            differing.is_empty(),
            "{mode:?}: {} of {} differ\n{}",
            differing.len(),
            connections.len(),
            differing[..differing.len().min(8)].join("\n")
        );
    }
}

/// The close of one connection, as the machine sees its packets.
fn told(connection: &Connection, mode: Mode) -> Value {
    let (orig, resp) = (endpoint(connection.orig), endpoint(connection.resp));
    let (key, _) = FlowKey::new(orig, resp);
    let mut flow = Flow::new();
    for (_, packet) in &connection.packets {
        if mode.is_full() || packet.flags & (SYN | FIN | RST) != 0 {
            let (_, segment) = segment(packet);
            step(&mut flow, &key, Input::Segment(&segment), mode, packet.time);
        }
    }
    value(connection, &verdict::close(&key, &flow))
}

fn endpoint(addr: SocketAddr) -> Endpoint {
    match addr.ip() {
        IpAddr::V4(ip) => Endpoint::v4(ip.octets(), addr.port()),
        IpAddr::V6(ip) => Endpoint::v6(ip.octets(), addr.port()),
    }
}

fn segment(packet: &Packet) -> (FlowKey, Segment) {
    let (key, sender) = FlowKey::new(endpoint(packet.source), endpoint(packet.target));
    let segment = Segment {
        seq: packet.seq,
        ack: if packet.has(ACK) { packet.ack } else { 0 },
        payload: packet.payload,
        timestamp: 0,
        timestamp_echo: 0,
        vantage: 0,
        window: packet.window,
        flags: packet.flags,
        window_scale: packet.window_scale.unwrap_or(NO_WINDOW_SCALE),
        sender,
        marks: 0,
        reserved: 0,
    };
    (key, segment)
}

/// The fields of teardown's JSON that the machine decides.
fn value(connection: &Connection, close: &Close) -> Value {
    let flipped = close.orig.endpoint != endpoint(connection.orig);
    let ends = [connection.orig.to_string(), connection.resp.to_string()];
    json!({
        "v": 1,
        "orig": ends[usize::from(flipped)],
        "resp": ends[usize::from(!flipped)],
        "conn_state": close.conn_state.as_str(),
        "history": close.history.as_str(),
        "first_closer": close.first_closer.map(|role| role.as_str()),
        "first_signal": close.first_signal.map(|signal| signal.as_str()),
        "answer": close.answer.map(|signal| signal.as_str()),
        "half_closed_us": close.half_closed_ns.map(|ns| ns / 1000),
        "orig_bytes": close.orig.bytes,
        "resp_bytes": close.resp.bytes,
    })
}
