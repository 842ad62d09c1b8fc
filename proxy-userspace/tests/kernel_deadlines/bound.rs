//! Sockets that are bound to an interface, which the kernel finds from there alone.

use crate::scene::{CLOSE_WAIT, HALF_CLOSE, SLACK, Scene, WAIT, cuts_off, ends_half_closed};
use crate::support::sockets::{bind_to, plain};
use crate::support::topology::Family;
use crate::support::wires::{Laid, Wire};
use socket2::Socket;
use std::net::IpAddr;

/// Our socket is bound to the interface towards the peer.
fn bound(wire: Wire, family: Family, rule: &str) -> Scene {
    let laid = Laid::new(wire, family);
    let interface = laid.topology.back_interface;
    Scene::with(laid, rule, &[], &|socket, _| bind_to(socket, interface), &plain)
}

fn over(wire: Wire) {
    for family in [Family::V4, Family::V6] {
        ends_half_closed(bound(wire, family, HALF_CLOSE), false);
        ends_half_closed(bound(wire, family, HALF_CLOSE), true);
        cuts_off(bound(wire, family, CLOSE_WAIT));
    }
}

#[test]
fn over_veth() {
    over(Wire::Veth);
}

/// To the VLAN's own device: what is below it shows segments first.
#[test]
fn over_a_vlan() {
    over(Wire::Vlan);
}

#[test]
fn over_tun() {
    over(Wire::Tun);
}

#[test]
fn on_loopback() {
    over(Wire::Loopback);
}

/// Between link-local addresses (RFC 4291, 2.5.6) all sockets are.
#[test]
fn over_link_local_addresses() {
    let open = |rule| {
        let mut laid = Laid::new(Wire::Veth, Family::V6);
        laid.topology.backend.ip("addr add fe80::77:1/64 dev eth0 nodad\n");
        laid.topology.proxy.ip("addr add fe80::77:2/64 dev back nodad\n");
        laid.topology.backend_addr = "fe80::77:1".parse().expect("an address");
        let bind =
            |interface: &'static str| move |socket: &Socket, _: IpAddr| bind_to(socket, interface);
        Scene::with(laid, rule, &[], &bind("back"), &bind("eth0"))
    };
    ends_half_closed(open(HALF_CLOSE), false);
    ends_half_closed(open(HALF_CLOSE), true);
    cuts_off(open(CLOSE_WAIT));
}

/// Its interface is gone before it is due: it is left alone, and the daemon goes on.
#[test]
fn a_socket_whose_interface_is_gone_stops_nothing() {
    let mut scene = bound(Wire::Vlan, Family::V4, HALF_CLOSE);
    scene.half_close(true);
    scene.wait_for_state(false, "FIN-WAIT-2");
    scene.topology().proxy.ip("link del back.7\n");
    std::thread::sleep(WAIT + SLACK);
    assert_eq!(scene.state(false).as_deref(), Some("FIN-WAIT-2"));
    let stopped = scene.watch.stop();
    assert!(stopped.status.success(), "{:?}: {:#?}", stopped.status, stopped.words);
}
