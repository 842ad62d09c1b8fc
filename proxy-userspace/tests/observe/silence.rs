//! Ends that no segment makes: a peer that does not answer, one that falls silent, and one that
//! never closes.

use crate::support::netns::Netns;
use crate::support::servers::{Manner, Servers};
use crate::support::ss;
use crate::support::topology::{Family, Topology};
use crate::support::watch::{Watch, teardown};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

/// Lets nothing of TCP into a host.
fn deafen(netns: &Netns) {
    let table = "table inet deaf {\nchain in {\ntype filter hook prerouting priority raw\n\
                 meta l4proto tcp drop\n}\n}\n";
    netns.feed(Command::new("nft").args(["-f", "-"]), table);
}

fn only(closes: &[Value]) -> &Value {
    assert_eq!(closes.len(), 1, "{closes:#?}");
    &closes[0]
}

#[test]
fn a_syn_that_nobody_answers_times_out() {
    for family in [Family::V4, Family::V6] {
        let topology = Topology::veth(family);
        deafen(&topology.backend);
        topology.proxy.set("ipv4/tcp_syn_retries", "1");
        let watch = Watch::start(&topology, &[]);
        let to = SocketAddr::new(topology.backend_addr, 9001);
        let error = topology.proxy.run(|| TcpStream::connect(to)).expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        watch.wait_for_closes(1);
        let closes = watch.stop().closes;
        let close = only(&closes);
        assert_eq!(close["first_signal"], "timeout", "{close}");
        assert_eq!(close["first_closer"], "orig", "{close}");
        assert_eq!((&close["conn_state"], &close["history"]), (&"S0".into(), &"S".into()));
        assert_eq!(close["answer"], Value::Null);
    }
}

#[test]
fn a_peer_that_falls_silent_times_out_and_what_it_never_took_is_said() {
    for family in [Family::V4, Family::V6] {
        let topology = Topology::veth(family);
        let _servers = Servers::start(&topology);
        let watch = Watch::start(&topology, &[]);
        let to = SocketAddr::new(topology.backend_addr, Manner::KeepAlive.port());
        let mut stream = topology.proxy.run(|| TcpStream::connect(to)).expect("a connection");
        deafen(&topology.backend);
        socket2::SockRef::from(&stream)
            .set_tcp_user_timeout(Some(Duration::from_millis(700)))
            .expect("an option");
        stream.write_all(&[b'x'; 300]).expect("room");
        let error = stream.read(&mut [0]).expect_err("nobody acknowledges");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        watch.wait_for_closes(1);
        let closes = watch.stop().closes;
        let close = only(&closes);
        assert_eq!(close["first_signal"], "timeout", "{close}");
        assert_eq!(close["first_closer"], "orig", "{close}");
        assert_eq!(close["unacked_bytes"], 300, "{close}");
    }
}

#[test]
fn half_open_connections_get_a_line_once_they_are_so_for_long() {
    let topology = Topology::veth(Family::V4);
    let _servers = Servers::start(&topology);
    let watch = Watch::start(&topology, &["--half-open-after", "300ms"]);
    let to = SocketAddr::new(topology.backend_addr, Manner::Dodgy.port());
    let mut stream = topology.proxy.run(|| TcpStream::connect(to)).expect("a connection");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("room");
    assert!(stream.read(&mut [0; 100]).expect("an answer") > 0);
    stream.shutdown(std::net::Shutdown::Write).expect("a FIN");
    watch.wait_for_closes(1);
    let said = watch.closes();
    let half_open = only(&said);
    assert_eq!(half_open["half_open"], true, "{half_open}");
    assert_eq!(
        (&half_open["first_closer"], &half_open["first_signal"]),
        (&"orig".into(), &"fin".into())
    );
    assert_eq!(half_open["answer"], Value::Null);
    assert!(half_open["half_closed_us"].as_u64() >= Some(300_000), "{half_open}");
    // The witness: the server is the one that has not closed.
    let waits = |socket: &ss::Socket| socket.state == "CLOSE-WAIT";
    assert!(ss::sockets(&topology.backend).iter().any(waits));
    drop(stream);
}

#[test]
fn the_built_in_traffic_says_why_it_cannot_be_seen() {
    let netns = Netns::new();
    netns.ip("link set lo down\n");
    let mut command = teardown();
    let output = netns.run(|| command.output()).expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ip link set lo up"), "{said}");
}
