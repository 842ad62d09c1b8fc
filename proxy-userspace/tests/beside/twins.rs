//! Two proxies by one configuration, and the servers behind them.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use teardown::{
    assemble::assemble,
    config::{self, Strictness},
    http::{
        closes::Closes,
        engine::Engine,
        event::{Log, Session},
    },
};

use crate::requests::{Case, Expect, tells};
use crate::support::talk::Talk;
use crate::support::{
    ports::Reserved,
    sockets::abort_when_closed,
    until::{PATIENCE, until},
};

const HAPROXY: &str = "/usr/sbin/haproxy";
const LISTENS: [&str; 13] = [
    "ka", "scl", "cl", "pretend", "mixed", "dead", "none", "silent", "rules", "edits", "page",
    "hurry", "tells",
];
/// How long the close of one proxy is waited for where the other has closed: less than either keeps an idle connection.
const LATE: Duration = Duration::from_secs(5);

/// Where each of `LISTENS` listens.
type Ports = BTreeMap<&'static str, Reserved>;

/// What a client and a log saw of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Status line, sorted fields with names in lower case, body. What cannot be the same (the
    /// order and case that HAProxy 2.x does not keep) is taken off.
    pub(crate) response: Vec<String>,
    /// Whether the connection was closed.
    pub(crate) closed: bool,
    pub(crate) log: Vec<String>,
}

impl Seen {
    fn new(talk: Talk, line: String) -> Self {
        Self { closed: talk.is_closed, response: talk.response(), log: vec![line] }
    }

    pub(crate) fn status(&self) -> Option<u16> {
        self.response.first()?.get(9..12)?.parse().ok()
    }
}

/// The two.
pub(crate) struct Twins {
    haproxy: Child,
    engine: Engine,
    theirs: Ports,
    ours: Ports,
    _dead: Reserved,
    their_log: UdpSocket,
    our_log: Mutex<mpsc::Receiver<String>>,
    _folder: tempfile::TempDir,
}

/// Sends each session on as the fields of `option httplog` that can be compared.
struct Lines(Mutex<mpsc::Sender<String>>);

impl Log for Lines {
    fn session(&self, session: &Session<'_>) {
        let frontend = &session.frontend.settings.name;
        let backend = session.backend.map_or(frontend, |backend| &backend.settings.name);
        let server = session.server.map_or("<NOSRV>", |server| &server.settings.name);
        let timers = &session.timers;
        let reached = [timers.request, timers.queue, timers.connect, timers.response];
        let reached = reached.map(|timer| if timer.is_some() { "n" } else { "-1" }).join("/");
        let status = if session.status == 0 { "-1".into() } else { session.status.to_string() };
        let retries = if session.redispatched { "+" } else { "" };
        let request = String::from_utf8_lossy(session.request_line);
        let request = if request.is_empty() { "<BADREQ>".into() } else { request };
        let line = format!(
            "{frontend} {backend}/{server} {reached} {status} {} {}/{}/{}/{retries}{} {}/{} {request}",
            session.termination,
            session.feconn,
            session.beconn,
            session.srvconn,
            session.retries,
            session.srv_queue,
            session.backend_queue,
        );
        let _ = self.0.lock().expect("unpoisoned").send(line);
    }
}

impl Closes for Lines {}

/// A line of HAProxy's in the same form: `ka ka/s 0/0/0/0/0 200 57 - - ---- 1/1/0/0/0 0/0 "…"`.
fn fields(line: &str) -> String {
    let line = line.split("] ").nth(1).expect("a date").trim_end();
    let (head, request) = line.split_once(" \"").expect("a request");
    let words: Vec<_> = head.split(' ').collect();
    let shown = |timer: &str| if timer == "-1" { "-1" } else { "n" };
    let timers: Vec<_> = words[2].split('/').take(4).map(shown).collect();
    // Without actconn, which counts the connections of the other requests too.
    let conns = words[8].split_once('/').expect("counts").1;
    let request = request.trim_end_matches('"');
    format!(
        "{} {} {} {} {} {conns} {} {request}",
        words[0],
        words[1],
        timers.join("/"),
        words[3],
        words[7],
        words[9]
    )
}

