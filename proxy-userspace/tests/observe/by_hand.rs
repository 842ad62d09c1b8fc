//! A host behind a tun device, and a peer made by hand that does to it everything that a peer
//! may do and a real stack seldom does.

use crate::support::frames::{Tags, Wire};
use crate::support::handmade::{Peer, Tun, Words};
use crate::support::packets::{ACK, FIN, RST, SYN};
use crate::support::reading::{Connection, connections};
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

/// A host whose only other wire is a tun device, with a listening socket and a capture.
pub(crate) struct Host {
    pub(crate) topology: Topology,
    pub(crate) tun: Tun,
    pub(crate) listener: TcpListener,
    pub(crate) far: IpAddr,
    extensions: bool,
}

impl Host {
    pub(crate) fn new(family: Family) -> Self {
        let (near, far) = match family {
            Family::V4 => ("10.78.0.1/24", "10.78.0.2"),
            Family::V6 => ("fd78::1/64", "fd78::2"),
        };
        let topology = Topology::loopback(family);
        let tun = Tun::new(&topology.proxy, near);
        let near: IpAddr = near.split('/').next().expect("one").parse().expect("an address");
        let listener = topology.proxy.run(|| TcpListener::bind((near, 0))).expect("a listener");
        let far = far.parse().expect("an address");
        Self { topology, tun, listener, far, extensions: family == Family::V6 }
    }

    pub(crate) fn capture(&self) -> Tcpdump {
        Tcpdump::start(&self.topology.proxy, "tun0", self.far)
    }

    pub(crate) fn peer(&self, port: u16) -> Peer<'_> {
        let near = self.listener.local_addr().expect("its address");
        let mut peer = Peer::new(&self.tun, SocketAddr::new(self.far, port), near);
        peer.extensions = self.extensions;
        peer
    }

    /// A connection from `port`, established on both sides.
    pub(crate) fn establish(&self, port: u16) -> (Peer<'_>, TcpStream) {
        let mut peer = self.peer(port);
        peer.connect();
        let (stream, _) = self.listener.accept().expect("a connection");
        (peer, stream)
    }

    pub(crate) fn wait_until_closed(&self) {
        until("every socket to be gone", || {
            ss::alive(&self.topology.proxy).is_empty().then_some(())
        });
    }
}

/// Closes a connection in every way; gives the reading of the capture. On IPv6 the peer speaks
/// behind hop-by-hop and destination options.
pub(crate) fn everything(host: &Host) -> Vec<Connection> {
    let capture = host.capture();

    // The peer closes first; its FIN comes three times.
    let (mut peer, stream) = host.establish(1001);
    peer.say(ACK, b"some words");
    let fin = peer.seq;
    peer.say(FIN | ACK, b"");
    peer.say_at(fin, FIN | ACK, b"");
    peer.say_at(fin, FIN | ACK, b"");
    drop(read_all(stream));
    peer.hear_fin();
    peer.say(ACK, b"");

    // FIN with data, answered by data and FIN.
    let (mut peer, mut stream) = host.establish(1002);
    peer.say(FIN | ACK, b"last words");
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("the words");
    assert_eq!(text, b"last words");
    stream.write_all(b"an answer").expect("sent");
    drop(stream);
    peer.hear_fin();
    peer.say(ACK, b"");

    // Both close at once: neither FIN acknowledges the other.
    let (mut peer, stream) = host.establish(1003);
    let ack = peer.ack;
    drop(stream);
    peer.hear_fin();
    let end = std::mem::replace(&mut peer.ack, ack);
    peer.say(FIN | ACK, b"");
    peer.ack = end;
    peer.say(ACK, b"");

    // A RST with ACK, and one without.
    let (mut peer, stream) = host.establish(1004);
    peer.say(RST | ACK, b"");
    drop(stream);
    let (mut peer, stream) = host.establish(1005);
    peer.say(RST, b"");
    drop(stream);

    // The FIN arrives before the data that it ends.
    let (mut peer, stream) = host.establish(1006);
    let start = peer.seq;
    peer.say_at(start.wrapping_add(5), FIN | ACK, b"");
    peer.say_at(start, ACK, b"early");
    peer.seq = start.wrapping_add(6);
    drop(read_all(stream));
    peer.hear_fin();
    peer.say(ACK, b"");

    // We close first, the peer answers with a RST.
    let (mut peer, stream) = host.establish(1007);
    drop(stream);
    peer.hear_fin();
    peer.say(RST | ACK, b"");

    // A SYN that is taken back, and one to a port where nobody listens.
    let mut peer = host.peer(1008);
    peer.say(SYN, b"");
    peer.ack = peer.hear().end();
    peer.say(RST, b"");
    let mut peer = host.peer(1009);
    peer.remote.set_port(1);
    peer.say(SYN, b"");
    assert!(peer.hear().has(RST));

    host.wait_until_closed();
    let known = connections(&capture.stop());
    assert_eq!(known.len(), 9);
    known
}

/// Reads to the end of file.
pub(crate) fn read_all(mut stream: TcpStream) -> TcpStream {
    stream.read_to_end(&mut Vec::new()).expect("the end");
    stream
}

/// A whole connection in VLAN tags that crosses `front` of a veth topology both ways; the host
/// has no such VLAN, so nobody but the observers sees it. Gives the reading of the capture.
pub(crate) fn tagged(topology: &Topology, tags: Tags<'_>, port: u16) -> Vec<Connection> {
    let capture = Tcpdump::filtered(&topology.client, "eth0", topology.front_addr, "");
    let ends = [(topology.client_addr, port), (topology.front_addr, 80)].map(SocketAddr::from);
    let wires = [Wire::open(&topology.client, "eth0"), Wire::open(&topology.proxy, "front")];
    let mut next = [5_000_u32, 9_000];
    let conversation: [(usize, u8, &[u8]); 9] = [
        (0, SYN, b""),
        (1, SYN | ACK, b""),
        (0, ACK, b""),
        (0, ACK, b"a question"),
        (1, ACK, b"an answer"),
        (1, FIN | ACK, b""),
        (0, ACK, b""),
        (0, FIN | ACK, b""),
        (1, ACK, b""),
    ];
    for (by, flags, data) in conversation {
        let words = Words {
            from: ends[by],
            to: ends[1 - by],
            seq: next[by],
            ack: next[1 - by],
            flags,
            data,
            extensions: false,
        };
        wires[by].send(tags, &words.packet());
        next[by] += data.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        // The next packet comes from the other host: not before this one has arrived.
        capture.flush();
    }
    connections(&capture.stop())
}
