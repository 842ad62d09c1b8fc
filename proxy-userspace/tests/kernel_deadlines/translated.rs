//! A socket that knows its peer by another address than the wire: translated on this very host, as for
//! a service of Kubernetes. None is found for a deadline that the wire began, and that is counted.

use crate::scene::{HALF_CLOSE, SLACK, Scene, WAIT, counters};
use crate::support::sockets::plain;
use crate::support::topology::Family;
use crate::support::weather::known_as;
use crate::support::wires::{Laid, Wire};

#[test]
fn a_deadline_whose_socket_has_other_addresses_is_counted_as_refused() {
    let laid = Laid::new(Wire::Veth, Family::V4);
    let service = known_as(&laid.topology.proxy, laid.topology.backend_addr);
    let mut scene = Scene::towards(laid, service, HALF_CLOSE, &[], (&plain, &plain));
    scene.half_close(false);
    std::thread::sleep(WAIT + SLACK * 5);
    assert_eq!(scene.state(false).as_deref(), Some("FIN-WAIT-2"));
    assert_eq!(scene.state(true).as_deref(), Some("CLOSE-WAIT"));
    let stopped = scene.watch.stop();
    let counters = counters(&stopped);
    assert!(counters.contains("matched 1,"), "{counters}");
    assert!(counters.ends_with("refused (no socket) 1"), "{counters}");
}
