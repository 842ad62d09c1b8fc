//! Wires other than a plain veth pair or loopback: tun, bridge, routing, and connections that
//! are older than the programs.

use crate::by_hand::{Host, everything, read_all, tagged};
use crate::compare::{History, differences, wait_until_told, word};
use crate::support::clients::{Way, ask};
use crate::support::netns::Netns;
use crate::support::packets::{ACK, FIN, RST};
use crate::support::proxies::{Mode, haproxy};
use crate::support::reading::connections;
use crate::support::servers::{Manner, Servers};
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::watch::{Ingress, Stopped, Watch};
use serde_json::Value;
use std::io::Write as _;
use std::net::{IpAddr, Shutdown, SocketAddr};

/// Everything by hand through a device without a link header.
fn by_hand(family: Family, ingress: Ingress, history: History) {
    let host = Host::new(family);
    let mut arguments = vec!["--ingress", ingress.word()];
    if history == History::Full {
        arguments.extend(["--history", "full"]);
    }
    let watch = Watch::start(&host.topology, &arguments);
    let known = everything(&host);
    wait_until_told(&watch, &known);
    let stopped = watch.stop();
    assert_eq!(differences(&known, &stopped.closes, history), Vec::<String>::new());
}

#[test]
fn everything_by_hand_over_tun_ipv4() {
    by_hand(Family::V4, Ingress::Tc, History::Sparse);
}

#[test]
fn everything_by_hand_over_tun_ipv6_with_extension_headers() {
    by_hand(Family::V6, Ingress::Tc, History::Sparse);
}

#[test]
fn everything_by_hand_over_tun_xdp_full() {
    by_hand(Family::V4, Ingress::Xdp, History::Full);
}

#[test]
fn tagged_frames_are_understood_both_ways() {
    for ingress in [Ingress::Tc, Ingress::Xdp] {
        let topology = Topology::veth(Family::V4);
        let watch = Watch::start(&topology, &["--ingress", ingress.word()]);
        let mut known = tagged(&topology, &[(0x8100, 7)], 5_001);
        known.extend(tagged(&topology, &[(0x88a8, 7), (0x8100, 8)], 5_002));
        assert_eq!(known.len(), 2);
        watch.wait_for_closes(2);
        let closes = watch.stop().closes;
        assert_eq!(differences(&known, &closes, History::Sparse), Vec::<String>::new());
    }
}

#[test]
fn a_rst_out_of_window_closes_nothing() {
    let host = Host::new(Family::V4);
    let watch = Watch::start(&host.topology, &[]);
    let (mut peer, stream) = host.establish(2001);
    // In the window but not exact: a challenge ACK (RFC 5961, 3.2). Out of it: silence.
    peer.say_at(peer.seq.wrapping_add(100), RST, b"");
    let challenge = peer.hear();
    assert!(challenge.has(ACK) && !challenge.has(RST), "{challenge:?}");
    peer.say_at(peer.seq.wrapping_sub(100), RST, b"");
    peer.say(ACK, b"still here");
    peer.say(FIN | ACK, b"");
    drop(read_all(stream));
    peer.hear_fin();
    peer.say(ACK, b"");
    host.wait_until_closed();
    watch.wait_for_closes(1);
    let Stopped { closes, .. } = watch.stop();
    assert_eq!(closes.len(), 1, "{closes:#?}");
    let close = &closes[0];
    let told = ["first_closer", "first_signal", "answer"].map(|field| word(close, field));
    assert_eq!(told, ["orig", "fin", "fin"], "{close}");
}

#[test]
fn a_new_syn_on_an_old_tuple_is_a_new_connection() {
    let host = Host::new(Family::V4);
    let watch = Watch::start(&host.topology, &[]);
    let capture = host.capture();
    for round in 0..3_u32 {
        let mut peer = host.peer(3001);
        peer.seq = 1_000_000 + round * 10_000_000;
        peer.connect();
        let (stream, _) = host.listener.accept().expect("a connection");
        peer.say(ACK, b"again");
        peer.say(FIN | ACK, b"");
        drop(read_all(stream));
        peer.hear_fin();
        peer.say(ACK, b"");
        host.wait_until_closed();
    }
    let known = connections(&capture.stop());
    assert_eq!(known.len(), 3);
    watch.wait_for_closes(3);
    let stopped = watch.stop();
    assert_eq!(differences(&known, &stopped.closes, History::Sparse), Vec::<String>::new());
}

