//! Signed segments (RFC 2385): the kernel can reset such a connection, and nobody else.

use crate::scene::{Daemon, Pair, left, wait_until_freed};
use crate::support::sockets::{listen, sign};
use crate::support::topology::Family;
use crate::support::until::until;
use crate::support::wires::{Laid, Wire};
use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;

const REFUSED: &str = "not closed: its segments are signed, and ours would not be";

#[test]
fn a_signed_connection_is_reset_by_the_kernel_alone() {
    for family in [Family::V4, Family::V6] {
        let laid = Laid::new(Wire::Veth, family);
        let topology = &laid.topology;
        let at = SocketAddr::new(topology.backend_addr, 0);
        let listener = topology.backend.run(|| listen(at, topology.back_addr, &sign));
        let listener = listener.expect("a port");
        let daemon = Daemon::start(&laid);
        let mut pair = Pair::with(topology, &listener, &sign);
        let [ours, theirs] = pair.ends();
        let (said, code) = daemon.close(&[&ours, &theirs, "--how", "fin"]);
        assert_eq!((code, said.contains(REFUSED)), (1, true), "{said}");
        let (said, code) = daemon.close(&[&ours, &theirs]);
        assert_eq!(code, 0, "{said}");
        let error = pair.theirs.read(&mut [0; 1]).expect_err("the RST came");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        wait_until_freed(topology, pair.port());

        let pair = Pair::with(topology, &listener, &sign);
        let ([ours, theirs], port) = (pair.ends(), pair.port());
        let Pair { ours: closed, theirs: _peer } = pair;
        drop(closed);
        let states = || left(topology, port).into_iter().map(|socket| socket.state);
        until("the orphan", || states().any(|state| state == "FIN-WAIT-2").then_some(()));
        let (said, code) = daemon.close(&[&ours, &theirs]);
        assert_eq!((code, said.contains(REFUSED)), (1, true), "{said}");
        assert!(states().any(|state| state == "FIN-WAIT-2"));
    }
}
