//! Who is ended, and who is left alone.

use crate::scene::{CLOSE_WAIT, HALF_CLOSE, SLACK, Scene, counters, cuts_off, ends_half_closed};
use crate::support::packets::RST;
use crate::support::reading::Sign;
use crate::support::topology::Family;
use crate::support::weather::timestamps;
use crate::support::wires::{Laid, Wire};
use std::net::Shutdown;
use std::time::{Duration, Instant};

fn half_closed(wire: Wire, family: Family, holds_on: bool) {
    ends_half_closed(Scene::open(Laid::new(wire, family), HALF_CLOSE), holds_on);
}

#[test]
fn an_orphan_is_ended_over_veth() {
    half_closed(Wire::Veth, Family::V4, false);
    half_closed(Wire::Veth, Family::V6, false);
}

#[test]
fn an_orphan_is_ended_on_loopback() {
    half_closed(Wire::Loopback, Family::V4, false);
    half_closed(Wire::Loopback, Family::V6, false);
}

#[test]
fn a_socket_that_its_application_holds_on_to_is_ended() {
    half_closed(Wire::Veth, Family::V4, true);
    half_closed(Wire::Loopback, Family::V6, true);
}

#[test]
fn a_connection_without_timestamps_is_ended_too() {
    for holds_on in [false, true] {
        let laid = Laid::new(Wire::Veth, Family::V4);
        timestamps(&laid.topology.proxy, false);
        ends_half_closed(Scene::open(laid, HALF_CLOSE), holds_on);
    }
}

#[test]
fn an_application_that_never_closes_is_cut_off() {
    for (wire, family) in
        [(Wire::Veth, Family::V4), (Wire::Veth, Family::V6), (Wire::Loopback, Family::V4)]
    {
        cuts_off(Scene::open(Laid::new(wire, family), CLOSE_WAIT));
    }
}

#[test]
fn a_peer_that_closes_just_in_time_is_left_alone() {
    for (wire, family) in [(Wire::Veth, Family::V4), (Wire::Loopback, Family::V6)] {
        // A second before it, on a busy machine too.
        let wait = Duration::from_secs(2);
        let mut scene = Scene::open(Laid::new(wire, family), "half-close 2s");
        let began = Instant::now();
        scene.half_close(false);
        std::thread::sleep((wait / 2).saturating_sub(began.elapsed()));
        scene.theirs.shutdown(Shutdown::Both).expect("it is open");
        scene.wait_for_state(false, "TIME-WAIT");
        // Well behind the deadline.
        std::thread::sleep((wait + SLACK * 2).saturating_sub(began.elapsed()));
        assert_eq!(scene.state(false).as_deref(), Some("TIME-WAIT"));
        let (connection, stopped) = scene.end();
        assert!(!connection.packets.iter().any(|(_, packet)| packet.has(RST)), "{connection}");
        assert_eq!(connection.answer(), Some(Sign::Fin));
        assert_eq!(stopped.closes.len(), 1);
        assert_eq!(stopped.closes[0]["conn_state"], "SF", "{}", stopped.closes[0]);
        assert!(stopped.closes[0].get("actor").is_none(), "{}", stopped.closes[0]);
        assert!(!counters(&stopped).contains("over"), "{}", counters(&stopped));
    }
}

#[test]
fn a_dry_run_counts_and_leaves_them_half_closed() {
    let mut scene = Scene::open(Laid::new(Wire::Veth, Family::V4), "half-close 100ms dry-run");
    let began = Instant::now();
    scene.half_close(false);
    std::thread::sleep(Duration::from_millis(1_500).saturating_sub(began.elapsed()));
    assert_eq!(scene.state(false).as_deref(), Some("FIN-WAIT-2"));
    scene.theirs.shutdown(Shutdown::Both).expect("it is open");
    scene.watch.wait_for_closes(1);
    let (_, stopped) = scene.end();
    assert!(stopped.closes[0].get("actor").is_none(), "{}", stopped.closes[0]);
    assert!(counters(&stopped).contains("dry run 1"), "{}", counters(&stopped));
}
