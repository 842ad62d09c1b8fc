//! HAProxy between clients and a server, with and without somebody beside it.

use crate::frame::cpu;
use crate::frame::hosts;
use crate::frame::load::{self, Closes, Load, Server};
use crate::frame::rounds::{Column, interleaved, table};
use crate::support::foreign::Attached;
use crate::support::process::Process;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Threads of clients: enough for HAProxy never to wait for one.
const CLIENTS: u32 = 16;

/// Somebody beside HAProxy, or nobody.
pub(crate) trait Beside: Copy {
    fn name(&self) -> &'static str;
    /// Starts it in the proxy's namespace; comes back once it is at work. Its files go to a folder.
    fn start(&self, topology: &Topology, folder: &Path) -> Watching;
}

/// What is at work beside HAProxy, until this is dropped.
pub(crate) enum Watching {
    Nobody,
    Program(Process),
    /// Programs in the kernel alone.
    Hooks {
        _attached: Vec<Attached>,
    },
}

impl Watching {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Program(process) => Some(process.pid()),
            Self::Nobody | Self::Hooks { .. } => None,
        }
    }
}

/// The server's address: HAProxy's only one.
pub(crate) const SERVER_PORT: u16 = 9000;

/// Client, HAProxy and server, each in a namespace of its own, joined by veth.
pub(crate) struct Scene {
    pub(crate) topology: Topology,
    front: SocketAddr,
    haproxy: Process,
    _server: Server,
    folder: TempDir,
}

impl Scene {
    /// The server closes with the last data, or right after it.
    pub(crate) fn new(closes: Closes) -> Self {
        let topology = Topology::veth(Family::V4);
        hosts::unlimited(&topology);
        let back = SocketAddr::new(topology.backend_addr, SERVER_PORT);
        let front = SocketAddr::new(topology.front_addr, 8000);
        let server = Server::start(&topology.backend, back, closes);
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn 4000\ndefaults\n  mode http\n  option http-server-close\n  \
             timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
             listen bench\n  bind {front}\n  server one {back}\n"
        );
        std::fs::write(&path, text).expect("the configuration");
        let mut command = Command::new("/usr/sbin/haproxy");
        let haproxy = Process::start(&topology.proxy, command.args(["-db", "-f"]).arg(&path));
        until("HAProxy to listen", || topology.client.run(|| TcpStream::connect(front)).ok());
        Self { topology, front, haproxy, _server: server, folder }
    }

    /// One run of clients.
    pub(crate) fn load(&self, time: Duration, rate: Option<u32>) -> Load {
        load::clients(&self.topology.client, self.front, CLIENTS, time, rate)
    }

    /// One run of clients with one of those.
    fn run(&self, observer: impl Beside, time: Duration, rate: Option<u32>) -> Sample {
        let watching = observer.start(&self.topology, self.folder.path());
        let pids = [Some(self.haproxy.pid()), watching.pid()];
        let used = || {
            let [haproxy, watching] = pids.map(|pid| pid.map_or(Duration::ZERO, cpu::of));
            [haproxy, watching, cpu::own()]
        };
        let before = used();
        let load = self.load(time, rate);
        let after = used();
        assert_eq!(load.failed, 0, "connections failed with {}", observer.name());
        let [haproxy, watching, own] = std::array::from_fn(|index| after[index] - before[index]);
        Sample { load, haproxy, watching, own }
    }
}

/// What one run took.
struct Sample {
    load: Load,
    haproxy: Duration,
    watching: Duration,
    /// Clients and server: the packets of both also run through the observer's hooks.
    own: Duration,
}

impl Sample {
    fn microseconds(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.load.connections as f64
    }
}

/// A measure's name, its unit, and how it is taken from a sample.
type Measure = (&'static str, &'static str, fn(&Sample) -> f64);

const MEASURES: [Measure; 4] = [
    ("Throughput", "connections a second", |sample| sample.load.a_second()),
    ("CPU of all", "µs a connection", |sample| {
        sample.microseconds(sample.haproxy + sample.watching + sample.own)
    }),
    ("CPU of HAProxy", "µs a connection", |sample| sample.microseconds(sample.haproxy)),
    ("CPU of the observer itself", "µs a connection", |sample| {
        sample.microseconds(sample.watching)
    }),
];

/// Takes and prints the measures at full speed and, with `rate`, at that many a second.
pub(crate) fn measure(
    scene: &Scene,
    observers: &[impl Beside],
    rounds: usize,
    time: Duration,
    rate: u32,
) {
    for rate in [None, Some(rate)] {
        match rate {
            None => println!("\nThrough HAProxy, as fast as it goes"),
            Some(rate) => println!("\nThrough HAProxy, {rate} connections a second asked for"),
        }
        let samples = interleaved(rounds, observers, |observer| scene.run(observer, time, rate));
        for (title, unit, of) in MEASURES {
            let columns: Vec<Column> = observers
                .iter()
                .zip(&samples)
                .map(|(observer, samples)| Column {
                    name: observer.name().to_owned(),
                    values: samples.iter().map(of).collect(),
                })
                .collect();
            print!("{}", table(title, unit, &columns));
        }
    }
}
