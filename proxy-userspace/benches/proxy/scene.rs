//! Clients, the proxies and the server that everyone is a proxy of, nginx with files: on one host, or
//! each on one of its own.

use crate::frame::hosts;
use crate::shapes::Shape;
use crate::support::process::Process;
use crate::support::topology::Topology;
use crate::support::until::until;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Hosts, server and files.
pub(crate) struct Scene {
    pub(crate) topology: Topology,
    /// Where the server listens.
    pub(crate) origin: SocketAddr,
    /// Where the proxies listen that keep their connections to the server.
    pub(crate) keeps: SocketAddr,
    /// Where those listen that close them after each response.
    pub(crate) closes: SocketAddr,
    folder: TempDir,
    _server: Process,
}

impl Scene {
    pub(crate) fn new(topology: Topology) -> Self {
        let (front, back) = (topology.front_addr, topology.backend_addr);
        let origin = SocketAddr::new(back, 9000);
        let [keeps, closes] = [8001, 8002].map(|port| SocketAddr::new(front, port));
        hosts::unlimited(&topology);
        for netns in [&topology.client, &topology.proxy, &topology.backend] {
            // A host's default may be one that paces: its timers would be measured too.
            netns.set("ipv4/tcp_congestion_control", "reno");
        }
        let folder = TempDir::new().expect("a folder");
        // nginx's workers are nobody's.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("a folder for all to read");
        for shape in Shape::ALL {
            let length = shape.length();
            let path = folder.path().join(length.to_string());
            std::fs::write(path, vec![b'x'; length]).expect("a file to be served");
        }
        let path = folder.path().display().to_string();
        let text = format!(
            "worker_processes 1;\ndaemon off;\npid {path}/origin.pid;\n\
             error_log {path}/origin.log;\nworker_rlimit_nofile 20000;\n\
             events {{ worker_connections 16000; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  \
             keepalive_timeout 3600;\n  sendfile on;\n  tcp_nopush on;\n  \
             open_file_cache max=100;\n  \
             server {{ listen {origin} backlog=8192; root {path}; }}\n}}\n"
        );
        let file = write(folder.path(), "origin.conf", &text);
        let mut command = Command::new("nginx");
        let server = Process::start(&topology.backend, command.arg("-c").arg(file));
        let scene = Self { topology, origin, keeps, closes, folder, _server: server };
        until("an answer", || scene.topology.proxy.run(|| answer(origin)));
        scene
    }

    /// Waits until somebody answers there: to listen is not enough, as `teardown run` does that
    /// before it loads the kernel side.
    pub(crate) fn wait_for(&self, address: SocketAddr) {
        until("an answer", || self.topology.client.run(|| answer(address)));
    }

    /// A file with this text.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        write(self.folder.path(), name, text)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The first bytes of an answer.
fn answer(address: SocketAddr) -> Option<usize> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(b"GET /1024 HTTP/1.1\r\nHost: bench\r\n\r\n").ok()?;
    stream.read(&mut [0; 16]).ok().filter(|length| *length > 0)
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a configuration");
    path
}
