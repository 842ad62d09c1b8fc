//! Debian's HAProxy and the engine by one configuration, and a server behind them that shows what it
//! gets.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use teardown::{
    assemble::{assemble, logs},
    config::{self, Strictness},
    http::{closes::Closes, engine::Engine, event::Log, syslog::Logger},
};

use crate::support::{
    http::head,
    ports::Reserved,
    talk::Talk,
    until::{PATIENCE, until},
};

/// How long the close of one proxy is waited for where the other has closed.
const LATE: Duration = Duration::from_secs(5);

/// What a client and a log saw of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Status line, sorted fields with names in lower case, body with its lines sorted.
    pub(crate) response: Vec<String>,
    pub(crate) is_closed: bool,
    /// Its log line, less what no two runs have in common.
    pub(crate) log: String,
}

impl Seen {
    fn new(talk: Talk, log: String) -> Self {
        Self { is_closed: talk.is_closed, response: talk.response(), log }
    }
}

/// One of the two.
struct One {
    ports: BTreeMap<String, Reserved>,
    log: UdpSocket,
}

/// The two.
pub(crate) struct Twins {
    haproxy: Child,
    engine: Engine,
    theirs: One,
    ours: One,
    _folder: tempfile::TempDir,
}

struct Nobody;

impl Closes for Nobody {}

impl One {
    fn new(names: &[&str]) -> Self {
        let log = UdpSocket::bind(("127.0.0.1", 0)).expect("binds");
        log.set_read_timeout(Some(PATIENCE)).expect("sets");
        let ports = names.iter().map(|name| ((*name).to_owned(), Reserved::new())).collect();
        Self { ports, log }
    }

    /// The configuration with addresses for `@NAME`, `@origin` and `@log`, and a folder for `@folder`.
    fn configuration(&self, text: &str, origin: SocketAddr, folder: &Path) -> String {
        let log = self.log.local_addr().expect("bound");
        let mut text = format!(
            "global\n  log @log local0\n  nbthread 1\n\
             defaults\n  mode http\n  log global\n  option httplog\n  timeout client 10s\n\
             \x20 timeout server 10s\n  timeout connect 10s\n{text}"
        );
        for (name, port) in &self.ports {
            text = text.replace(&format!("@{name} "), &format!("{} ", port.address()));
            text = text.replace(&format!("@{name}\n"), &format!("{}\n", port.address()));
        }
        text.replace("@origin", &origin.to_string())
            .replace("@log", &log.to_string())
            .replace("@folder", &folder.display().to_string())
    }

    fn line(&self) -> String {
        let mut buffer = [0; 65536];
        let count = self.log.recv(&mut buffer).expect("a line in time");
        masked(String::from_utf8_lossy(&buffer[..count]).trim_end_matches(['\n', '\0']))
    }

    fn talk(&self, listen: &str, request: &[u8]) -> Talk {
        Talk::new(self.ports[listen].address(), request)
    }
}

