//! The same on wires that not every host has, and where packets come in by another hook.

use crate::scene::{CLOSE_WAIT, HALF_CLOSE, Scene, cuts_off, ends_half_closed};
use crate::support::sockets::plain;
use crate::support::topology::Family;
use crate::support::wires::{Laid, Wire};

fn over(wire: Wire) {
    for family in [Family::V4, Family::V6] {
        ends_half_closed(Scene::open(Laid::new(wire, family), HALF_CLOSE), false);
        ends_half_closed(Scene::open(Laid::new(wire, family), HALF_CLOSE), true);
        cuts_off(Scene::open(Laid::new(wire, family), CLOSE_WAIT));
    }
}

#[test]
fn over_a_tagged_network() {
    over(Wire::Tagged);
}

#[test]
fn over_a_vlan() {
    over(Wire::Vlan);
}

/// Only the device below is watched, where each frame has its tag: what ends it must get one too.
#[test]
fn over_a_vlan_seen_from_below() {
    for family in [Family::V4, Family::V6] {
        hung(Wire::Vlan, family, &["--interface", "back"]);
    }
}

#[test]
fn over_tun() {
    over(Wire::Tun);
}

fn hung(wire: Wire, family: Family, arguments: &[&str]) {
    let open = |rule| Scene::with(Laid::new(wire, family), rule, arguments, &plain, &plain);
    ends_half_closed(open(HALF_CLOSE), false);
    ends_half_closed(open(HALF_CLOSE), true);
    cuts_off(open(CLOSE_WAIT));
}

#[test]
fn where_packets_come_by_xdp() {
    hung(Wire::Veth, Family::V4, &["--ingress", "xdp"]);
    hung(Wire::Veth, Family::V6, &["--ingress", "xdp"]);
    hung(Wire::Loopback, Family::V4, &["--ingress", "xdp"]);
}

/// As before Linux 6.6.
#[test]
fn hung_on_clsact() {
    hung(Wire::Veth, Family::V6, &["--hook", "clsact"]);
    hung(Wire::Loopback, Family::V4, &["--hook", "clsact"]);
}
