//! HAProxy and nginx from Debian's packages, with configurations written for a test.

use super::process::Process;
use super::servers::Manner;
use super::ss;
use super::topology::Topology;
use super::until::until;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// How a proxy treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    ServerClose,
    KeepAlive,
    HttpClose,
    NoLinger,
    Tcp,
    NginxHttp,
    NginxStream,
}

impl Mode {
    pub(crate) const HAPROXY: [Self; 5] =
        [Self::ServerClose, Self::KeepAlive, Self::HttpClose, Self::NoLinger, Self::Tcp];
    pub(crate) const NGINX: [Self; 2] = [Self::NginxHttp, Self::NginxStream];
    pub(crate) const ALL: [Self; 7] = [
        Self::ServerClose,
        Self::KeepAlive,
        Self::HttpClose,
        Self::NoLinger,
        Self::Tcp,
        Self::NginxHttp,
        Self::NginxStream,
    ];

    /// The port on which the proxy of this mode stands before servers of that manner.
    pub(crate) fn port(self, manner: Manner) -> u16 {
        let index = Self::ALL.iter().position(|mode| *mode == self).expect("one of all");
        7000 + 20 * u16::try_from(index).expect("a small number") + (manner.port() - 9000)
    }

    /// The name of the process that owns the proxy's sockets.
    pub(crate) fn process(self) -> &'static str {
        if Self::NGINX.contains(&self) { "nginx" } else { "haproxy" }
    }

    fn options(self) -> &'static str {
        match self {
            Self::ServerClose => "mode http\n  option http-server-close",
            Self::KeepAlive => "mode http\n  option http-keep-alive",
            Self::HttpClose => "mode http\n  option httpclose",
            Self::NoLinger => "mode http\n  option http-server-close\n  option nolinger",
            Self::Tcp => "mode tcp",
            Self::NginxHttp | Self::NginxStream => unreachable!("nginx has no such options"),
        }
    }
}

/// A running proxy, its configuration kept while it runs.
pub(crate) struct Proxy {
    pub(crate) process: Process,
    folder: TempDir,
}

impl Proxy {
    /// The folder with its configuration.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// HAProxy with one `listen` section for each of its modes and each manner of server, and short
/// timeouts. `checks` asks every server for its health a few times a second.
pub(crate) fn haproxy(topology: &Topology, checks: bool) -> Proxy {
    haproxy_with(topology, checks, ["400ms", "300ms"])
}

/// The same with this timeout for all of clients and servers: no request fails on a busy machine.
pub(crate) fn haproxy_that_waits(topology: &Topology, checks: bool, timeout: &str) -> Proxy {
    haproxy_with(topology, checks, [timeout, timeout])
}

fn haproxy_with(topology: &Topology, checks: bool, [timeout, idle]: [&str; 2]) -> Proxy {
    let mut text = format!(
        "global\n  maxconn 2000\n  nbthread 2\ndefaults\n  timeout connect 5s\n  \
         timeout client {timeout}\n  timeout server {timeout}\n  \
         timeout http-keep-alive {idle}\n",
    );
    let check = if checks { " check inter 300ms" } else { "" };
    for mode in Mode::HAPROXY {
        for manner in Manner::ALL {
            let bind = SocketAddr::new(topology.front_addr, mode.port(manner));
            let server = SocketAddr::new(topology.backend_addr, manner.port());
            writeln!(
                text,
                "listen {mode:?}-{manner:?}\n  bind {bind}\n  {}\n  server s-{manner:?} \
                 {server}{check}",
                mode.options(),
            )
            .expect("a string takes all");
        }
    }
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("haproxy.cfg");
    std::fs::write(&path, text).expect("the configuration");
    let mut command = Command::new("/usr/sbin/haproxy");
    command.args(["-db", "-f"]).arg(&path);
    started(topology, command, folder, Mode::Tcp.port(Manner::KeepAlive))
}

/// nginx with `proxy_pass` in http and in stream before each manner of server.
pub(crate) fn nginx(topology: &Topology) -> Proxy {
    let folder = TempDir::new().expect("a folder");
    let server = |mode: Mode, manner: Manner, pass: &dyn Fn(SocketAddr) -> String| {
        let listen = SocketAddr::new(topology.front_addr, mode.port(manner));
        let to = SocketAddr::new(topology.backend_addr, manner.port());
        format!("  server {{ listen {listen}; {} }}\n", pass(to))
    };
    let each = |mode: Mode, pass: &dyn Fn(SocketAddr) -> String| -> String {
        Manner::ALL.iter().map(|manner| server(mode, *manner, pass)).collect()
    };
    let http = each(Mode::NginxHttp, &|to| format!("location / {{ proxy_pass http://{to}; }}"));
    let stream = each(Mode::NginxStream, &|to| format!("proxy_pass {to};"));
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path {}/{name};\n", folder.path().display()))
        .collect();
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nuser root;\n\
         worker_processes 1;\ndaemon off;\npid {0}/pid;\nerror_log {0}/error.log;\n\
         events {{ worker_connections 2000; }}\n\
         http {{\n  access_log off;\n  keepalive_timeout 300ms;\n  proxy_read_timeout 400ms;\n\
         {temporary}{http}}}\n\
         stream {{\n  proxy_timeout 400ms;\n{stream}}}\n",
        folder.path().display()
    );
    let path = folder.path().join("nginx.conf");
    std::fs::write(&path, text).expect("the configuration");
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(&path);
    started(topology, command, folder, Mode::NginxStream.port(Manner::KeepAlive))
}

/// Starts the proxy and waits until it listens on `last`.
fn started(topology: &Topology, mut command: Command, folder: TempDir, last: u16) -> Proxy {
    let mut process = Process::start(&topology.proxy, &mut command);
    until("the proxy to listen", || {
        if let Some(status) = process.ended() {
            let log = std::fs::read_to_string(folder.path().join("error.log"));
            panic!("{command:?} ended with {status}: {:#?} {log:?}", process.errors.all());
        }
        ss::listens(&topology.proxy, last).then_some(())
    });
    Proxy { process, folder }
}
