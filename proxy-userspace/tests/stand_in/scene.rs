//! A local application that aborts, its peer, and a `teardown watch` with a rule for the peer.

use crate::support::packets::{FIN, Packet, RST};
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::Topology;
use crate::support::until::until_empty;
use crate::support::watch::{Stopped, Watch};
use crate::support::wires::{Laid, Tags};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The peer's port.
pub(crate) const PORT: u16 = 9100;

/// A network, a peer that listens, and the daemon beside the local application.
pub(crate) struct Scene {
    pub(crate) topology: Topology,
    pub(crate) listener: TcpListener,
    pub(crate) watch: Watch,
    pub(crate) capture: Tcpdump,
    _tags: Option<Tags>,
    // Last, as what was attached to its devices goes first.
    _laid: Laid,
}

/// Both ends of a connection.
pub(crate) struct Pair {
    /// The application's, on teardown's host.
    pub(crate) local: TcpStream,
    /// The far one.
    pub(crate) peer: TcpStream,
}

/// What a scene left behind.
pub(crate) struct Left {
    pub(crate) packets: Vec<Packet>,
    pub(crate) stopped: Stopped,
    /// The peer's address and port, that of the rule.
    pub(crate) remote: SocketAddr,
}

impl Scene {
    /// Starts everything; the rule for the peer says `words`.
    pub(crate) fn new(laid: impl Into<Laid>, words: &str) -> Self {
        Self::with(laid, words, &[])
    }

    /// The same with more arguments for `watch`.
    pub(crate) fn with(laid: impl Into<Laid>, words: &str, arguments: &[&str]) -> Self {
        let laid = laid.into();
        let topology = laid.topology.clone();
        let listener = topology
            .backend
            .run(|| TcpListener::bind((topology.backend_addr, PORT)))
            .expect("a port of our own namespace");
        let rule = format!("{} {words}", listener.local_addr().expect("its address"));
        let mut all = vec!["--policy", &rule];
        all.extend(arguments);
        let watch = Watch::start(&topology, &all);
        let tags = laid.tags();
        let toward =
            if topology.is_loopback() { topology.backend_addr } else { topology.back_addr };
        let capture = Tcpdump::start(&topology.backend, topology.peer_interface, toward);
        Self { topology, listener, watch, capture, _tags: tags, _laid: laid }
    }

    /// A connection that the local application opened, after some bytes each way.
    pub(crate) fn connect(&self) -> Pair {
        let remote = self.listener.local_addr().expect("its address");
        self.greet(self.topology.proxy.run(|| TcpStream::connect(remote)).expect("a connection"))
    }

    /// The same from a socket of the caller's making.
    pub(crate) fn greet(&self, mut local: TcpStream) -> Pair {
        let (mut peer, _) = self.listener.accept().expect("its other end");
        for stream in [&local, &peer] {
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
            stream.set_write_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        }
        local.write_all(b"a question").expect("sent");
        peer.read_exact(&mut [0; 10]).expect("the question");
        peer.write_all(b"an answer").expect("sent");
        local.read_exact(&mut [0; 9]).expect("the answer");
        // The acknowledgment of the answer is on its way by itself.
        Pair { local, peer }
    }

    /// Waits until no socket is left on either side, then ends the capture and the daemon.
    pub(crate) fn end(self, closes: usize) -> Left {
        let remote = self.listener.local_addr().expect("its address");
        drop(self.listener);
        for host in [&self.topology.proxy, &self.topology.backend] {
            until_empty("sockets", || {
                ss::sockets(host)
                    .into_iter()
                    .filter(|socket| socket.state != "LISTEN")
                    .map(|socket| format!("{socket:?}"))
                    .collect()
            });
        }
        self.watch.wait_for_closes(closes);
        Left { packets: self.capture.stop(), stopped: self.watch.stop(), remote }
    }
}

impl Left {
    /// The control segments that teardown's host sent, by their flags, in order.
    pub(crate) fn sent(&self) -> Vec<u8> {
        self.control(|packet| packet.target == self.remote)
    }

    /// Those that the peer sent.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.control(|packet| packet.source == self.remote)
    }

    fn control(&self, wanted: impl Fn(&Packet) -> bool) -> Vec<u8> {
        let ends = |packet: &&Packet| wanted(packet) && packet.has(FIN | RST);
        self.packets.iter().filter(ends).map(|packet| packet.flags).collect()
    }

    /// The only close that was reported.
    pub(crate) fn close(&self) -> &Value {
        assert_eq!(self.stopped.closes.len(), 1, "{:#?}", self.stopped.closes);
        &self.stopped.closes[0]
    }

    /// What the summary says of the rule, without its words.
    pub(crate) fn counts(&self) -> &str {
        let line = self.stopped.words.iter().find(|line| line.trim().starts_with("matched"));
        line.unwrap_or_else(|| panic!("no counts in {:#?}", self.stopped.words)).trim()
    }

    /// How many of the rule's closes are counted under `what`.
    pub(crate) fn count(&self, what: &str) -> u64 {
        let counts = self.counts();
        let after = counts.split(", ").find_map(|part| part.strip_prefix(what));
        after.map_or(0, |number| number.trim().parse().unwrap_or_else(|_| panic!("{counts}")))
    }
}

/// Reads to the end; whether it was a clean one, and how many bytes came before it.
pub(crate) fn end_of(stream: &mut TcpStream) -> (usize, Result<(), ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).map(|_| ()).map_err(|error| error.kind());
    (bytes.len(), end)
}

/// Bytes not acknowledged yet (SIOCOUTQ).
pub(crate) fn unacknowledged(stream: &TcpStream) -> i32 {
    let mut bytes = 0;
    // SAFETY: the call writes one int.
    let failed = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(failed, 0);
    bytes
}
