//! What a request was doing when its connections closed: the log's termination state stands in the
//! closes of both connections, the client's and the server's.
//!
//! The witness is the test's own: it knows the client's port, which stands in the log's line too,
//! and what the client and the server did.

mod support;

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use support::http::head;
use support::netns::Netns;
use support::process::{Lines, Process};
use support::runtime::ask;
use support::sockets::abort;
use support::until::{PATIENCE, until};
use support::watch::teardown;

struct Stage {
    netns: Netns,
    folder: tempfile::TempDir,
    log: UdpSocket,
    lines: Lines,
    _tail: Process,
    _daemon: Process,
}

/// What a client and the records of its connections say.
struct Seen {
    /// The log's termination state, and its status.
    logged: (String, i64),
    client: Value,
    servers: Vec<Value>,
}

impl Stage {
    fn new() -> Self {
        let netns = Netns::new();
        netns.ip("link set lo up");
        let log = netns.run(|| UdpSocket::bind("127.0.0.1:514").expect("a free port"));
        log.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let listener = netns.run(|| TcpListener::bind("127.0.0.1:9000").expect("a free port"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("own");
        let config = folder.path().join("haproxy.cfg");
        std::fs::write(&config, CONFIG).expect("a file");
        let mut command = teardown();
        command.arg("run").arg("--socket").arg(&socket).arg("-f").arg(&config);
        let mut daemon = Process::start(&netns, &mut command);
        daemon.wait_for_words("watching");
        let mut command = teardown();
        command.arg("tail").arg("--socket").arg(&socket).arg("--json").stdout(Stdio::piped());
        let mut tail = Process::start(&netns, &mut command);
        let lines = Lines::read(tail.stdout());
        let stage = Self { netns, folder, log, lines, _tail: tail, _daemon: daemon };
        until("the tail to be attached", || {
            stage.ask("show info").contains("Tails: 1").then_some(())
        });
        stage
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("own")
    }

    fn ask(&self, line: &str) -> String {
        ask(&self.socket(), line)
    }

    fn connect(&self, port: u16) -> TcpStream {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = self.netns.run(|| TcpStream::connect(to).expect("it listens"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    /// Lets a client do what it does, and waits for what is said of it: one line in the log, one
    /// close of its own and `servers` closes behind it.
    fn see(&self, port: u16, servers: usize, client: impl FnOnce(TcpStream)) -> Seen {
        let before = self.lines.count();
        let stream = self.connect(port);
        let from = stream.local_addr().expect("connected").to_string();
        client(stream);
        let logged = self.logged(&from);
        let records = || -> Vec<Value> {
            let lines = self.lines.all();
            let new = lines.iter().skip(before).map(|line| serde_json::from_str(line));
            new.map(|value| value.expect("JSON"))
                .filter(|close: &Value| close["class"] != "check")
                .collect()
        };
        let (client, behind) =
            until(&format!("the closes of {from}, logged as {logged:?}"), || {
                let all = records();
                let (own, behind): (Vec<Value>, Vec<Value>) =
                    all.into_iter().partition(|close| close["orig"] == from.as_str());
                (own.len() == 1 && behind.len() == servers).then(|| (own[0].clone(), behind))
            });
        Seen { logged, client, servers: behind }
    }

    /// The log's termination state and status of the client's only line.
    fn logged(&self, from: &str) -> (String, i64) {
        loop {
            let mut buffer = [0; 2_100];
            let length = self.log.recv(&mut buffer).expect("a line in time");
            let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let Some((_, said)) = line.split_once(&format!("{from} [")) else { continue };
            let words: Vec<&str> = said.split(' ').collect();
            let is_http = said.contains('"');
            let state = if is_http { words[8] } else { words[5] };
            let status = if is_http { words[4].parse().expect("a status") } else { -1 };
            return (state.to_owned(), status);
        }
    }
}

impl Seen {
    /// Holds the log's words to `state`, and the records to the log.
    #[track_caller]
    fn is(&self, state: &str, phase: &str) -> &Self {
        assert_eq!(self.logged.0, state, "in the log");
        for close in self.servers.iter().chain([&self.client]) {
            assert_eq!(close["termination"], state, "{close}");
            let said = close["phase"].as_str().unwrap_or("-");
            assert_eq!(said, phase, "{close}");
        }
        let status = (self.logged.1 > 0).then_some(self.logged.1);
        assert_eq!(self.client["status"].as_i64(), status, "{}", self.client);
        self
    }
}

const CONFIG: &str = "\
defaults
  mode http
  log 127.0.0.1:514 local0
  option httplog
  option http-server-close
  timeout connect 10s
  timeout client 10s
  timeout http-request 2s
  timeout server 2s
  timeout queue 300ms
  retries 0
frontend in
  bind 127.0.0.1:8080
  http-request deny if { path /deny }
  use_backend refused if { path /refused }
  use_backend narrow if { path_beg /narrow }
  default_backend web
backend web
  server w1 127.0.0.1:9000
backend refused
  server r1 127.0.0.1:1
backend narrow
  timeout server 4s
  server n1 127.0.0.1:9000 maxconn 1
frontend keep
  bind 127.0.0.1:8081
  option http-keep-alive
  timeout http-keep-alive 2s
  default_backend kept
backend kept
  option http-keep-alive
  server k1 127.0.0.1:9000 pool-purge-delay 2s
listen bytes
  bind 127.0.0.1:8082
  mode tcp
  option tcplog
  server t1 127.0.0.1:9000
listen checked
  bind 127.0.0.1:8083
  server c1 127.0.0.1:9000 check inter 1s
";

/// A server that answers by the path: whole, cut, late, never; many bytes; a kept connection.
fn serve(mut stream: TcpStream) {
    loop {
        let Some(head) = head(&mut stream) else { return };
        let path = head.split(' ').nth(1).unwrap_or_default();
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
        // Who asked may have gone: that is what some of the tests are about.
        let answered = match path.trim_start_matches("/narrow") {
            "/cut" => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nten bytes."),
            "/hang" => {
                let _until_it_closes = stream.read(&mut [0]);
                return;
            }
            "/stall" => {
                let begun =
                    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nten bytes.");
                let _until_it_closes = stream.read(&mut [0]);
                begun
            }
            "/big" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
                stream.write_all(head.as_bytes()).and_then(|()| {
                    let chunk = vec![b'x'; 1 << 20];
                    (0..100).try_for_each(|_| stream.write_all(&chunk))
                })
            }
            "/garbage" => write!(stream, "what is this\r\n\r\n"),
            "/close" => write!(stream, "{whole}Connection: close\r\n\r\nok"),
            _ => {
                if write!(stream, "{whole}\r\nok").is_err() {
                    return;
                }
                continue;
            }
        };
        let _gone = answered;
        return;
    }
}

fn get(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
}

fn to_the_end(mut stream: TcpStream) {
    let _reset_too = stream.read_to_end(&mut Vec::new());
}

/// Asks for `path`, reads to the end and closes.
fn asks(path: &'static str) -> impl FnOnce(TcpStream) {
    move |mut stream| {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        to_the_end(stream);
    }
}

#[test]
fn what_a_request_was_doing_stands_in_both_closes() {
    let stage = Stage::new();
    let whole = stage.see(8080, 1, asks("/"));
    whole.is("----", "-");
    assert_eq!((&whole.client["method"], &whole.client["requests"]), (&"GET".into(), &1.into()));
    assert_eq!(
        (&whole.servers[0]["status"], &whole.servers[0]["class"]),
        (&200.into(), &"traffic".into())
    );
    assert_eq!(whole.servers[0]["server"], "w1");
    stage.see(8080, 1, asks("/close")).is("----", "-");
    // The server cuts its response short, is too late with all of it, with the rest of it, or
    // says nonsense.
    stage.see(8080, 1, asks("/cut")).is("SD--", "data");
    stage.see(8080, 1, asks("/hang")).is("sH--", "headers");
    stage.see(8080, 1, asks("/stall")).is("sD--", "data");
    stage.see(8080, 1, asks("/garbage")).is("PH--", "headers");
    let refused = stage.see(8080, 1, asks("/refused"));
    refused.is("SC--", "connect");
    assert_eq!(refused.servers[0]["server"], "r1");
    // The client gives up: in the middle of a response, and of a request; or sends no request.
    let aborted = stage.see(8080, 1, |mut stream| {
        get(&mut stream, "/big");
        stream.read_exact(&mut [0; 100_000]).expect("a part");
        abort(stream);
    });
    aborted.is("CD--", "data");
    assert_eq!(aborted.client["first_closer"], "orig");
    stage
        .see(8080, 0, |mut stream| {
            stream.write_all(b"GET / HT").expect("it reads");
            abort(stream);
        })
        .is("CR--", "request");
    stage
        .see(8080, 0, |mut stream| {
            stream.write_all(b"GET / HT").expect("it reads");
            to_the_end(stream);
        })
        .is("cR--", "request");
    stage.see(8080, 0, asks("/deny")).is("PR--", "request");
}

#[test]
fn a_queue_a_kept_connection_and_a_tunnel() {
    let stage = Stage::new();
    let mut first = stage.connect(8080);
    get(&mut first, "/narrow/hang");
    until("the server to be busy", || {
        stage.ask("show servers state").lines().next()?;
        stage
            .ask("show stat")
            .lines()
            .any(|line| line.starts_with("narrow,n1,0,0,1,"))
            .then_some(())
    });
    stage.see(8080, 0, asks("/narrow")).is("sQ--", "queue");
    abort(first);
    until("the server to be free", || {
        stage
            .ask("show stat")
            .lines()
            .any(|line| line.starts_with("narrow,n1,0,0,0,"))
            .then_some(())
    });
    let log = |from: &str| stage.logged(from);
    // Three requests on one connection, which the proxy closes at its timeout.
    let before = stage.lines.count();
    let mut stream = stage.connect(8081);
    let from = stream.local_addr().expect("connected").to_string();
    for _ in 0..3 {
        get(&mut stream, "/");
        let mut answer = [0; 40];
        let length = stream.read(&mut answer).expect("an answer");
        assert!(answer[..length].ends_with(b"ok"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(log(&from), ("----".to_owned(), 200));
    }
    to_the_end(stream);
    let closes = || -> Vec<Value> {
        let lines = stage.lines.all();
        lines.iter().skip(before).map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let find = |wanted: &dyn Fn(&Value) -> bool| closes().into_iter().find(|close| wanted(close));
    let client = until("the client's close", || find(&|close| close["orig"] == from.as_str()));
    let server = until("the kept server's close", || find(&|close| close["server"] == "k1"));
    for close in [&client, &server] {
        assert_eq!((&close["requests"], &close["status"]), (&3.into(), &200.into()), "{close}");
        assert_eq!(
            (&close["termination"], &close["phase"]),
            (&"----".into(), &Value::Null),
            "{close}"
        );
    }
    // Bytes: two characters, no method.
    let tunnel = stage.see(8082, 1, |mut stream| {
        get(&mut stream, "/close");
        to_the_end(stream);
    });
    tunnel.is("--", "-");
    assert_eq!(
        (&tunnel.client["class"], &tunnel.client["method"]),
        (&"tunnel".into(), &Value::Null)
    );
    assert_eq!(tunnel.servers[0]["class"], "tunnel");
    let check = until("a check's close", || {
        let lines = stage.lines.all();
        let mut all = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        all.find(|close| close["class"] == "check")
    });
    assert_eq!(check["server"], "c1", "not that of another server at the same address");
}
