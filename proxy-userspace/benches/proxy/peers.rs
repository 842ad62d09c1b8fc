//! Who proxies: teardown and its peers, each plain and tuned, with as many threads as cores.

use crate::scene::Scene;
use crate::support::process::Process;
use crate::support::until::until;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use teardown::daemon::proxy::{Origin, Planned};
use teardown::http::closes::Closes;

/// A proxy and its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    /// teardown's proxy alone, without the kernel side.
    Teardown,
    /// The same with `defer-accept` and `tcp-smart-connect`.
    TeardownTuned,
    /// `teardown run`: observed, and with a policy for its servers.
    TeardownPolicies,
    /// HAProxy.
    Haproxy,
    /// HAProxy with `defer-accept`, `tcp-smart-connect` and `splice-response`.
    HaproxyTuned,
    /// nginx with `reuseport`.
    Nginx,
    /// The same with `deferred`.
    NginxTuned,
}

impl Peer {
    pub(crate) const ALL: [Self; 7] = [
        Self::Teardown,
        Self::TeardownTuned,
        Self::TeardownPolicies,
        Self::Haproxy,
        Self::HaproxyTuned,
        Self::Nginx,
        Self::NginxTuned,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Teardown => "teardown",
            Self::TeardownTuned => "teardown, tuned",
            Self::TeardownPolicies => "teardown, policies",
            Self::Haproxy => "HAProxy",
            Self::HaproxyTuned => "HAProxy, tuned",
            Self::Nginx => "nginx",
            Self::NginxTuned => "nginx, tuned",
        }
    }

    /// Whether it is one of those that teardown is compared to.
    pub(crate) fn is_foreign(self) -> bool {
        matches!(self, Self::Haproxy | Self::HaproxyTuned | Self::Nginx | Self::NginxTuned)
    }

    /// Starts it; comes back once it listens.
    pub(crate) fn start(self, scene: &Scene) -> Process {
        // Who was before is gone: the port is free for a moment.
        for address in [scene.keeps, scene.closes] {
            until("the port to be free", || {
                scene.topology.client.run(|| TcpStream::connect(address)).err().map(drop)
            });
        }
        let mut command = match self {
            Self::Teardown | Self::TeardownTuned => {
                let own = std::env::current_exe().expect("this program's path");
                let mut command = Command::new(own);
                command.arg("--proxy").arg(scene.file("proxy.cfg", &self.haproxy_cfg(scene)));
                command
            }
            Self::TeardownPolicies => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_teardown"));
                command.arg("run").arg("--socket").arg(scene.path("socket"));
                command.arg("-f").arg(scene.file("proxy.cfg", &self.haproxy_cfg(scene)));
                command
            }
            Self::Haproxy | Self::HaproxyTuned => {
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(scene.file("proxy.cfg", &self.haproxy_cfg(scene)));
                command
            }
            Self::Nginx | Self::NginxTuned => {
                let mut command = Command::new("nginx");
                let text = self.nginx_conf(scene);
                command.arg("-c").arg(scene.file("proxy.conf", &text));
                command
            }
        };
        let process = Process::start(&scene.topology.proxy, &mut command);
        scene.wait_for(scene.keeps);
        scene.wait_for(scene.closes);
        process
    }

    fn haproxy_cfg(self, scene: &Scene) -> String {
        let Scene { origin, keeps, closes, .. } = scene;
        let tuned = matches!(self, Self::TeardownTuned | Self::HaproxyTuned);
        let bind = if tuned { " defer-accept" } else { "" };
        let options = match self {
            Self::TeardownTuned => "  option tcp-smart-connect\n",
            Self::HaproxyTuned => "  option tcp-smart-connect\n  option splice-response\n",
            _ => "",
        };
        let policy = if self == Self::TeardownPolicies { " close passive rst" } else { "" };
        // HAProxy wants more descriptors for 10,000 clients than a container may give it.
        let limits = match self {
            Self::Haproxy | Self::HaproxyTuned => "  no strict-limits\n",
            _ => "",
        };
        let threads = threads();
        format!(
            "global\n  maxconn 10100\n  nbthread {threads}\n{limits}\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 300s\n  \
             timeout server 300s\n{options}\
             listen keeps\n  bind {keeps}{bind}\n  http-reuse always\n  server one {origin}{policy}\n\
             listen closes\n  bind {closes}{bind}\n  option http-server-close\n  \
             server one {origin}{policy}\n"
        )
    }

    fn nginx_conf(self, scene: &Scene) -> String {
        let Scene { origin, keeps, closes, .. } = scene;
        let path = scene.path("nginx").display().to_string();
        let deferred = if self == Self::NginxTuned { " deferred" } else { "" };
        let threads = threads();
        format!(
            "worker_processes {threads};\ndaemon off;\npid {path}.pid;\nerror_log {path}.log;\n\
             worker_rlimit_nofile 20000;\nevents {{ worker_connections 16000; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  \
             keepalive_timeout 300;\n  \
             upstream keeps {{ server {origin}; keepalive 128; keepalive_requests 1000000000; }}\n  \
             upstream closes {{ server {origin}; }}\n  \
             server {{ listen {keeps} reuseport backlog=8192{deferred};\n    \
             location / {{ proxy_pass http://keeps; proxy_http_version 1.1;\n      \
             proxy_set_header Connection \"\"; }} }}\n  \
             server {{ listen {closes} reuseport backlog=8192{deferred};\n    \
             location / {{ proxy_pass http://closes; proxy_http_version 1.1; }} }}\n}}\n"
        )
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Who is told of no closes: without the kernel side there is nobody to join them.
struct Deaf;

impl Closes for Deaf {}

/// teardown's proxy, without observer and policies, until it is ended.
pub(crate) fn be_the_proxy(file: PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let prepared = Planned::read(Origin::Files(vec![file])).and_then(Planned::prepare);
        let prepared = prepared.expect("a configuration that can be run");
        let outside = tokio::runtime::Handle::current();
        let _running =
            prepared.start(Arc::new(Deaf), &outside, None, Path::new("none")).expect("workers");
        std::future::pending::<()>().await;
    });
}
