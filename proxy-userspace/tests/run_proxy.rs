//! `teardown run -f haproxy.cfg`: the proxy serves, logs, checks, is asked and reloaded, with
//! Debian's HAProxy beside it for the shape of what it says.

mod support;

use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::http::head;
use support::netns::Netns;
use support::packets::{FIN, SYN};
use support::process::Process;
use support::runtime::ask;
use support::tcpdump::Tcpdump;
use support::until::until;
use support::watch::teardown;

/// A network of its own, a server that answers its name, and a folder for files.
struct Stage {
    netns: Netns,
    folder: tempfile::TempDir,
    server: SocketAddr,
    log: UdpSocket,
}

impl Stage {
    fn new() -> Self {
        let netns = Netns::new();
        netns.ip("link set lo up");
        let listener = netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let log = netns.run(|| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        log.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let server = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
        Self { netns, folder: tempfile::tempdir().expect("a folder"), server, log }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration, for a proxy whose runtime socket is `socket`.
    fn configuration(&self, socket: &str, port: u16) -> PathBuf {
        let path = self.path(&format!("{socket}.cfg"));
        let text = format!(
            "global\n  stats socket {} level admin\n  maxconn 100\n\
             defaults\n  mode http\n  log {} len 2000 local0\n  option httplog\n\
             \x20 timeout connect 2s\n  timeout client 10s\n  timeout server 10s\n\
             frontend in\n  bind 127.0.0.1:{port}\n\
             \x20 http-request deny if {{ path_beg /secret }}\n\
             \x20 http-request return status 200 content-type text/plain string pong if {{ path /ping }}\n\
             \x20 http-request set-header X-From %[src]\n\
             \x20 use_backend other if {{ hdr(host) -i other.example }}\n  default_backend web\n\
             backend web\n  option httpchk GET /health\n\
             \x20 server w1 {} check inter 100ms\n  server w2 127.0.0.1:1 check inter 100ms backup\n\
             backend other\n  server o1 {}\n",
            self.path(socket).display(),
            self.log.local_addr().expect("bound"),
            self.server,
            self.server,
        );
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn request(&self, port: u16, head: &str) -> String {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = self.netns.run(|| TcpStream::connect(at).expect("it listens"));
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it closes");
        text
    }

    fn get(&self, port: u16, path: &str) -> String {
        self.request(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// The next log line of a session, without its header.
    fn line(&self) -> String {
        loop {
            let mut buffer = [0; 2_100];
            let length = self.log.recv(&mut buffer).expect("a line within ten seconds");
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

fn start(stage: &Stage, port: u16) -> (Process, PathBuf) {
    start_with(stage, port, &[])
}

fn start_with(stage: &Stage, port: u16, options: &[&str]) -> (Process, PathBuf) {
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

#[test]
fn it_serves_by_its_rules_and_says_so_in_its_log() {
    let stage = Stage::new();
    let (mut daemon, _) = start(&stage, 8080);
    assert!(stage.get(8080, "/").ends_with("X-From: 127.0.0.1"));
    let line = stage.line();
    assert!(line.contains(" in web/w1 0/0/") && line.ends_with("\"GET / HTTP/1.1\"\n"), "{line}");
    assert!(stage.get(8080, "/ping").ends_with("pong"));
    assert!(stage.line().contains(" in in/<NOSRV> 0/-1/-1/-1/0 200 "));
    assert!(stage.get(8080, "/secret/x").starts_with("HTTP/1.1 403 "));
    assert!(stage.line().contains(" 403 "));
    let other = "GET / HTTP/1.1\r\nHost: OTHER.example\r\nConnection: close\r\n\r\n";
    assert!(stage.request(8080, other).starts_with("HTTP/1.1 200 "));
    assert!(stage.line().contains(" in other/o1 "));
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn a_recording_keeps_what_it_said_of_each_connection() {
    let stage = Stage::new();
    let file = stage.path("closes.pcapng").display().to_string();
    let (mut daemon, _) = start_with(&stage, 8080, &["--write", &file]);
    for path in ["/", "/ping", "/secret/x"] {
        stage.get(8080, path);
    }
    let own = stage.path("own");
    // The requests' connections at both sides; checks go on meanwhile.
    let of_requests = |text: &str| {
        let mut lines: Vec<String> =
            text.lines().filter(|line| line.contains("\"GET\"")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let live = until("the closes", || {
        let lines = of_requests(&ask(&own, "show closes --last 100 --json"));
        (lines.len() == 4).then_some(lines)
    });
    assert!(live.iter().all(|line| line.contains("\"class\":\"traffic\",\"termination\":")));
    assert!(live.iter().any(|line| line.contains("\"status\":403,\"requests\":1}")), "{live:#?}");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    let explain = teardown().args(["explain", "--json", &file]).output().expect("it starts");
    let read = String::from_utf8_lossy(&explain.stdout).into_owned();
    assert_eq!(of_requests(&read), live);
    assert!(read.contains("\"class\":\"check\""), "{read}");
    let comments = std::fs::read(&file).expect("the file");
    let comment = b", ---- GET 200, ";
    assert!(comments.windows(comment.len()).any(|bytes| bytes == comment), "{live:#?}");
}

#[test]
fn its_workers_have_no_capability() {
    let stage = Stage::new();
    let (mut daemon, _) = start(&stage, 8080);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("its threads");
    let mut workers = 0;
    for task in tasks {
        let path = task.expect("a thread").path().join("status");
        let status = std::fs::read_to_string(path).expect("its status");
        if status.starts_with("Name:\thttp-") {
            workers += 1;
            assert!(status.contains("CapPrm:\t0000000000000000"), "{status}");
            assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        }
    }
    assert!(workers > 0);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn its_runtime_socket_speaks_as_haproxys_does() {
    let stage = Stage::new();
    let (mut daemon, _) = start(&stage, 8080);
    let mut haproxy = Command::new("haproxy");
    haproxy.arg("-db").arg("-f").arg(stage.configuration("theirs", 8081));
    let mut haproxy = Process::start(&stage.netns, &mut haproxy);
    let (ours, theirs) = (stage.path("ours"), stage.path("theirs"));
    until("HAProxy to see its backup down", || {
        (theirs.exists() && ask(&theirs, "show stat").contains("Connection refused")).then_some(())
    });
    for port in [8080, 8081] {
        stage.get(port, "/");
        stage.get(port, "/ping");
        stage.get(port, "/secret");
    }
    let rows = |socket: &Path| -> Vec<Vec<String>> {
        let text = ask(socket, "show stat");
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let (a, b) = (rows(&ours), rows(&theirs));
    assert_eq!(a[0], b[0], "the columns");
    assert_eq!(a.len(), b.len());
    let same = [
        "pxname",
        "svname",
        "qcur",
        "scur",
        "slim",
        "stot",
        "dreq",
        "dresp",
        "ereq",
        "econ",
        "eresp",
        "wretr",
        "wredis",
        "status",
        "weight",
        "act",
        "bck",
        "chkdown",
        "pid",
        "iid",
        "sid",
        "type",
        "check_status",
        "hrsp_2xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "req_tot",
        "check_desc",
        "check_rise",
        "check_fall",
        "check_health",
        "addr",
        "mode",
        "algo",
        "intercepted",
    ];
    for (ours, theirs) in a.iter().zip(&b).skip(1).filter(|(row, _)| row.len() > 1) {
        for name in same {
            let at = a[0].iter().position(|column| column.trim_start_matches("# ") == name);
            let at = at.expect("a column");
            assert_eq!(ours[at], theirs[at], "{name} of {}/{}", ours[0], ours[1]);
        }
    }
    let names = |socket: &Path| -> Vec<String> {
        let text = ask(socket, "show info");
        text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
    };
    let (our_names, their_names) = (names(&ours), names(&theirs));
    assert!(our_names.starts_with(&their_names), "{our_names:?} and {their_names:?}");
    for command in [
        "show servers state",
        "set server web/w1 state foo",
        "set server web/zz state ready",
        "set server no/w1 state ready",
        "set server web/w1 weight 999",
        "set server web/w1 weight 50%",
        "get weight web/w1",
        "set server web/w1 addr 127.0.0.1",
        "enable frontend nope",
        "set maxconn frontend in 50",
        "shutdown session 0x1",
        "shutdown sessions server web/zz",
        "set server web/w1 state maint",
        "disable server web/w2",
        "enable server web/w1",
        "clear counters all",
        "show backend",
    ] {
        let plain = |text: String| -> String {
            // Ages and the checks' own moments differ.
            let words = text.split('\n').map(|line| {
                let mut words: Vec<&str> = line.split(' ').collect();
                if words.len() > 20 && words[0] != "#" {
                    // From the time of the last change to the forced numbers.
                    words.drain(9..17);
                }
                words.join(" ")
            });
            words.collect::<Vec<_>>().join("\n")
        };
        let (ours, theirs) = (plain(ask(&ours, command)), plain(ask(&theirs, command)));
        assert_eq!(ours, theirs, "{command}");
    }
    haproxy.signal(Signal::TERM);
    haproxy.wait();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn a_reload_takes_what_is_right_and_leaves_what_is_wrong() {
    let stage = Stage::new();
    let (mut daemon, config) = start(&stage, 8080);
    let reload = || {
        let mut command = teardown();
        let output = command.arg("reload").arg("--socket").arg(stage.path("own")).output();
        output.expect("it starts")
    };
    let text = std::fs::read_to_string(&config).expect("the file");
    std::fs::write(&config, text.replace("string pong", "string PONG")).expect("a file");
    assert!(reload().status.success());
    assert!(stage.get(8080, "/ping").ends_with("PONG"));
    std::fs::write(&config, text.replace("mode http", "mode htpp")).expect("a file");
    let refused = reload();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("The old configuration runs on."), "{said}");
    assert!(stage.get(8080, "/ping").ends_with("PONG"));
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn what_can_travel_with_data_does() {
    let stage = Stage::new();
    let config = stage.path("carried.cfg");
    let server = stage.server;
    let text = format!(
        "defaults\n  mode http\n  timeout connect 2s\n  timeout client 10s\n  timeout server 10s\n\
         listen plain\n  bind 127.0.0.1:8081\n  server s {server}\n\
         listen smart\n  bind 127.0.0.1:8082\n  option tcp-smart-connect\n  server s {server}\n"
    );
    std::fs::write(&config, text).expect("a file");
    let mut command = teardown();
    command.arg("run").arg("--socket").arg(stage.path("own")).arg("-f").arg(&config);
    let mut daemon = Process::start(&stage.netns, &mut command);
    daemon.wait_for_words("watching");
    for (port, smart) in [(8081, false), (8082, true)] {
        let capture = Tcpdump::start(&stage.netns, "lo", [127, 0, 0, 1].into());
        assert!(stage.get(port, "/").ends_with("nobody"));
        let packets = capture.stop();
        let to_server = || packets.iter().filter(|packet| packet.target == server);
        let after_syn = to_server().find(|packet| !packet.has(SYN)).expect("the handshake's ACK");
        assert_eq!(after_syn.payload > 0, smart, "the ACK of the handshake: {packets:#?}");
        let last = packets.iter().find(|packet| packet.source.port() == port && packet.has(FIN));
        assert!(last.expect("a FIN").payload > 0, "the FIN to the client: {packets:#?}");
    }
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn fifty_reloads_by_sighup_lose_no_request() {
    const CLIENTS: usize = 4;
    let stage = Stage::new();
    let (mut daemon, _) = start(&stage, 8080);
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (stage, done, asked) = (&stage, &done, &asked);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    // Half of them ask several times on one connection.
                    if client % 2 == 0 {
                        assert!(stage.get(8080, "/").ends_with("X-From: 127.0.0.1"));
                    } else {
                        kept(stage, 8080);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 1..=50 {
            // Some requests between any two of them.
            let before = asked.load(Ordering::Relaxed);
            until("requests", || (asked.load(Ordering::Relaxed) > before + CLIENTS).then_some(()));
            daemon.signal(Signal::HUP);
            until("the reload", || {
                let lines = daemon.errors.all();
                let said =
                    lines.iter().filter(|line| line.contains("The configuration is in place"));
                (said.count() == round).then_some(())
            });
        }
        done.store(true, Ordering::Release);
    });
    assert!(asked.into_inner() >= 50 * CLIENTS);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

/// Five requests on one connection.
fn kept(stage: &Stage, port: u16) {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
    for _ in 0..5 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        let mut text = Vec::new();
        let mut byte = [0; 1];
        while !text.ends_with(b"\r\n\r\nX-From: 127.0.0.1") {
            let count = stream.read(&mut byte).expect("a response");
            assert_eq!(count, 1, "{}", String::from_utf8_lossy(&text));
            text.push(byte[0]);
        }
    }
}
