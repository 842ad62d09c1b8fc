//! A host of its own that daemons and tails run on.

use crate::support::netns::Netns;
use crate::support::process::{Lines, Process};
use crate::support::runtime::ask;
use crate::support::until::until;
use crate::support::watch::teardown;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;

/// A network of its own with nothing but loopback, and a folder for the socket.
pub(crate) struct Host {
    pub(crate) netns: Netns,
    pub(crate) folder: tempfile::TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let netns = Netns::new();
        netns.ip("link set lo up");
        Self { netns, folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("teardown.sock")
    }

    /// Starts the daemon and waits until it watches.
    pub(crate) fn run(&self, arguments: &[&str]) -> Process {
        let mut command = teardown();
        command.arg("run").arg("--socket").arg(self.socket()).args(arguments);
        let mut daemon = Process::start(&self.netns, &mut command);
        daemon.wait_for_words("watching");
        daemon
    }

    /// Starts a tail and waits until the daemon knows of `wanted` of them.
    pub(crate) fn tail(&self, arguments: &[&str], wanted: usize) -> (Process, Lines) {
        let mut command = teardown();
        command.arg("tail").arg("--socket").arg(self.socket()).args(arguments);
        command.stdout(Stdio::piped());
        let mut tail = Process::start(&self.netns, &mut command);
        let lines = Lines::read(tail.stdout());
        let line = format!("\nTails: {wanted}\n");
        until("the tail to be attached", || self.ask("show info").contains(&line).then_some(()));
        (tail, lines)
    }

    pub(crate) fn ask(&self, line: &str) -> String {
        ask(&self.socket(), line)
    }

    /// A listener on a free port of the host's loopback.
    pub(crate) fn listener(&self) -> TcpListener {
        self.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    /// Makes `count` connections to `listener` that the server closes first.
    pub(crate) fn connect(&self, listener: &TcpListener, count: usize) {
        let at = listener.local_addr().expect("bound");
        for _ in 0..count {
            let mut client = self.netns.run(|| TcpStream::connect(at).expect("it listens"));
            let (mut server, _) = listener.accept().expect("a client");
            server.write_all(b"hello").expect("it is open");
            drop(server);
            let mut text = String::new();
            client.read_to_string(&mut text).expect("all of it");
        }
    }
}