#[test]
fn connections_older_than_the_programs_are_followed() {
    let host = Host::new(Family::V4);
    let (mut by_fin, first) = host.establish(4001);
    by_fin.say(ACK, b"before");
    let (mut by_rst, second) = host.establish(4002);
    let (mut half_closed, third) = host.establish(4003);
    third.shutdown(Shutdown::Write).expect("half closed");
    half_closed.hear_fin();
    half_closed.say(ACK, b"");
    let watch = Watch::start(&host.topology, &[]);
    by_fin.say(ACK, b"after");
    by_fin.say(FIN | ACK, b"");
    drop(read_all(first));
    by_fin.hear_fin();
    by_fin.say(ACK, b"");
    by_rst.say(RST | ACK, b"");
    drop(second);
    half_closed.say(FIN | ACK, b"");
    drop(read_all(third));
    watch.wait_for_closes(2);
    host.wait_until_closed();
    let Stopped { closes, words, .. } = watch.stop();
    let of = |port: u16| -> &Value {
        let end = format!(":{port}");
        let named = |close: &&Value| {
            word(close, "orig").ends_with(&end) || word(close, "resp").ends_with(&end)
        };
        closes.iter().find(named).unwrap_or_else(|| panic!("{port}: {closes:#?} {words:?}"))
    };
    for (port, signal, answer) in [(4001, "fin", Some("fin")), (4002, "rst_ack", None)] {
        let close = of(port);
        assert_eq!(word(close, "first_signal"), signal, "{close}");
        assert_eq!(close["answer"].as_str(), answer, "{close}");
        let peer = format!("{}:{port}", host.far);
        let closer = word(close, word(close, "first_closer"));
        assert_eq!(closer, peer, "the peer closed first: {close}");
    }
}

#[test]
fn who_had_closed_before_the_programs_looked_closed_first() {
    let host = Host::new(Family::V4);
    // The peer, our application, and an application that has left its socket to the kernel.
    let (mut peer, closing) = host.establish(4011);
    peer.say(FIN | ACK, b"");
    let (mut ours, closed) = host.establish(4012);
    closed.shutdown(Shutdown::Write).expect("half closed");
    let (mut orphan, left) = host.establish(4013);
    drop(left);
    for peer in [&mut ours, &mut orphan] {
        peer.hear_fin();
        peer.say(ACK, b"");
    }
    let watch = Watch::start(&host.topology, &["--half-open"]);
    drop(read_all(closing));
    peer.hear_fin();
    peer.say(ACK, b"");
    for peer in [&mut ours, &mut orphan] {
        peer.say(FIN | ACK, b"");
    }
    drop(read_all(closed));
    watch.wait_for_closes(3);
    host.wait_until_closed();
    let Stopped { closes, .. } = watch.stop();
    assert_eq!(closes.len(), 3, "{closes:#?}");
    let local = host.listener.local_addr().expect("its address").to_string();
    for (port, first) in
        [(4011, format!("{}:4011", host.far)), (4012, local.clone()), (4013, local)]
    {
        let end = format!(":{port}");
        let is_it =
            |close: &&Value| ["orig", "resp"].iter().any(|one| word(close, one).ends_with(&end));
        let close = closes.iter().find(is_it).expect("told");
        assert_eq!(word(close, word(close, "first_closer")), first, "{close}");
        assert_eq!((word(close, "first_signal"), word(close, "answer")), ("fin", "fin"), "{close}");
    }
}

