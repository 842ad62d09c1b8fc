//! What the kernel's own measuring of a run takes: an empty program's time.

use super::bpf_stats::{Runs, Snapshot};
use crate::support::foreign::{Attached, Hook};
use crate::support::topology::{Family, Topology};
use aya::programs::TcAttachType;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Messages there and back on one connection: nothing but data packets and their ACKs.
pub(crate) const ROUND_TRIPS: u32 = 100_000;

/// The runs of an empty program at each tc hook, one for each data packet.
pub(crate) fn empty() -> BTreeMap<String, Runs> {
    let topology = Topology::veth(Family::V4);
    let attached = [TcAttachType::Ingress, TcAttachType::Egress]
        .map(|way| Attached::empty(&topology.proxy, topology.proxy_interfaces[0], way, Hook::Tcx));
    let programs = attached.iter().map(Attached::id).collect();
    let addr = SocketAddr::new(topology.front_addr, 7000);
    let listener = topology.proxy.run(|| TcpListener::bind(addr)).expect("a port");
    let ours = topology.client.run(|| TcpStream::connect(addr)).expect("a connection");
    let theirs = listener.accept().expect("its other end").0;
    let start = Snapshot::of(&programs);
    ping_pong(ours, theirs);
    Snapshot::of(&programs).since(&start)
}

/// [`ROUND_TRIPS`] messages of 64 bytes.
pub(crate) fn ping_pong(mut ours: TcpStream, mut theirs: TcpStream) {
    for end in [&ours, &theirs] {
        end.set_nodelay(true).expect("an option");
    }
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut message = [0; 64];
            while theirs.read_exact(&mut message).is_ok() {
                theirs.write_all(&message).expect("the other end reads");
            }
        });
        let mut message = [0; 64];
        for _ in 0..ROUND_TRIPS {
            ours.write_all(&message).expect("the other end reads");
            ours.read_exact(&mut message).expect("the answer");
        }
        drop(ours);
    });
}
