//! The configuration that the thread was about, as it was posted: its first line had been lost, and
//! with it `global`. Only addresses, user, group, chroot and pidfile are other ones.

use crate::clients::Client;
use crate::servers::Kind;
use crate::stage::Stage;
use crate::support::process::Process;
use crate::support::until::{PATIENCE, until};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::mpsc;

const POSTED: &str = include_str!("thread.cfg");

/// Requests of one run.
const REQUESTS: usize = 20;

/// Where the proxy is played, beside the network: its chroot, and who hears its log.
pub(crate) struct Host {
    pub(crate) stage: Stage,
    log: mpsc::Receiver<String>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let stage = Stage::new();
        std::fs::create_dir(stage.path("jail")).expect("a folder");
        let socket = UnixDatagram::bind(stage.path("log")).expect("a socket");
        let (tell, log) = mpsc::channel();
        // At once, as the system's log does: such a socket holds ten lines, and more are lost.
        std::thread::spawn(move || {
            let mut line = vec![0; 4096];
            while let Ok(length) = socket.recv(&mut line)
                && tell.send(String::from_utf8_lossy(&line[..length]).trim_end().into()).is_ok()
            {
            }
        });
        Self { stage, log }
    }

    /// The configuration for this host; `close` goes to the servers.
    pub(crate) fn config(&self, close: &str) -> String {
        let path = |name: &str| self.stage.path(name).display().to_string();
        let server =
            |kind: Kind| SocketAddr::new(self.stage.topology.backend_addr, kind.port()).to_string();
        POSTED
            .replace("/dev/log", &path("log"))
            .replace("/var/lib/haproxy", &path("jail"))
            .replace("/var/run/haproxy.pid", &path("pid"))
            .replace("user    haproxy", "user    nobody")
            .replace("group   haproxy", "group   nogroup")
            .replace("x.x.x.x", &self.stage.topology.front_addr.to_string())
            // One closes well, the other is the dodgy one.
            .replace("webservice1:80", &server(Kind::WithData))
            .replace("webservice2:80", &server(Kind::Never))
            .replace("inter 30s", &format!("inter 30s{close}"))
    }

    /// Asks; the server of each path as the log tells it.
    pub(crate) fn ask(&self) -> BTreeMap<String, String> {
        let proxy = SocketAddr::new(self.stage.topology.front_addr, 80);
        for at in 0..REQUESTS {
            let path = format!("/{at}");
            let text = Client::Http10.ask(&self.stage.topology, proxy, &path);
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("ok"), "{text}");
        }
        let next = || self.log.recv_timeout(PATIENCE).expect("a line of its log");
        let lines = std::iter::repeat_with(next);
        let sessions = lines.filter(|line| line.contains("] webservice webservice/"));
        let told = |line: String| {
            // local2 is 18, info is 6.
            assert!(line.starts_with("<150>"), "{line}");
            assert!(line.contains(" 200 ") && line.contains(" - - ---- "), "{line}");
            let server = line.split("webservice/").nth(1).and_then(|rest| rest.split(' ').next());
            let path =
                line.split("\"GET ").nth(1).and_then(|rest| rest.strip_suffix(" HTTP/1.0\""));
            let (server, path) = server.zip(path).unwrap_or_else(|| panic!("{line}"));
            (path.to_owned(), server.to_owned())
        };
        sessions.take(REQUESTS).map(told).collect()
    }

    /// Every request's close, and the first check's: `good` is how w1's look.
    pub(crate) fn judge(&self, servers: &BTreeMap<String, String>, good: &str) {
        // The first check begins with the proxy, and may take its time.
        let closes = until("the first check's close", || {
            self.stage.wait_for_the_end();
            Some(self.stage.closes()).filter(|closes| closes.contains_key("/healthcheck"))
        });
        for (path, server) in servers {
            let expected = if server == "w1" { good } else { "pR" };
            assert_eq!(closes[path], [expected], "{path} of {server}");
        }
        let of_w1 = servers.values().filter(|server| *server == "w1").count();
        assert_eq!((servers.len(), of_w1), (REQUESTS, REQUESTS / 2), "{servers:?}");
        assert_eq!(closes["/healthcheck"][0], "sF pF", "{:?}", closes["/healthcheck"]);
    }

    pub(crate) fn stop(&self, proxy: &mut Process) {
        proxy.signal(Signal::TERM);
        assert!(proxy.wait().success());
    }
}

pub(crate) fn say(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// A line of `/proc/PID/status`.
pub(crate) fn status(pid: u32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.expect("a line").trim().to_owned()
}

#[test]
fn it_serves_as_it_stands() {
    let host = Host::new();
    let mut proxy = host.stage.teardown(&host.config(""));
    let screen = proxy.errors.all();
    assert!(screen[0].contains("[WARNING]") && screen[0].contains("line 'global' is missing"));
    assert!(!screen.iter().any(|line| line.contains("[ALERT]")), "{screen:#?}");

    let servers = host.ask();
    host.judge(&servers, "sF pF");

    let pid = proxy.pid();
    let pidfile = std::fs::read_to_string(host.stage.path("pid")).expect("the pidfile");
    assert_eq!(pidfile.trim(), pid.to_string());
    let root = std::fs::read_link(format!("/proc/{pid}/root")).expect("its root");
    assert_eq!(root, host.stage.path("jail").canonicalize().expect("the jail"));
    assert!(!status(pid, "Uid").split_whitespace().any(|id| id == "0"));
    assert!(!status(pid, "Gid").split_whitespace().any(|id| id == "0"));

    let stats = host.stage.path("jail/stats");
    let rows = say(&stats, "show stat");
    for row in ["webservice,FRONTEND,", "webservice,w1,", "webservice,w2,", "webservice,BACKEND,"] {
        assert!(rows.lines().any(|line| line.starts_with(row)), "{row} in {rows}");
    }
    let frontend = rows.lines().find(|line| line.starts_with("webservice,FRONTEND,"));
    let total = frontend.and_then(|line| line.split(',').nth(7).map(str::to_owned));
    assert_eq!(total.as_deref(), Some(REQUESTS.to_string().as_str()), "{rows}");

    // In its chroot it sees closes as anywhere.
    let tail = until("every close in the tail", || {
        let text = say(&host.stage.path("socket"), "show closes --last 100");
        (text.matches("GET 200").count() >= 2 * REQUESTS).then_some(text)
    });
    for (server, how) in [("webservice/w1", "resp fin     fin"), ("webservice/w2", "orig rst_ack")]
    {
        let line = |line: &&str| line.contains(server) && line.contains("GET 200");
        assert_eq!(tail.lines().filter(line).count(), REQUESTS / 2, "{tail}");
        assert!(tail.lines().filter(line).all(|line| line.contains(how)), "{tail}");
    }
    host.stop(&mut proxy);
}

/// What its author asked for: to have the closes of 1.4 back, for his production traffic.
#[test]
fn its_closes_are_those_of_either_version_for_the_asking() {
    for (close, good) in
        [(" close like haproxy-1.4", "sF pR"), (" close like haproxy-1.5", "sF pF")]
    {
        let host = Host::new();
        let mut proxy = host.stage.teardown(&host.config(close));
        let servers = host.ask();
        host.judge(&servers, good);
        host.stop(&mut proxy);
    }
}