#[test]
fn bytes_of_connections_that_another_observer_followed_are_unknown() {
    let host = Host::new(Family::V4);
    // It leaves its mark on the socket: its counters are told to whoever looks later, too.
    let earlier = Watch::start(&host.topology, &[]);
    let (mut peer, mut stream) = host.establish(4021);
    peer.say(ACK, b"ten bytes.");
    stream.write_all(&[7; 20]).expect("sent");
    let data = std::iter::repeat_with(|| peer.hear()).find(|packet| packet.payload == 20);
    peer.ack = data.expect("it comes").end();
    peer.say(ACK, b"");
    earlier.stop();
    let watch = Watch::start(&host.topology, &[]);
    peer.say(FIN | ACK, b"");
    drop(read_all(stream));
    peer.hear_fin();
    peer.say(ACK, b"");
    watch.wait_for_closes(1);
    let close = watch.stop().closes.remove(0);
    assert_eq!(close["orig_bytes"], Value::Null, "{close}");
    assert_eq!(close["resp_bytes"], Value::Null, "{close}");
}

#[test]
fn bytes_that_a_reset_met_on_their_way_were_sent() {
    let host = Host::new(Family::V4);
    let watch = Watch::start(&host.topology, &[]);
    let (mut peer, mut stream) = host.establish(4031);
    peer.say(FIN | ACK, b"");
    stream.write_all(&[7; 3_000]).expect("sent");
    peer.hear();
    peer.say(RST, b"");
    watch.wait_for_closes(1);
    let close = watch.stop().closes.remove(0);
    assert_eq!((&close["resp_bytes"], &close["unacked_bytes"]), (&3_000.into(), &3_000.into()));
}

#[test]
fn a_bridge_gives_one_close_for_each_connection() {
    let (client, proxy, backend) = (Netns::new(), Netns::new(), Netns::new());
    proxy.ip("link add br0 type bridge\naddr add 10.79.0.1/24 dev br0\nlink set br0 up\n");
    for (host, port, addr) in [(&client, "p1", "10.79.0.2"), (&backend, "p2", "10.79.0.3")] {
        host.ip(&format!(
            "link add eth0 type veth peer name {port} netns {}\naddr add {addr}/24 dev eth0\n\
             link set eth0 up\n",
            proxy.path()
        ));
        proxy.ip(&format!("link set {port} master br0\nlink set {port} up\n"));
    }
    let [client_addr, front_addr, backend_addr] =
        ["10.79.0.2", "10.79.0.1", "10.79.0.3"].map(|addr| addr.parse().expect("an address"));
    let topology = Topology {
        client,
        proxy,
        backend,
        client_addr,
        front_addr,
        back_addr: front_addr,
        backend_addr,
        peer_interface: "eth0",
        back_interface: "br0",
        proxy_interfaces: &["br0", "p1", "p2"],
        has_real_vlans: false,
    };
    topology.wait_until_up();
    one_close_each(&topology, backend_addr);
}

#[test]
fn a_router_gives_one_close_for_each_connection() {
    for family in [Family::V4, Family::V6] {
        let topology = Topology::veth(family);
        for name in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            topology.proxy.set(name, "1");
        }
        topology.client.ip(&format!("route add default via {}", topology.front_addr));
        topology.backend.ip(&format!("route add default via {}", topology.back_addr));
        one_close_each(&topology, topology.backend_addr);
    }
}

/// Connections to the proxy's own sockets, and from the client to `beyond` past it.
fn one_close_each(topology: &Topology, beyond: IpAddr) {
    let watch = Watch::start(topology, &[]);
    let at_client = Tcpdump::start(&topology.client, "eth0", topology.front_addr);
    let at_backend = Tcpdump::start(&topology.backend, "eth0", topology.back_addr);
    let servers = Servers::start(topology);
    let proxy = haproxy(topology, false);
    for manner in [Manner::FinWithData, Manner::FinAfter, Manner::Resetting, Manner::NoLength] {
        for way in [Way::Http10, Way::HalfClosing, Way::Resetting] {
            ask(topology, SocketAddr::new(topology.front_addr, Mode::Tcp.port(manner)), way);
            ask(topology, SocketAddr::new(beyond, manner.port()), way);
        }
    }
    drop(proxy);
    servers.stop();
    let mut known = connections(&at_client.stop());
    // What passes through is in both captures: the client's counts.
    let behind = connections(&at_backend.stop());
    known.extend(behind.into_iter().filter(|other| other.orig.ip() != topology.client_addr));
    assert_eq!(known.len(), 36);
    wait_until_told(&watch, &known);
    let stopped = watch.stop();
    assert_eq!(differences(&known, &stopped.closes, History::Sparse), Vec::<String>::new());
}
