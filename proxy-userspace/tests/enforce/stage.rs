//! One connection under a rule: ours in the proxy's namespace, theirs in the backend's.

use crate::support::enforcer::{Counts, Enforcer};
use crate::support::netns::Netns;
use crate::support::packets::Packet;
use crate::support::servers::{Ended, is_timeout};
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::Topology;
use crate::support::until::until;
use crate::support::weather::Hole;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// How long a peer listens before it says that nothing came.
const LISTENS: Duration = Duration::from_secs(20);

/// Where a case is played: the hosts, the rule for its port, and the witness.
pub(crate) struct Stage<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) enforcer: &'a Enforcer,
    pub(crate) capture: &'a Tcpdump,
    /// The peer's port, which is this case's alone.
    pub(crate) port: u16,
}

/// What the applications did and saw.
#[derive(Debug)]
pub(crate) struct Story {
    /// What ours wrote.
    pub(crate) told: Vec<u8>,
    /// What theirs read.
    pub(crate) heard: Vec<u8>,
    /// How the connection ended for theirs.
    pub(crate) ended: Ended,
    /// How many connections there were.
    pub(crate) connections: usize,
    /// When ours had closed, in nanoseconds since 1970; 0 where the peer's last word came later.
    pub(crate) closed: u64,
}

impl Story {
    /// Of one connection.
    pub(crate) fn of(told: impl Into<Vec<u8>>, (heard, ended): (Vec<u8>, Ended)) -> Self {
        Self { told: told.into(), heard, ended, connections: 1, closed: 0 }
    }
}

impl Stage<'_> {
    /// The peer: whom the rule is for.
    pub(crate) fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.topology.backend_addr, self.port)
    }

    /// What the rule counted.
    pub(crate) fn counts(&self) -> Counts {
        self.enforcer.counts(self.peer())
    }

    /// A connection from ours to theirs; theirs reads and writes at once.
    pub(crate) fn connected(&self) -> (TcpStream, TcpStream) {
        let (ours, theirs, _) = self.connected_from(0);
        (ours, theirs)
    }

    /// The same from a port of ours, and the listener, for further ones.
    pub(crate) fn connected_from(&self, port: u16) -> (TcpStream, TcpStream, TcpListener) {
        let listener = listen(&self.topology.backend, self.peer());
        let ours = self.connect_from(port);
        (ours, accept(&listener), listener)
    }

    /// A connection from this port of ours to theirs.
    pub(crate) fn connect_from(&self, port: u16) -> TcpStream {
        let local = SocketAddr::new(self.topology.back_addr, port);
        connect(&self.topology.proxy, local, self.peer())
    }

    /// The first packets to the peer that match are lost there, behind the witness.
    pub(crate) fn lose_to_peer(&self, count: u32, matching: &str) -> Hole {
        let words = format!("tcp dport {} {matching}", self.port);
        Hole::for_the_first(count, &self.topology.backend, &words)
    }

    /// The first packets from the peer that match are lost, once they have reached our host.
    pub(crate) fn lose_from_peer(&self, count: u32, matching: &str) -> Hole {
        let words = format!("tcp sport {} {matching}", self.port);
        Hole::for_the_first(count, &self.topology.proxy, &words)
    }

    /// Waits for a packet of this case's that the witness sees.
    pub(crate) fn wait_for_packet(&self, what: &str, is_it: impl Fn(&Packet) -> bool) {
        let ours = |packet: &&Packet| [packet.source, packet.target].contains(&self.peer());
        until(what, || self.capture.packets().iter().filter(ours).any(&is_it).then_some(()));
    }
}

/// nftables' words for segments with more data than SACK blocks are long.
pub(crate) const DATA: &str = "meta length > 112";
pub(crate) const FIN: &str = "tcp flags & fin == fin";

pub(crate) fn listen(netns: &Netns, addr: SocketAddr) -> TcpListener {
    let listener = netns.run(|| TcpListener::bind(addr));
    listener.unwrap_or_else(|error| panic!("listening at {addr}: {error}"))
}

pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("a connection");
    set_up(&stream);
    stream
}

/// A connection between these very ends; port 0 is any.
pub(crate) fn connect(netns: &Netns, local: SocketAddr, peer: SocketAddr) -> TcpStream {
    let stream = netns.run(|| {
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
        socket.connect(&peer.into())?;
        std::io::Result::Ok(TcpStream::from(socket))
    });
    let stream = stream.unwrap_or_else(|error| panic!("{local} to {peer}: {error}"));
    set_up(&stream);
    stream
}

fn set_up(stream: &TcpStream) {
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(LISTENS)).expect("a timeout");
}

/// Bytes in which every loss, repetition and exchange shows.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

/// Writes, and waits until the peer has acknowledged it all.
pub(crate) fn say_and_wait(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the peer takes it");
    until("the acknowledgment", || (unacknowledged(stream) == 0).then_some(()));
}

/// Bytes written that the peer has not acknowledged.
pub(crate) fn unacknowledged(stream: &TcpStream) -> libc::c_int {
    let mut count: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (TIOCOUTQ) writes an int.
    let failed = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    assert_eq!(failed, 0, "SIOCOUTQ: {}", std::io::Error::last_os_error());
    count
}

/// Reads to the end of the connection.
pub(crate) fn hear(mut stream: &TcpStream) -> (Vec<u8>, Ended) {
    let (mut heard, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return (heard, Ended::Eof),
            Ok(length) => heard.extend_from_slice(&chunk[..length]),
            Err(error) if is_timeout(&error) => return (heard, Ended::Silence),
            Err(_) => return (heard, Ended::Reset),
        }
    }
}