fn configuration(ports: &Ports, origin: u16, dead: u16, log: u16, page: &str) -> String {
    let bind =
        |name: &str| format!("  bind {}\n  server s 127.0.0.1:{origin}\n", ports[name].address());
    let mut text = format!(
        "global\n  log 127.0.0.1:{log} local0\n  nbthread 1\n\
         defaults\n  mode http\n  log global\n  option httplog\n  timeout client 10s\n\
         \x20 timeout server 10s\n  timeout connect 10s\n  timeout http-request 10s\n\
         \x20 timeout http-keep-alive 10s\n"
    );
    let section = |name: &str, lines: &str| format!("listen {name}\n{}{lines}", bind(name));
    text += &section("ka", "");
    text += &section("scl", "  option http-server-close\n  option forwardfor\n");
    text += &section("cl", "  option httpclose\n");
    text += &section("pretend", "  option http-server-close\n  option http-pretend-keepalive\n");
    text += &section("mixed", "  option http-keep-alive\n  option forwardfor if-none\n");
    text += &format!(
        "listen dead\n  bind {}\n  retries 0\n  server s 127.0.0.1:{dead}\n",
        ports["dead"].address()
    );
    text += &format!("listen none\n  bind {}\n", ports["none"].address());
    text += &section("silent", "  timeout server 200ms\n");
    text += &format!(
        "frontend rules\n  bind {}\n  http-request deny if {{ path /secret }}\n\
         \x20 http-request deny deny_status 404 if {{ path /gone }}\n\
         \x20 http-request set-header X-Set new\n  http-request del-header X-Del\n\
         \x20 http-response set-header X-Resp new\n  http-response del-header X-Srv\n\
         \x20 acl other path_beg /other\n  use_backend b2 if other\n  default_backend b1\n\
         backend b1\n  server s 127.0.0.1:{origin}\nbackend b2\n  server t 127.0.0.1:{origin}\n",
        ports["rules"].address()
    );
    text += &format!(
        "frontend edits\n  bind {}\n  option forwardfor if-none\n\
         \x20 http-request set-header X-Route b3 if {{ path /set }}\n\
         \x20 http-request set-header X-Forwarded-For 192.0.2.9 if {{ path /set }}\n\
         \x20 http-request del-header X-Route if {{ path /del }}\n\
         \x20 http-request del-header X-Forwarded-For if {{ path /del }}\n\
         \x20 http-request return status 429 hdr Connection close if {{ path /many }}\n\
         \x20 http-response set-header Connection close if {{ status 404 }}\n\
         \x20 http-request deny deny_status 407 if {{ path /407 }}\n\
         \x20 http-request deny status 429 if {{ path /bare }}\n\
         \x20 http-request deny deny_status 410 if {{ path /mute }}\n  errorfile 410 /dev/null\n\
         \x20 http-request return status 503 default-errorfiles if {{ path /sorry }}\n\
         \x20 http-request redirect prefix http://p append-slash if {{ path_beg /slash }}\n\
         \x20 use_backend b3 if {{ hdr(x-route) b3 }}\n  default_backend b1\n\
         backend b3\n  balance hdr(x-by)\n  http-request set-header X-By 7\n\
         \x20 server t0 127.0.0.1:{origin}\n  server t1 127.0.0.1:{origin}\n\
         \x20 server t2 127.0.0.1:{origin}\n",
        ports["edits"].address()
    );
    text += &format!("listen page\n  bind {}\n  errorfile 503 {page}\n", ports["page"].address());
    text += &section("hurry", "  timeout http-request 200ms\n");
    text += &tells(&bind("tells"));
    text
}

/// Answers by the path.
fn serve(mut stream: TcpStream) {
    let mut buffer = [0; 65536];
    let mut early = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => early.extend_from_slice(&buffer[..count]),
        }
        let text = String::from_utf8_lossy(&early).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_ascii_lowercase();
        let whole = if lower.contains("transfer-encoding: chunked") {
            body.ends_with("0\r\n\r\n")
        } else {
            let length = lower.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.split('\r').next()?.parse().ok());
            body.len() >= length.unwrap_or(0)
        };
        if !whole {
            continue;
        }
        early.clear();
        let path = text.split(' ').nth(1).unwrap_or("/").to_owned();
        let silent = text.starts_with("HEAD");
        if !answer(&mut stream, path.trim_start_matches('/'), &lower, silent) {
            return;
        }
    }
}

