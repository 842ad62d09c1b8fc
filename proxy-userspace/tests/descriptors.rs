//! A process without free descriptors, in a test binary of its own: the limit is the process's.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use teardown::http::{
    closes::Closes,
    engine::Engine,
    event::Session,
    hooks::{Balance, Edit, Log, Request},
    live,
    settings::{Backend, Bind, BindAddress, Frontend, Mode, Server, Settings},
};

struct Nobody;

impl Log for Nobody {
    fn session(&self, _: &Session<'_>) {}
}

/// The only server there is.
#[derive(Debug)]
struct First;

impl Balance for First {
    fn key(&self, _: Option<&Request<'_>>, _: &[Edit], _: Option<SocketAddr>) -> u64 {
        0
    }
    fn pick(&self, _: &live::Backend, _: u64, _: Option<usize>) -> Option<usize> {
        Some(0)
    }
}

impl Closes for Nobody {}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn status(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(GET).ok()?;
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).ok()?;
    String::from_utf8_lossy(&buffer[..count]).get(9..12).map(str::to_owned)
}

#[test]
fn a_process_without_descriptors_serves_again_when_it_has_some() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
    let origin = listener.local_addr().expect("bound");
    thread::spawn(move || {
        loop {
            // Its own accepts fail too while there are no descriptors.
            let Ok((mut stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                    if stream.write_all(OK).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let mut frontend = Frontend { name: "f".into(), mode: Mode::Http, ..Frontend::default() };
    frontend.binds.push(Bind::new(BindAddress::Inet(([127, 0, 0, 1], 0).into())));
    frontend.default_backend = Some(0);
    let mut backend = Backend::new("b", Arc::new(First));
    backend.mode = Mode::Http;
    backend.servers.push(Server::new("s", origin.into()));
    let mut settings = Settings::default();
    settings.global.threads = 2;
    settings.frontends.push(frontend);
    settings.backends.push(backend);
    let engine = Engine::launch(settings, Arc::new(Nobody), Arc::new(Nobody)).expect("starts");
    let address = engine.addresses()[0].1;

    let most = 300;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: before.maximum })
        .expect("lowers its own limit");
    let connect = || {
        let client = TcpStream::connect(address)?;
        client.set_read_timeout(Some(Duration::from_secs(5)))?;
        std::io::Result::Ok(client)
    };
    // One is certainly accepted before there is nothing left to accept with.
    let mut first = connect().expect("there are descriptors yet");
    assert_eq!(status(&mut first).as_deref(), Some("200"));
    let mut clients = Vec::new();
    while let Ok(client) = connect() {
        clients.push(client);
    }
    assert!(clients.len() > 50, "{} clients", clients.len());
    // Whoever is served now gets an answer, if only that there is no server to be had.
    let early = status(&mut first);
    assert!(matches!(early.as_deref(), Some("200" | "503")), "{early:?}");
    drop(clients);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let fresh = connect().ok().and_then(|mut stream| status(&mut stream));
        if fresh.as_deref() == Some("200") {
            break;
        }
        assert!(Instant::now() < end, "not served again: {fresh:?}");
        thread::sleep(Duration::from_millis(20));
    }
    engine.hard_stop();
    engine.join();
}
