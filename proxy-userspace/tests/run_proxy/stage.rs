//! A daemon that serves one configuration, and what stands around it.

use crate::support::http::head;
use crate::support::netns::Netns;
use crate::support::process::Process;
use crate::support::runtime::ask;
use crate::support::until::{PATIENCE, until};
use crate::support::watch::teardown;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;

/// A network of its own, a server that answers its name, and a folder for files.
pub(crate) struct Stage {
    pub(crate) netns: Netns,
    folder: tempfile::TempDir,
    pub(crate) server: SocketAddr,
    log: UdpSocket,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let netns = Netns::new();
        netns.ip("link set lo up");
        let listener = netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let log = netns.run(|| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        log.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let server = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
        Self { netns, folder: tempfile::tempdir().expect("a folder"), server, log }
    }

    /// A server that answers 404 to everything.
    pub(crate) fn missing(&self) -> SocketAddr {
        let listener = self.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // Who asked may have gone.
                let _ = head(&mut stream);
                let _ = stream.write_all(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            }
        });
        address
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration, for a proxy whose runtime socket is `socket`.
    pub(crate) fn configuration(&self, socket: &str, port: u16) -> PathBuf {
        let path = self.path(&format!("{socket}.cfg"));
        let text = format!(
            "global\n  stats socket {} level admin\n  maxconn 100\n\
             defaults\n  mode http\n  log {} len 2000 local0\n  option httplog\n\
             \x20 timeout connect 2s\n  timeout client 10s\n  timeout server 10s\n  timeout check 10s\n\
             frontend in\n  bind 127.0.0.1:{port}\n\
             \x20 http-request deny if {{ path_beg /secret }}\n\
             \x20 http-request return status 200 content-type text/plain string pong if {{ path /ping }}\n\
             \x20 http-request set-header X-From %[src]\n\
             \x20 use_backend other if {{ hdr(host) -i other.example }}\n  default_backend web\n\
             backend web\n  option httpchk GET /health\n\
             \x20 server w1 {} check inter 100ms\n  server w2 127.0.0.1:1 check inter 100ms backup\n\
             backend other\n  balance source\n  server o1 {}\n  server o2 {} disabled\n",
            self.path(socket).display(),
            self.log.local_addr().expect("bound"),
            self.server,
            self.server,
            self.server,
        );
        std::fs::write(&path, text).expect("a file");
        path
    }

    pub(crate) fn request(&self, port: u16, head: &str) -> String {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = self.netns.run(|| TcpStream::connect(at).expect("it listens"));
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it closes");
        text
    }

    pub(crate) fn get(&self, port: u16, path: &str) -> String {
        self.request(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// The next log line of a session, without its header.
    pub(crate) fn line(&self) -> String {
        loop {
            let mut buffer = [0; 2_100];
            let length = self.log.recv(&mut buffer).expect("a line in time");
            let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if line.contains("] in ") {
                return line.split_once("]: ").expect("a header").1.to_owned();
            }
        }
    }
}

/// Answers every request with what it was asked for.
fn answer(mut stream: TcpStream) {
    let Some(head) = head(&mut stream) else { return };
    let from = head.lines().find(|line| line.to_ascii_lowercase().starts_with("x-from"));
    let body = from.unwrap_or("nobody").to_owned();
    let length = body.len();
    // Who asked may have gone.
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

pub(crate) fn start(stage: &Stage, port: u16) -> (Process, PathBuf) {
    start_with(stage, port, &[])
}

pub(crate) fn start_with(stage: &Stage, port: u16, options: &[&str]) -> (Process, PathBuf) {
    let config = stage.configuration("ours", port);
    let mut command = teardown();
    command.arg("run").arg("--socket").arg(stage.path("own")).arg("-f").arg(&config).args(options);
    let mut daemon = Process::start(&stage.netns, &mut command);
    daemon.wait_for_words("watching");
    let socket = stage.path("ours");
    until("the backup to be down", || {
        ask(&socket, "show stat").contains("web,w2,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN").then_some(())
    });
    (daemon, config)
}

/// A frontend, a `listen` and a backend.
pub(crate) fn three(stage: &Stage, which: u16) -> String {
    format!(
        "frontend in\n  bind 127.0.0.1:{}\n  default_backend web\n\
         listen both\n  bind 127.0.0.1:{}\n  server b1 {server}\n\
         backend web\n  server w1 {server}\n  server w2 {server} check inter 100ms\n",
        8080 + which,
        8090 + which,
        server = stage.server,
    )
}
