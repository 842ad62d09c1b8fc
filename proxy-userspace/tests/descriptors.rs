//! A process without free descriptors, in a test binary of its own: the limit is the process's.

mod support;

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::lone::{self, Nobody};
use support::until::PATIENCE;
use teardown::http::engine::Engine;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn status(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(GET).ok()?;
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).ok()?;
    String::from_utf8_lossy(&buffer[..count]).get(9..12).map(str::to_owned)
}

/// The limit is the process's: one test at a time.
static LIMIT: Mutex<()> = Mutex::new(());

/// A running proxy before a server, for one test alone.
struct Stage {
    engine: Engine,
    address: SocketAddr,
    server: Arc<Origin>,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    fn new(threads: usize) -> Self {
        let alone = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
        let (origin, server) = origin();
        let engine =
            lone::launch(origin, Arc::new(Nobody), |settings| settings.global.threads = threads);
        let address = engine.addresses()[0].1;
        Self { engine, address, server, _alone: alone }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.engine.hard_stop();
        self.engine.join();
        // What the server closes late would be free descriptors of the next test's.
        if !thread::panicking() {
            until("the server's connections are closed", || self.server.open.load(Relaxed) == 0);
        }
    }
}

#[derive(Default)]
struct Origin {
    /// Connections that are open.
    open: AtomicUsize,
    /// Whether it keeps its answers back.
    holds: AtomicBool,
}

/// A server of keep-alive connections.
fn origin() -> (SocketAddr, Arc<Origin>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
    let address = listener.local_addr().expect("bound");
    let origin = Arc::new(Origin::default());
    let own = Arc::clone(&origin);
    thread::spawn(move || {
        loop {
            // Its own accepts fail too while there are no descriptors.
            let Ok((mut stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            own.open.fetch_add(1, Relaxed);
            let own = Arc::clone(&own);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                    while own.holds.load(Relaxed) {
                        thread::sleep(Duration::from_millis(1));
                    }
                    if stream.write_all(OK).is_err() {
                        break;
                    }
                }
                drop(stream);
                own.open.fetch_sub(1, Relaxed);
            });
        }
    });
    (address, origin)
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(PATIENCE))?;
    Ok(client)
}

fn until(what: &str, holds: impl Fn() -> bool) {
    support::until::until(what, || holds().then_some(()));
}

/// Sets the process's limit; returns what it was.
fn limit(current: Option<u64>) -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current, maximum: before.maximum }).expect("its own");
    before.current
}

#[test]
fn a_process_without_descriptors_serves_again_when_it_has_some() {
    let stage = Stage::new(2);
    let address = stage.address;
    let before = limit(Some(300));
    // One is certainly accepted before there is nothing left to accept with.
    let mut first = connect(address).expect("there are descriptors yet");
    assert_eq!(status(&mut first).as_deref(), Some("200"));
    let mut clients = Vec::new();
    while let Ok(client) = connect(address) {
        clients.push(client);
    }
    assert!(clients.len() > 50, "{} clients", clients.len());
    // Whoever is served now gets an answer, if only that there is no server to be had.
    let early = status(&mut first);
    assert!(matches!(early.as_deref(), Some("200" | "503")), "{early:?}");
    drop(clients);
    until("a client is served again", || {
        connect(address).ok().and_then(|mut stream| status(&mut stream)).as_deref() == Some("200")
    });
    limit(before);
}

#[test]
fn idle_connections_to_servers_make_room_for_new_ones() {
    const IDLE: usize = 20;
    let stage = Stage::new(1);
    let (engine, address) = (&stage.engine, stage.address);
    let mut clients: Vec<TcpStream> =
        (0..IDLE).map(|_| connect(address).expect("connects")).collect();
    // All at once, so that as many connections to the server were needed.
    stage.server.holds.store(true, Relaxed);
    clients.iter_mut().for_each(|client| client.write_all(GET).expect("sends"));
    until("all are at the server", || stage.server.open.load(Relaxed) == IDLE);
    stage.server.holds.store(false, Relaxed);
    for client in &mut clients {
        let mut buffer = [0; OK.len()];
        client.read_exact(&mut buffer).expect("an answer");
    }
    let server = Arc::clone(&engine.proxies().backends[0].servers[0]);
    // A client has its answer before the connection that it came by is idle.
    until("all are kept", || server.idle.now() as usize == IDLE);
    let mut fresh = connect(address).expect("connects");
    let accepted = || engine.proxies().frontends[0].sessions.now() as usize;
    until("the last client is accepted", || accepted() == IDLE + 1);
    // None is left for its connection to the server.
    let before = limit(Some(1000));
    let others = std::iter::repeat_with(|| File::open("/dev/null")).take_while(Result::is_ok);
    let others: Vec<_> = others.collect();
    assert_eq!(status(&mut fresh).as_deref(), Some("200"));
    limit(before);
    drop(others);
    until("the others are closed", || stage.server.open.load(Relaxed) == 1);
}

#[test]
fn no_more_connections_are_kept_than_were_needed() {
    let stage = Stage::new(2);
    let (engine, address) = (&stage.engine, stage.address);
    for _ in 0..100 {
        let mut client = connect(address).expect("connects");
        assert_eq!(status(&mut client).as_deref(), Some("200"));
    }
    let server = &engine.proxies().backends[0].servers[0];
    // A client has its answer before the connection that it came by is idle, and the next may ask by
    // the other worker meanwhile.
    until("the last is kept", || server.sessions.now() == 0 && server.idle.now() > 0);
    let (idle, needed) = (server.idle.now(), server.sessions.max());
    assert!(idle <= needed + 1, "one for each worker: {idle}, and {needed} were needed at once");
}
