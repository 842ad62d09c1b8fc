//! A proxy, servers that do as told, and clients that see every byte.

#![allow(unreachable_pub, dead_code, reason = "helpers of one test binary")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use teardown::http::{
    closes::{Class, Closes, Cookie, Doing, Upstream},
    engine::Engine,
    event::Session,
    hooks::{Balance, Log, Request},
    live,
    settings::{
        Backend, Bind, BindAddress, ClientTimeouts, Frontend, Mode, Server, ServerTimeouts,
        Settings,
    },
};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the servers in turn.
#[derive(Debug, Default)]
pub struct Turns(AtomicUsize);

impl Balance for Turns {
    fn key(&self, _: Option<&Request<'_>>, _: Option<SocketAddr>) -> u64 {
        0
    }

    fn pick(&self, backend: &live::Backend, _: u64, avoid: Option<usize>) -> Option<usize> {
        let backups = backend.on_backups();
        let fit = |server: &&Arc<live::Server>| {
            server.usable() && !server.full() && server.settings.backup == backups
        };
        let fit: Vec<_> = backend.servers.iter().filter(fit).map(|server| server.index).collect();
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
pub fn eventually<T>(mut test: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = test() {
            return value;
        }
        assert!(Instant::now() < end, "this never came true");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A client.
pub struct Client {
    pub stream: TcpStream,
    early: Vec<u8>,
}

impl Client {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sends");
    }

    /// Reads a response that has a Content-Length, or no body.
    pub fn response(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.early, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.early[..end]).to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).map_or(0, |rest| {
                    rest.split('\r').next().expect("split").parse::<usize>().expect("number")
                });
                let whole = end + 4 + length;
                if self.early.len() >= whole {
                    let message = self.early.drain(..whole).collect::<Vec<_>>();
                    return String::from_utf8_lossy(&message).into_owned();
                }
            }
            let before = self.early.len();
            self.read();
            assert!(self.early.len() > before, "closed after {:?}", self.early.escape_ascii());
        }
    }

    /// Reads until so many bytes of something are there.
    pub fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = find(&self.early, end) {
                let message = self.early.drain(..at + end.len()).collect::<Vec<_>>();
                return String::from_utf8_lossy(&message).into_owned();
            }
            let before = self.early.len();
            self.read();
            assert!(self.early.len() > before, "closed after {:?}", self.early.escape_ascii());
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 65536];
        let count = self.stream.read(&mut buffer).expect("reads in time");
        self.early.extend_from_slice(&buffer[..count]);
    }

    /// Everything until the proxy closes.
    pub fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.rest_bytes()).into_owned()
    }

    pub fn rest_bytes(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.early);
        let mut buffer = [0; 65536];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return all,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
                Err(error) => panic!("after {:?}: {error}", all.escape_ascii().to_string()),
            }
        }
    }

    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shuts down");
    }
}

pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A server that runs `serve` for each connection, and keeps what it received.
pub struct Origin {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
}

impl Origin {
    pub fn new(serve: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let (serve, count) = (Arc::new(serve), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(PATIENCE)).expect("sets");
                stream.set_nodelay(true).expect("sets");
                let number = count.fetch_add(1, Relaxed);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(Peer { stream, early: Vec::new(), number }));
            }
        });
        Self { address, connections }
    }

    /// Answers every request of a connection with these bytes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |mut peer| {
            while peer.request().is_some() {
                peer.send(&bytes);
            }
        })
    }

    /// Answers with what it received.
    pub fn echo() -> Self {
        Self::new(|mut peer| {
            while let Some(request) = peer.request() {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.len()));
                peer.send(request);
            }
        })
    }

    pub fn opened(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

/// The server's end of a connection.
pub struct Peer {
    pub stream: TcpStream,
    early: Vec<u8>,
    /// Counts the server's connections.
    pub number: usize,
}

impl Peer {
    /// A request with its body; none when the proxy has closed.
    pub fn request(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(whole) = whole(&self.early) {
                return Some(self.early.drain(..whole).collect());
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// A request's head alone.
    pub fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.early, b"\r\n\r\n") {
                return Some(self.early.drain(..end + 4).collect());
            }
            if !self.read() {
                return None;
            }
        }
    }

    pub fn read(&mut self) -> bool {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(count @ 1..) => {
                self.early.extend_from_slice(&buffer[..count]);
                true
            }
            _ => false,
        }
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.early.len() < count && self.read() {}
        let count = count.min(self.early.len());
        self.early.drain(..count).collect()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The proxy may have closed: the test looks at what came through.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Closes with RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("sets");
    }
}

/// The length of the first message, if it is there as a whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let end = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    if head.contains("\r\ntransfer-encoding:") {
        let last = find(&bytes[end..], b"0\r\n")?;
        return find(&bytes[end + last..], b"\r\n\r\n").map(|at| end + last + at + 4);
    }
    let length = head.split("\r\ncontent-length: ").nth(1).map_or(0, |rest| {
        rest.split('\r').next().expect("split").parse::<usize>().expect("number")
    });
    (bytes.len() >= end + length).then_some(end + length)
}
