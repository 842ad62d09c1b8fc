//! HAProxy and the engine by one configuration, and the servers behind them.

use crate::support::ports::Reserved;
use crate::support::until::{PATIENCE, until};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;
use teardown::assemble::{assemble, logs};
use teardown::config::{self, Strictness, source::Source};
use teardown::http::closes::Closes;
use teardown::http::engine::Engine;
use teardown::http::syslog::Logger;

/// A request to one of the proxies.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    listen: &'static str,
    bytes: String,
}

impl Case {
    /// A request of this first line and these fields.
    pub(crate) fn new(listen: &'static str, line: &str, fields: &[&str]) -> Self {
        let line =
            if line.contains("HTTP/") { line.to_owned() } else { format!("{line} HTTP/1.1") };
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        Self { listen, bytes: format!("{line}\r\nHost: x\r\nConnection: close\r\n{fields}\r\n") }
    }

    /// These bytes.
    pub(crate) fn raw(listen: &'static str, bytes: &str) -> Self {
        Self { listen, bytes: bytes.to_owned() }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}: {:?}", self.listen, self.bytes)
    }
}

/// What a client got, and what was logged.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    /// The lines of the response; names of fields in lower case, as HAProxy writes them.
    pub(crate) response: Vec<String>,
    pub(crate) log: String,
}

/// The two.
pub(crate) struct Pair {
    haproxy: Child,
    engine: Engine,
    pub(crate) theirs: Side,
    pub(crate) ours: Side,
    _dead: Reserved,
    _folder: tempfile::TempDir,
}

/// Where one of them listens and logs.
pub(crate) struct Side {
    ports: BTreeMap<String, Reserved>,
    log: UdpSocket,
}

struct Nobody;

impl Closes for Nobody {}

impl Side {
    fn new(names: &[String]) -> Self {
        let log = UdpSocket::bind("127.0.0.1:0").expect("a port");
        log.set_read_timeout(Some(PATIENCE)).expect("sets");
        let ports = names.iter().map(|name| (name.clone(), Reserved::new())).collect();
        Self { ports, log }
    }

    /// The configuration with this side's addresses: `bind NAME`, `LOG`.
    fn write(&self, text: &str) -> String {
        let log = self.log.local_addr().expect("bound");
        let text = text.replace("LOG", &log.to_string());
        let lines = text.lines().map(|line| match line.trim().strip_prefix("bind ") {
            Some(name) => format!("  bind {}\n", self.ports[name].address()),
            None => format!("{line}\n"),
        });
        lines.collect()
    }

    /// Sends a request.
    pub(crate) fn send(&self, case: &Case) -> TcpStream {
        let mut stream = TcpStream::connect(self.ports[case.listen].address()).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        stream.write_all(case.bytes.as_bytes()).expect("sends");
        stream
    }

    /// Sends a request, and sees what comes of it.
    pub(crate) fn ask(&self, case: &Case) -> Seen {
        self.seen(self.send(case))
    }

    /// What comes of a request that was sent.
    pub(crate) fn seen(&self, mut stream: TcpStream) -> Seen {
        let mut heard = Vec::new();
        // Whoever is refused may be reset behind the answer.
        let _reset = stream.read_to_end(&mut heard);
        let heard = String::from_utf8_lossy(&heard);
        let (head, body) = heard.split_once("\r\n\r\n").unwrap_or((&heard, ""));
        let mut response: Vec<String> = head.split("\r\n").map(lower).map(undated).collect();
        if !response.iter().any(|line| line.starts_with("x-server:")) {
            // What the proxies say themselves, each says in an order of its own.
            response[1..].sort();
        }
        // Further responses may follow.
        response.extend(body.split("\r\n").map(lower).map(undated));
        Seen { response, log: self.logged() }
    }

    /// The next line of the log, but for what differs.
    pub(crate) fn logged(&self) -> String {
        untimed(&self.line())
    }

    fn line(&self) -> String {
        let mut buffer = [0; 65536];
        let count = self.log.recv(&mut buffer).expect("a line");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }
}

/// A field with its name in lower case.
fn lower(line: &str) -> String {
    match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
        None => line.to_owned(),
    }
}

