//! A proxy, servers that do as told, and clients that see every byte.
#![allow(unreachable_pub, dead_code, reason = "helpers of one test binary")]

mod client;
#[path = "../support/descriptors.rs"]
pub(crate) mod descriptors;
mod origin;
#[path = "../support/ports.rs"]
pub(crate) mod ports;
#[path = "../support/until.rs"]
pub(crate) mod until;

pub use client::Client;
pub use origin::{Origin, Peer};
pub(crate) use until::PATIENCE;

use std::{
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use teardown::http::{
    closes::{Class, Closes, Cookie, Doing, Upstream},
    engine::{Engine, IdleByServer, SessionInfo},
    event::{Log, Session},
    hooks::{Balance, Edit, Request},
    live,
    settings::{
        Backend, Bind, BindAddress, ClientTimeouts, Frontend, Mode, Server, ServerTimeouts,
        Settings,
    },
};

/// Takes the servers in turn.
#[derive(Debug, Default)]
pub struct Turns(AtomicUsize);

impl Balance for Turns {
    fn key(&self, _: Option<&Request<'_>>, _: &[Edit], _: Option<SocketAddr>) -> u64 {
        0
    }

    fn pick(&self, backend: &live::Backend, _: u64, avoid: Option<usize>) -> Option<usize> {
        let fit = backend.candidates().filter(|server| !server.full(backend));
        let fit: Vec<_> = fit.map(|server| server.index).collect();
        let rest: Vec<_> = fit.iter().copied().filter(|&index| Some(index) != avoid).collect();
        let choice = if rest.is_empty() { fit } else { rest };
        let turn = self.0.fetch_add(1, Relaxed);
        choice.get(turn % choice.len().max(1)).copied()
    }

    fn is_free(&self) -> bool {
        true
    }
}

/// What a log line has, in HAProxy's words.
#[derive(Clone, Debug)]
pub struct Line {
    pub server: String,
    pub status: u16,
    pub state: String,
    pub request: String,
    pub retries: u32,
    pub redispatched: bool,
    pub bytes_out: u64,
    pub local: Option<SocketAddr>,
    pub source: Option<SocketAddr>,
}

/// Keeps what it hears.
#[derive(Debug, Default)]
pub struct Ears {
    pub lines: Mutex<Vec<Line>>,
    /// Of connections to servers.
    pub closes: Mutex<Vec<(Class, bool, String)>>,
    /// Of connections from clients: the class, the last request's method and status.
    pub clients: Mutex<Vec<(Class, String, u16)>>,
}

impl Log for Ears {
    fn session(&self, session: &Session<'_>) {
        self.lines.lock().expect("unpoisoned").push(Line {
            server: session.server.map_or("<NOSRV>".into(), |s| s.settings.name.clone()),
            status: session.status,
            state: session.termination.to_string(),
            request: String::from_utf8_lossy(session.request_line).into_owned(),
            retries: session.retries,
            redispatched: session.redispatched,
            bytes_out: session.bytes_out,
            local: session.local,
            source: session.source,
        });
    }
}

impl Closes for Ears {
    fn stated(
        &self,
        _: (std::os::fd::BorrowedFd<'_>, Cookie),
        upstream: Option<Upstream<'_>>,
        class: Class,
        reset: bool,
        doing: &Doing,
    ) {
        if upstream.is_none() {
            let mut clients = self.clients.lock().expect("unpoisoned");
            return clients.push((class, doing.method.as_str().into(), doing.status));
        }
        let mut closes = self.closes.lock().expect("unpoisoned");
        closes.push((class, reset, doing.termination.to_string()));
    }
}

/// A running proxy with one frontend and one backend.
pub struct Proxy {
    pub engine: Engine,
    pub ears: Arc<Ears>,
    pub address: SocketAddr,
}

/// Settings in `mode http` with short timeouts.
pub fn settings(servers: &[SocketAddr]) -> Settings {
    let loopback = BindAddress::Inet(SocketAddr::from(([127, 0, 0, 1], 0)));
    let frontend = Frontend {
        name: "front".into(),
        mode: Mode::Http,
        binds: vec![Bind::new(loopback)],
        timeouts: ClientTimeouts { client: Some(PATIENCE), ..ClientTimeouts::default() },
        default_backend: Some(0),
        ..Frontend::default()
    };
    let mut backend = Backend::new("back", Arc::new(Turns::default()));
    backend.mode = Mode::Http;
    backend.timeouts = ServerTimeouts {
        connect: Some(PATIENCE),
        server: Some(PATIENCE),
        ..ServerTimeouts::default()
    };
    let named =
        |(i, address): (usize, &SocketAddr)| Server::new(format!("s{i}"), (*address).into());
    backend.servers = servers.iter().enumerate().map(named).collect();
    let mut settings =
        Settings { frontends: vec![frontend], backends: vec![backend], ..Settings::default() };
    settings.global.threads = 1;
    settings
}

impl Proxy {
    pub fn start(settings: Settings) -> Self {
        let ears = Arc::new(Ears::default());
        let log: Arc<dyn Log> = ears.clone();
        let closes: Arc<dyn Closes> = ears.clone();
        let engine = Engine::launch(settings, log, closes).expect("starts");
        let address = engine.addresses()[0].1;
        Self { engine, ears, address }
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        stream.set_nodelay(true).expect("sets");
        Client { stream, early: Vec::new() }
    }

    /// Sends bytes on a fresh connection and returns everything until it closes.
    pub fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect();
        client.send(bytes);
        client.rest()
    }

    /// The connections. Asked of each worker in turn, when it has done what it was told before.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("builds");
        runtime.block_on(self.engine.sessions())
    }

    /// The numbers of the parked ones.
    pub fn parked(&self) -> Vec<u64> {
        let parked = self.sessions().into_iter().filter(|session| session.parked);
        parked.map(|session| session.serial).collect()
    }

    /// The idle connections to servers, of each worker.
    pub fn idle(&self) -> Vec<IdleByServer> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("builds");
        runtime.block_on(self.engine.idle())
    }

    /// The log, once it has so many lines.
    pub fn log(&self, count: usize) -> Vec<Line> {
        eventually(|| {
            let lines = self.ears.lines.lock().expect("unpoisoned");
            (lines.len() >= count).then(|| lines.clone())
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.engine.hard_stop();
        self.engine.join();
    }
}

/// Waits for a condition.
pub fn eventually<T>(test: impl FnMut() -> Option<T>) -> T {
    until::until("what never came true", test)
}

pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