impl Twins {
    /// Starts both by `text`, which has a `bind @NAME` for each of `names`. `files` are written before.
    pub(crate) fn start(names: &[&str], text: &str, files: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let origin = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("writes");
        }
        let (theirs, ours) = (One::new(names), One::new(names));
        let [their_file, our_file] =
            [(&theirs, "theirs.cfg"), (&ours, "ours.cfg")].map(|(one, name)| {
                let file = folder.path().join(name);
                std::fs::write(&file, one.configuration(text, origin, folder.path()))
                    .expect("writes");
                file
            });
        let (config, mut findings) = config::load(&[our_file], Strictness::Strict).expect("reads");
        assert!(!findings.is_fatal(), "{findings}");
        let nobody = |_: &str| Vec::new();
        let assembled = assemble(&config, &nobody, &|_| Vec::new(), &mut findings);
        let logger = Logger::new(logs(&config, &nobody, &mut findings));
        assert!(!findings.is_fatal(), "{findings}");
        let log: Arc<dyn Log> = Arc::new(logger);
        let haproxy = Command::new("/usr/sbin/haproxy")
            .args(["-db", "-f"])
            .arg(their_file)
            .stdout(Stdio::null())
            .spawn()
            .expect("HAProxy is installed (cargo xtask test sees to it)");
        let engine = Engine::launch(assembled.settings, log, Arc::new(Nobody)).expect("starts");
        let twins = Self { haproxy, engine, theirs, ours, _folder: folder };
        let first = twins.theirs.ports[names[0]].address();
        until("HAProxy to listen", || TcpStream::connect(first).ok());
        // That connection is logged as one without a request.
        twins.theirs.line();
        twins
    }

    /// The same request to both: what was seen of HAProxy, and of the engine.
    pub(crate) fn ask(&self, listen: &str, request: &str) -> (Seen, Seen) {
        let mut theirs = self.theirs.talk(listen, request.as_bytes());
        let their_line = self.theirs.line();
        let mut ours = self.ours.talk(listen, request.as_bytes());
        let our_line = self.ours.line();
        if theirs.is_closed != ours.is_closed {
            // One that has lost its processor closes later.
            theirs.read(LATE);
            ours.read(LATE);
        }
        (Seen::new(theirs, their_line), Seen::new(ours, our_line))
    }

    /// Asserts that both do the same with these requests, sent together on one connection: bodies alone
    /// are compared, and log lines.
    pub(crate) fn same_together(&self, listen: &str, requests: &[String]) {
        let [theirs, ours] = [&self.theirs, &self.ours].map(|one| {
            let mut stream = TcpStream::connect(one.ports[listen].address()).expect("connects");
            stream.set_read_timeout(Some(PATIENCE)).expect("sets");
            let last = requests.len() - 1;
            for (at, request) in requests.iter().enumerate() {
                let close = "\r\nConnection: close\r\n\r\n";
                let bytes =
                    request.trim_end().to_owned() + if at == last { close } else { "\r\n\r\n" };
                stream.write_all(bytes.as_bytes()).expect("sends");
            }
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("it closes");
            let lines: Vec<String> = text.lines().map(str::to_ascii_lowercase).collect();
            let shown = |line: &&String| line.starts_with("x-") || line.starts_with("http/");
            let mut seen: Vec<_> = lines.iter().filter(shown).cloned().collect();
            seen.extend(requests.iter().map(|_| one.line()));
            seen
        });
        assert_eq!(theirs, ours, "{requests:?}");
    }

    /// Asserts that both do the same with each of these requests.
    pub(crate) fn same(&self, listen: &str, requests: &[String]) {
        let mut wrong = Vec::new();
        for request in requests {
            let (theirs, ours) = self.ask(listen, request);
            if theirs != ours {
                wrong.push(format!("{request:?}\n  HAProxy {theirs:?}\n  engine  {ours:?}"));
            }
        }
        let all = requests.len();
        assert!(wrong.is_empty(), "{} of {all} differ:\n{}", wrong.len(), wrong.join("\n"));
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

/// A GET for each of these targets.
pub(crate) fn gets<'a>(targets: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let get = |target| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    targets.into_iter().map(get).collect()
}

/// A line of `option httplog` without ports, dates, times, bytes and the connections of the process.
fn masked(line: &str) -> String {
    let (header, text) = line.split_once("]: ").unwrap_or(("", line));
    let level = header.split_once('>').map_or("", |(level, _)| level);
    let words: Vec<&str> = text.split(' ').collect();
    if words.len() < 12 || !words[1].starts_with('[') {
        return format!("{level}> {text}");
    }
    let shown = |timer: &str| if timer == "-1" { "-1" } else { "n" };
    let timers: Vec<_> = words[4].split('/').map(shown).collect();
    let counts = words[10].split_once('/').map_or("", |(_, rest)| rest);
    format!(
        "{level}> {} {} {} {} {} {counts} {}",
        words[2],
        words[3],
        timers.join("/"),
        words[5],
        words[7..10].join(" "),
        words[11..].join(" ")
    )
}

/// Answers every request with its head, its fields sorted, and its body.
fn serve(mut stream: TcpStream) {
    while let Some(head) = head(&mut stream) {
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.split('\r').next()?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let mut lines = head.lines().filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default().to_owned();
        let mut fields: Vec<String> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or((line, ""));
                format!("{}: {value}", name.to_ascii_lowercase())
            })
            .collect();
        fields.sort_unstable();
        let echo = format!("{first}\n{}\n{}", fields.join("\n"), String::from_utf8_lossy(&body));
        let case = fields.iter().find(|field| field.starts_with("x-case: ")).cloned();
        let case = case.map_or(String::new(), |case| format!("{case}\r\n"));
        let status = if first.contains("/404") { "404 Not Found" } else { "200 OK" };
        let response = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nX-Srv: a,b, c\r\nx-srv: d\r\n\
             Set-Cookie: x=1; path=/\r\nLocation: http://inner/x\r\n{case}\r\n{}",
            echo.len(),
            if first.starts_with("HEAD") { "" } else { &echo }
        );
        if stream.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}
