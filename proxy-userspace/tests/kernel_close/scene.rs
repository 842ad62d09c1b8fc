//! A daemon that is asked to close, connections, and their witnesses.

use crate::support::process::Process;
use crate::support::reading::{Connection, connections};
use crate::support::runtime::ask;
use crate::support::sockets::{Prepare, connect, plain};
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::Topology;
use crate::support::until::{until, until_empty};
use crate::support::watch::teardown;
use crate::support::wires::{Laid, Tags};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

/// A running daemon and its socket.
pub(crate) struct Daemon {
    _process: Process,
    socket: String,
    _tags: Option<Tags>,
}

impl Daemon {
    /// Beside the connection's local end.
    pub(crate) fn start(laid: &Laid) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("/tmp/td-close-{}-{number}.sock", std::process::id());
        let mut command = teardown();
        command.args(["run", "--socket", &socket]);
        let mut process = Process::start(&laid.topology.proxy, &mut command);
        process.wait_for_words("watching");
        Self { _process: process, socket, _tags: laid.tags() }
    }

    /// `teardown close` with these words: what it said, and its exit code.
    pub(crate) fn close(&self, words: &[&str]) -> (String, i32) {
        let mut command = teardown();
        command.args(["close", "--socket", &self.socket]).args(words);
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        let said = [stdout, stderr].concat();
        (String::from_utf8_lossy(&said).into_owned(), status.code().expect("an exit code"))
    }

    /// A line on the runtime socket, and its answer.
    pub(crate) fn ask(&self, line: &str) -> String {
        ask(Path::new(&self.socket), line)
    }

    /// The one close that was told of a connection with `port`.
    pub(crate) fn told(&self, port: u16) -> Value {
        let told = || -> Vec<Value> {
            let text = self.ask("show closes --last 10000 --json");
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let end = format!(":{port}");
            lines
                .filter(|close| close["orig"].as_str().is_some_and(|o| o.ends_with(&end)))
                .collect()
        };
        until("the close", || (!told().is_empty()).then_some(()));
        let told = told();
        assert_eq!(told.len(), 1, "{told:#?}");
        told[0].clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.socket);
    }
}

/// Connections from the proxy's namespace to the backend's.
pub(crate) struct Pair {
    pub(crate) ours: TcpStream,
    pub(crate) theirs: TcpStream,
}

impl Pair {
    pub(crate) fn open(topology: &Topology, listener: &TcpListener) -> Self {
        Self::with(topology, listener, &plain)
    }

    /// From a socket that is prepared.
    pub(crate) fn with(topology: &Topology, listener: &TcpListener, ours: Prepare<'_>) -> Self {
        let remote = listener.local_addr().expect("its address");
        let mut ours = topology.proxy.run(|| connect(remote, ours)).expect("a connection");
        let (mut theirs, _) = listener.accept().expect("its other end");
        ours.write_all(b"a question").expect("sent");
        theirs.read_exact(&mut [0; 10]).expect("the question");
        theirs.write_all(b"an answer").expect("sent");
        ours.read_exact(&mut [0; 9]).expect("the answer");
        Self { ours, theirs }
    }

    pub(crate) fn port(&self) -> u16 {
        self.ours.local_addr().expect("its address").port()
    }

    /// Both ends, as `close` wants them.
    pub(crate) fn ends(&self) -> [String; 2] {
        let address = |address: std::io::Result<SocketAddr>| address.expect("it").to_string();
        [address(self.ours.local_addr()), address(self.ours.peer_addr())]
    }
}

pub(crate) fn listen(topology: &Topology) -> TcpListener {
    let address = SocketAddr::new(topology.backend_addr, 0);
    topology.backend.run(|| TcpListener::bind(address)).expect("a port")
}

pub(crate) fn capture(topology: &Topology) -> Tcpdump {
    Tcpdump::start(&topology.backend, topology.peer_interface, topology.back_addr)
}

/// The sockets with `port` at either end, in both namespaces.
pub(crate) fn left(topology: &Topology, port: u16) -> Vec<ss::Socket> {
    let end = format!(":{port}");
    let mut all = ss::sockets(&topology.proxy);
    all.extend(ss::sockets(&topology.backend));
    all.retain(|one| one.local.ends_with(&end) || one.peer.ends_with(&end));
    all
}

pub(crate) fn wait_until_freed(topology: &Topology, port: u16) {
    until_empty("sockets", || {
        left(topology, port).into_iter().map(|socket| format!("{socket:?}")).collect()
    });
}

pub(crate) fn captured(capture: Tcpdump, port: u16) -> Connection {
    let all = connections(&capture.stop());
    all.into_iter().find(|one| one.orig.port() == port).expect("the connection in the capture")
}