/// Sends a response; says whether the connection stays.
fn answer(stream: &mut TcpStream, path: &str, request: &str, head: bool) -> bool {
    let mut sorted: Vec<_> = request.lines().skip(1).collect();
    sorted.sort_unstable();
    let echo = format!("{}\n{}\n", request.lines().next().expect("a line"), sorted.join("\n"));
    let with_length = |first: &str, body: &str| {
        let body_sent = if head { "" } else { body };
        format!("{first}\r\nContent-Length: {}\r\nX-Srv: Y\r\n\r\n{body_sent}", body.len())
    };
    let (response, stays) = match path {
        "empty" => (with_length("HTTP/1.1 200 OK", ""), true),
        "http10" => (with_length("HTTP/1.0 200 OK", "ok"), true),
        "until-close" => {
            (format!("HTTP/1.1 200 OK\r\n\r\n{}", if head { "" } else { "ok" }), false)
        }
        "chunked" if head => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(), true),
        "chunked" => (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".into(),
            true,
        ),
        "204" => ("HTTP/1.1 204 No Content\r\nA: b\r\n\r\n".into(), true),
        "204-length" => ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n".into(), true),
        "999" => (with_length("HTTP/1.1 999 Request denied", "no"), true),
        "no-reason" => (with_length("HTTP/1.1 200", "ok"), true),
        "304" => ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".into(), true),
        "404" => (with_length("HTTP/1.1 404 Not Found", "no"), true),
        "500" => (with_length("HTTP/1.1 500 Oops", "no"), true),
        "says-close" => (with_length("HTTP/1.1 200 OK\r\nConnection: close", "ok"), false),
        "set-cookie" => {
            (with_length("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d", "ok"), true)
        }
        "early-hints" => (
            format!(
                "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{}",
                with_length("HTTP/1.1 200 OK", "ok")
            ),
            true,
        ),
        "cut" => ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok".into(), false),
        "cut-chunk" => {
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n".into(), false)
        }
        "nothing" => (String::new(), false),
        "reset" => {
            abort_when_closed(stream);
            return false;
        }
        "silent" => return stream.read(&mut [0; 16]).is_ok_and(|count| count > 0),
        "bad-colon" => ("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok".into(), false),
        "bad-status" => ("HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok".into(), false),
        "bare-lf" => ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok".into(), false),
        _ => (with_length("HTTP/1.1 200 OK", &echo), true),
    };
    stream.write_all(response.as_bytes()).is_ok() && stays
}

impl Twins {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let origin = listener.local_addr().expect("bound").port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        let dead = Reserved::new();
        let their_log = UdpSocket::bind(("127.0.0.1", 0)).expect("binds");
        their_log.set_read_timeout(Some(PATIENCE)).expect("sets");
        let log = their_log.local_addr().expect("bound").port();
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("503.http");
        std::fs::write(&page, "HTTP/1.1 503 Busy\r\nX: y\r\nContent-Length: 4\r\n\r\nwait")
            .expect("writes");
        let page = page.display().to_string();
        let ports = || LISTENS.map(|name| (name, Reserved::new())).into();
        let (theirs, ours): (Ports, Ports) = (ports(), ports());
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(&theirs, origin, dead.port(), log, &page))
            .expect("writes");
        let haproxy = Command::new(HAPROXY)
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("HAProxy is installed (apt install haproxy)");
        let (lines, our_log) = mpsc::channel();
        let file = folder.path().join("ours.cfg");
        std::fs::write(&file, configuration(&ours, origin, dead.port(), log, &page))
            .expect("writes");
        let (config, mut findings) = config::load(&[file], Strictness::Strict).expect("reads");
        assert!(!findings.is_fatal(), "{findings:?}");
        let assembled = assemble(&config, &|_| Vec::new(), &|_| Vec::new(), &mut findings);
        let lines = Arc::new(Lines(Mutex::new(lines)));
        let (log, closes): (Arc<dyn Log>, Arc<dyn Closes>) = (lines.clone(), lines);
        let engine = Engine::launch(assembled.settings, log, closes).expect("starts");
        let twins = Self {
            haproxy,
            engine,
            theirs,
            ours,
            _dead: dead,
            their_log,
            our_log: Mutex::new(our_log),
            _folder: folder,
        };
        until("HAProxy to listen", || TcpStream::connect(twins.theirs["ka"].address()).ok());
        // That connection is logged as one without a request.
        twins.their_line();
        twins
    }

    fn their_line(&self) -> String {
        let mut buffer = [0; 65536];
        let count = self.their_log.recv(&mut buffer).expect("HAProxy logs");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    /// The same request to both.
    pub(crate) fn ask(&self, case: &Case) -> (Seen, Seen) {
        let mut theirs = Talk::new(self.theirs[case.listen].address(), &case.bytes);
        let their_line = fields(&self.their_line());
        let mut ours = Talk::new(self.ours[case.listen].address(), &case.bytes);
        let lines = self.our_log.lock().expect("unpoisoned");
        let our_line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| "no line".into());
        if case.expect == Expect::Same && theirs.is_closed != ours.is_closed {
            // One that has lost its processor closes later.
            theirs.read(LATE);
            ours.read(LATE);
        }
        (Seen::new(theirs, their_line), Seen::new(ours, our_line))
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        let _ = self.haproxy.kill();
        let _ = self.haproxy.wait();
        self.engine.hard_stop();
        self.engine.join();
    }
}
