//! A proxy between clients and servers of every kind, and the witness beside the servers.

use crate::servers::{Kind, Servers};
use crate::support::packets::Packet;
use crate::support::process::Process;
use crate::support::reading::{Connection, End, Sign, connections};
use crate::support::ss;
use crate::support::tcpdump::Tcpdump;
use crate::support::topology::{Family, Topology};
use crate::support::until::until_empty;
use crate::support::watch::teardown;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The network, the servers and the witness.
pub(crate) struct Stage {
    pub(crate) topology: Topology,
    pub(crate) servers: Servers,
    pub(crate) capture: Tcpdump,
    folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let topology = Topology::veth(Family::V4);
        let servers = Servers::start(&topology);
        let capture =
            Tcpdump::start(&topology.backend, topology.peer_interface, topology.back_addr);
        Self { topology, servers, capture, folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `teardown run` with this configuration.
    pub(crate) fn teardown(&self, config: &str) -> Process {
        self.teardown_of(&self.write("teardown.cfg", config))
    }

    /// The same of a file.
    pub(crate) fn teardown_of(&self, path: &Path) -> Process {
        let mut command = teardown();
        command.arg("run").arg("--socket").arg(self.path("socket")).arg("-f").arg(path);
        let mut process = Process::start(&self.topology.proxy, &mut command);
        process.wait_for_words("watching");
        process
    }

    /// Starts Debian's HAProxy with this configuration.
    pub(crate) fn haproxy(&self, config: &str, port: u16) -> Process {
        let path = self.write("haproxy.cfg", config);
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f"]).arg(path);
        let process = Process::start(&self.topology.proxy, &mut command);
        crate::support::until::until("HAProxy to listen", || {
            ss::listens(&self.topology.proxy, port).then_some(())
        });
        process
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Waits until the proxy has no connection to a server any more.
    pub(crate) fn wait_for_the_end(&self) {
        let ports = Kind::ALL.map(|kind| format!(":{}", kind.port()));
        until_empty("connections to servers", || {
            let alive = ss::alive(&self.topology.proxy).into_iter();
            alive
                .filter(|socket| ports.iter().any(|port| socket.peer.ends_with(port)))
                .map(|socket| format!("{socket:?}"))
                .collect()
        });
    }

    /// How every connection to a server closed so far, by what it asked for.
    pub(crate) fn closes(&self) -> BTreeMap<String, Vec<String>> {
        self.capture.flush();
        let mut closes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for connection in self.connections() {
            let path = self.servers.asked(connection.orig, connection.resp.port());
            let path = path.unwrap_or_else(|| "nothing".to_owned());
            closes.entry(path).or_default().push(close(&connection));
        }
        closes
    }

    /// The connections to servers.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        let packets: Vec<Packet> = self.capture.packets();
        let mut all = connections(&packets);
        all.retain(|connection| (9001..=9005).contains(&connection.resp.port()));
        all
    }
}

/// FINs and RSTs in their order, as the table writes them: `sF pR`.
pub(crate) fn close(connection: &Connection) -> String {
    let step = |(end, sign, _): (End, Sign, &Packet)| {
        let who = if end == End::Orig { 'p' } else { 's' };
        let what = if sign == Sign::Fin { 'F' } else { 'R' };
        format!("{who}{what}")
    };
    connection.signs().into_iter().map(step).collect::<Vec<_>>().join(" ")
}
