//! Connections whose segments are signed (RFC 2385): a RST of ours would not be, and the peer would
//! not believe it.

use crate::scene::{CLOSE_WAIT, HALF_CLOSE, SLACK, Scene, WAIT, counters, cuts_off};
use crate::support::packets::RST;
use crate::support::sockets::sign;
use crate::support::topology::Family;
use crate::support::wires::{Laid, Wire};
use std::net::Shutdown;

fn signed(family: Family, rule: &str) -> Scene {
    Scene::with(Laid::new(Wire::Veth, family), rule, &[], &sign, &sign)
}

#[test]
fn what_the_peer_leaves_half_closed_is_refused() {
    for (family, holds_on) in [(Family::V4, false), (Family::V6, false), (Family::V4, true)] {
        let mut scene = signed(family, HALF_CLOSE);
        scene.half_close(holds_on);
        scene.wait_for_state(false, "FIN-WAIT-2");
        std::thread::sleep(WAIT + SLACK * 5);
        assert_eq!(scene.state(false).as_deref(), Some("FIN-WAIT-2"));
        assert_eq!(scene.state(true).as_deref(), Some("CLOSE-WAIT"));
        scene.theirs.shutdown(Shutdown::Both).expect("it is open");
        scene.watch.wait_for_closes(1);
        let (connection, stopped) = scene.end();
        assert!(!connection.packets.iter().any(|(_, packet)| packet.has(RST)), "{connection}");
        let close = &stopped.closes[0];
        assert_eq!((&close["conn_state"], close.get("actor")), (&"SF".into(), None), "{close}");
        let counters = counters(&stopped);
        assert!(counters.contains("refused (unknown header) 1"), "{counters}");
        assert!(!counters.contains("over"), "{counters}");
    }
}

/// That the kernel ends itself, which has the key.
#[test]
fn what_our_application_leaves_half_closed_is_cut_off() {
    cuts_off(signed(Family::V4, CLOSE_WAIT));
    cuts_off(signed(Family::V6, CLOSE_WAIT));
}