/// A line of the log without its date, times and bytes, and without the connections of the process.
fn untimed(line: &str) -> String {
    let line = line.split_once("] ").map_or(line, |(_, rest)| rest).trim_end();
    if let Some((request, rest)) = line.split_once(" \"\" \"\" ").filter(|_| line.starts_with('"'))
    {
        // The common log format: the client's port and milliseconds stand there, and bytes before.
        let request = request.rsplit_once(' ').expect("bytes").0;
        let rest = rest.splitn(3, ' ').nth(2).expect("more");
        let timers = |word: &str| if word.parse::<i64>().is_ok() { "n" } else { word }.to_owned();
        return format!("{request} {}", rest.split(' ').map(timers).collect::<Vec<_>>().join(" "));
    }
    let shown = |word: &str| if word == "-1" { "-1" } else { "n" }.to_owned();
    let words = line.split(' ').enumerate().map(|(at, word)| match at {
        2 => word.split('/').map(shown).collect::<Vec<_>>().join("/"),
        4 => shown(word),
        8 => word.split_once('/').map_or(word, |(_, rest)| rest).to_owned(),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("a second")
}

/// A cookie's date, so many seconds from now.
pub(crate) fn date(from_now: i64) -> String {
    let number = usize::try_from((now() + from_now) / 4).expect("after 1970");
    let letter = |shift: usize| LETTERS.as_bytes()[number >> shift & 63] as char;
    [24, 18, 12, 6, 0].map(letter).iter().collect()
}

/// A Set-Cookie whose dates, if they are of this minute, read NOW.
fn undated(line: String) -> String {
    if !line.starts_with("set-cookie:") {
        return line;
    }
    let is_now = |text: &str| {
        let digits = text.chars().map(|c| LETTERS.find(c));
        let number = digits.collect::<Option<Vec<_>>>()?.iter().fold(0, |n, digit| n << 6 | digit);
        Some((i64::try_from(number).ok()? * 4 - now()).abs() < 60)
    };
    let parts = line.split('|').enumerate().map(|(at, part)| match part.split_at_checked(5) {
        Some((date, rest)) if at > 0 && is_now(date) == Some(true) => format!("NOW{rest}"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("|")
}

/// How often servers have looked at requests for `/held`.
pub(crate) static HELD: AtomicUsize = AtomicUsize::new(0);

/// Answers with what it saw, with the fields of `x-reply` and the status of `x-status`.
fn serve(mut stream: TcpStream, name: &str) {
    let mut early = Vec::new();
    let mut buffer = [0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        early.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&early).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        HELD.fetch_add(usize::from(head.contains(" /held ")), Ordering::SeqCst);
        let fields: Vec<String> = head.split("\r\n").map(lower).collect();
        let of = |name: &str| {
            let name = format!("{name}: ");
            fields.iter().filter_map(move |field| field.strip_prefix(&name).map(str::to_owned))
        };
        let length = of("content-length").next().and_then(|n| n.parse().ok()).unwrap_or(0);
        if body.len() < length {
            continue;
        }
        let status = of("x-status").next().unwrap_or_else(|| "200".to_owned());
        let reply: String = of("x-reply").map(|field| format!("{field}\r\n")).collect();
        let reply = format!("HTTP/1.1 {status} Status\r\nX-Server: {name}\r\n{reply}");
        let seen = format!("{name} saw\r\n{}", fields.join("\r\n"));
        let answer = format!("{reply}Content-Length: {}\r\n\r\n{seen}", seen.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        early.clear();
    }
}

/// A server, by its name; its address.
fn server(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, name));
        }
    });
    address
}

impl Pair {
    /// By this configuration, in which `bind NAME` stands for an address, `S1`, `S2` for those of
    /// servers, `DEAD` for one where nobody listens, and `LOG` for that of the log.
    pub(crate) fn start(text: &str) -> Self {
        let dead = Reserved::new();
        let text = text
            .replace("S1", &server("s1").to_string())
            .replace("S2", &server("s2").to_string())
            .replace("DEAD", &dead.address().to_string());
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("bind "));
        let names: Vec<String> = names.map(str::to_owned).collect();
        let (theirs, ours) = (Side::new(&names), Side::new(&names));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, theirs.write(&text)).expect("writes");
        let haproxy = Command::new("/usr/sbin/haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("HAProxy is installed (cargo xtask test sees to it)");
        let source = Source { name: "ours.cfg".into(), text: ours.write(&text).into_bytes() };
        let (config, mut findings) = config::parse(&[source], Strictness::Strict, &|_| None);
        assert!(!findings.is_fatal(), "{findings}");
        let assembled = assemble(&config, &|_| Vec::new(), &|_| Vec::new(), &mut findings);
        let logger = Logger::new(logs(&config, &|_| Vec::new(), &mut findings));
        let engine = Engine::launch(assembled.settings, Arc::new(logger), Arc::new(Nobody));
        let engine = engine.expect("starts");
        let pair = Self { haproxy, engine, theirs, ours, _dead: dead, _folder: folder };
        let first = pair.theirs.ports.values().next().expect("one").address();
        until("HAProxy to listen", || TcpStream::connect(first).ok());
        // That connection is logged as one without a request.
        pair.theirs.line();
        pair
    }

    /// The same request to both.
    pub(crate) fn ask(&self, case: &Case) -> (Seen, Seen) {
        (self.theirs.ask(case), self.ours.ask(case))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self.haproxy.kill();
        let _ = self.haproxy.wait();
        self.engine.hard_stop();
        self.engine.join();
    }
}
