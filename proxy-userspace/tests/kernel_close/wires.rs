//! The same on wires that not every host has, and with sockets that are bound to the interface, which
//! the kernel finds from there alone.

use crate::idle::{an_orphan_is_reset, is_finished, is_reset};
use crate::stand_ins::is_ended;
use crate::support::sockets::{bind_to, plain};
use crate::support::topology::Family;
use crate::support::wires::{Laid, Wire};

fn over(wire: Wire, is_bound: bool) {
    for family in [Family::V4, Family::V6] {
        let laid = || Laid::new(wire, family);
        let interface = laid().topology.back_interface;
        let prepare = |socket: &_, peer| {
            if is_bound { bind_to(socket, interface) } else { plain(socket, peer) }
        };
        is_reset(&laid(), &prepare, false);
        is_finished(&laid(), &prepare);
        an_orphan_is_reset(&laid(), &prepare);
        is_ended(&laid(), &prepare);
    }
}

#[test]
fn over_a_tagged_network() {
    over(Wire::Tagged, false);
}

#[test]
fn over_a_vlan() {
    over(Wire::Vlan, false);
}

#[test]
fn over_tun() {
    over(Wire::Tun, false);
}

#[test]
fn bound_over_veth() {
    over(Wire::Veth, true);
}

#[test]
fn bound_over_a_vlan() {
    over(Wire::Vlan, true);
}

#[test]
fn bound_over_tun() {
    over(Wire::Tun, true);
}

#[test]
fn bound_on_loopback() {
    over(Wire::Loopback, true);
}
