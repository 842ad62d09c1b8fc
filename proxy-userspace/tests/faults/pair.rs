//! Both proxies by the same configuration, and what each makes of a case.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cases::Case;
use crate::client::{Act, follow};
use crate::origin::{Mute, Origin};
use crate::support::netns::Netns;
use crate::support::ports::Reserved;
use crate::support::process::Process;
use crate::support::runtime::ask;
use crate::support::until::{PATIENCE, until};
use crate::support::watch::teardown;

/// Each section: its name, its lines, its servers' (`@` is the origin, `!` a port that refuses, `~` one
/// that never answers).
const SECTIONS: [(&str, &str, &[&str]); 26] = [
    ("ka", "", &["@"]),
    ("scl", "option http-server-close", &["@"]),
    ("never", "http-reuse never", &["@"]),
    ("abort", "option abortonclose", &["@"]),
    ("late", "timeout server 300ms", &["@"]),
    ("hurry", "timeout client 300ms", &["@"]),
    ("refused", "retries 2", &["!"]),
    ("redispatch", "option redispatch", &["!", "@"]),
    ("down", "", &["@ disabled"]),
    (
        "rules",
        "http-request deny if { path /no }\n  http-request return status 200 content-type text/plain \
         string yes if { path /yes }\n  http-request deny deny_status 404 hdr X-A b if { path /own }\n  \
         stats uri /stats",
        &["@"],
    ),
    ("one", "option http-server-close", &["@ maxconn 1"]),
    ("mute", "retries 0\n  timeout connect 1s", &["~"]),
    ("abort-mute", "option abortonclose\n  retries 0\n  timeout connect 1s", &["~"]),
    ("abort-one", "option http-server-close\n  option abortonclose", &["@ maxconn 1"]),
    ("hash", "option http-server-close\n  balance source", &["@ maxconn 1"]),
    ("tcp", "mode tcp\n  option tcplog", &["@"]),
    ("tcp-late", "mode tcp\n  option tcplog\n  timeout server 300ms", &["@"]),
    ("tcp-hurry", "mode tcp\n  option tcplog\n  timeout client 300ms", &["@"]),
    (
        "tcp-fin",
        "mode tcp\n  option tcplog\n  timeout client-fin 300ms\n  timeout server-fin 300ms",
        &["@"],
    ),
    ("tunnel", "timeout tunnel 300ms", &["@"]),
    ("tcp-tunnel", "mode tcp\n  option tcplog\n  timeout tunnel 300ms", &["@"]),
    ("head", "timeout http-request 300ms", &["@"]),
    ("keep", "timeout http-keep-alive 300ms", &["@"]),
    ("close", "option httpclose", &["@"]),
    ("tcp-refused", "mode tcp\n  option tcplog\n  retries 1", &["!"]),
    ("tcp-mute", "mode tcp\n  option tcplog\n  retries 0\n  timeout connect 1s", &["~"]),
];

/// Columns of `show stat` that count events.
const COLUMNS: [&str; 21] = [
    "stot",
    "req_tot",
    "conn_tot",
    "ereq",
    "dreq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "lbtot",
    "connect",
    "reuse",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "cli_abrt",
    "srv_abrt",
    "intercepted",
];

type Counts = BTreeMap<String, u64>;

/// Where each of `SECTIONS` listens.
type Ports = BTreeMap<&'static str, Reserved>;

/// One of the two.
pub(crate) struct Side {
    _process: Process,
    ports: Ports,
    log: UdpSocket,
    socket: PathBuf,
}

/// The two.
pub(crate) struct Pair {
    haproxy: Side,
    ours: Side,
    origin: Origin,
    _refuses: Reserved,
    _mute: Mute,
    netns: Netns,
    _folder: tempfile::TempDir,
}

impl Pair {
    pub(crate) fn start() -> Self {
        let netns = Netns::new();
        netns.ip("link set lo up");
        let folder = tempfile::tempdir().expect("a folder");
        let origin = netns.run(Origin::start);
        let mute = netns.run(Mute::start);
        let refuses = netns.run(Reserved::new);
        let servers = [origin.address, refuses.address(), mute.address];
        let side = |name: &str| {
            let ports = netns.run(|| SECTIONS.map(|(name, ..)| (name, Reserved::new()))).into();
            let sections = sections(&ports, servers);
            Side { ports, ..Side::start(&netns, folder.path(), name, &sections) }
        };
        let (haproxy, ours) = (side("haproxy"), side("teardown"));
        Self { haproxy, ours, origin, _refuses: refuses, _mute: mute, netns, _folder: folder }
    }

    /// Plays a case before both; an error tells the difference.
    pub(crate) fn play(&mut self, case: &Case) -> Result<(), String> {
        let (theirs, before) = self.act(&self.haproxy, case);
        let (ours, our_before) = self.act(&self.ours, case);
        let their_log = self.haproxy.lines(case.lines);
        let mut our_log = self.ours.lines(case.lines + usize::from(case.unanswered));
        let unanswered = case.unanswered.then(|| our_log.pop().unwrap_or_default());
        let mut wrong = String::new();
        let mut differs = |what: &str, theirs: &dyn std::fmt::Debug, ours: &dyn std::fmt::Debug| {
            let _ = writeln!(wrong, "  {what}\n    HAProxy  {theirs:?}\n    teardown {ours:?}");
        };
        if theirs != ours {
            differs("client", &theirs, &ours);
        }
        if their_log != our_log {
            differs("log", &their_log, &our_log);
        }
        if unanswered.as_ref().is_some_and(|line| !line.contains(" -1 SH-- ")) {
            differs("log of what is unanswered", &"", &unanswered);
        }
        if let Err((theirs, ours)) = self.counted_alike(case, &before, &our_before) {
            differs("counters", &theirs, &ours);
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("{}\n{wrong}", case.name)) }
    }

    /// What teardown alone logs of a case.
    pub(crate) fn log_of_ours(&self, case: &Case) -> Vec<String> {
        self.act(&self.ours, case);
        self.ours.lines(case.lines)
    }

    fn act(&self, side: &Side, case: &Case) -> (Vec<String>, Counts) {
        self.begin(case);
        let before = side.counts();
        let proxy = side.ports[case.listen].address();
        let attempts = format!("{}/s0 connect", case.listen);
        let queued = || {
            let rows = side.rows();
            ["s0", "BACKEND"]
                .iter()
                .any(|row| rows[&format!("{}/{row}", case.listen)]["qcur"] != "0")
        };
        let proxy_is = |act| {
            until(&format!("{act:?}"), || {
                let is = match act {
                    Act::Queued => queued(),
                    _ => side.counts()[&attempts] > before[&attempts],
                };
                is.then_some(())
            });
        };
        (self.netns.run(|| follow(&case.acts, proxy, &self.origin, proxy_is)), before)
    }

    /// Leaves nothing of the case before: neither connections that lines of the log would count, nor
    /// idle ones to the server that would be used again. Each proxy gives those up in its own time.
    fn begin(&self, case: &Case) {
        self.origin.release();
        for side in [&self.haproxy, &self.ours] {
            until("nobody to be left", || {
                let rows = side.rows();
                let idle = |(name, row): (&String, &BTreeMap<String, String>)| {
                    !name.starts_with(&format!("{}/", case.listen)) || row["scur"] == "0"
                };
                rows.iter().all(idle).then_some(())
            });
        }
        self.origin.close_idle();
    }

    /// Counters may follow the log's line by a moment.
    fn counted_alike(
        &self,
        case: &Case,
        theirs: &Counts,
        ours: &Counts,
    ) -> Result<(), (Vec<String>, Vec<String>)> {
        let start = std::time::Instant::now();
        loop {
            let theirs = self.haproxy.since(theirs, case);
            let ours = self.ours.since(ours, case);
            if theirs == ours {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err((theirs, ours));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Side {
    /// Starts `haproxy` or `teardown` with these sections.
    pub(crate) fn start(netns: &Netns, folder: &Path, name: &str, sections: &str) -> Self {
        let log = netns.run(|| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        let socket = folder.join(format!("{name}.sock"));
        let text = format!(
            "global\n  log {} local0\n  nbthread 1\n  stats socket {} level admin\n{sections}",
            log.local_addr().expect("bound"),
            socket.display()
        );
        let file = folder.join(format!("{name}.cfg"));
        std::fs::write(&file, text).expect("a file");
        let mut command = if name == "haproxy" {
            let mut command = Command::new("/usr/sbin/haproxy");
            command.arg("-db");
            command
        } else {
            let mut command = teardown();
            command.arg("run").arg("--socket").arg(folder.join("own"));
            command
        };
        command.arg("-f").arg(file).stdout(Stdio::null());
        let process = Process::start(netns, &mut command);
        until("the runtime socket", || UnixStream::connect(&socket).ok().map(drop));
        Self { _process: process, ports: Ports::new(), log, socket }
    }

    /// Rows of `show stat`: `proxy/row`, and its cells by column.
    pub(crate) fn rows(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let table = ask(&self.socket, "show stat");
        let mut lines = table.trim_start_matches("# ").lines();
        let names: Vec<_> = lines.next().expect("a head").split(',').collect();
        let row = |line: &str| {
            let cells = line.split(',').map(str::to_owned);
            let row: BTreeMap<_, _> =
                names.iter().map(|name| (*name).to_owned()).zip(cells).collect();
            (format!("{}/{}", row["pxname"], row["svname"]), row)
        };
        lines.filter(|line| !line.is_empty()).map(row).collect()
    }

    /// The counters of all rows, `proxy/row column` each.
    fn counts(&self) -> Counts {
        let count = |row: &str, cells: &BTreeMap<String, String>| {
            let count =
                |column: &&str| Some((format!("{row} {column}"), cells[*column].parse().ok()?));
            COLUMNS.iter().filter_map(count).collect::<Vec<_>>()
        };
        self.rows().iter().flat_map(|(row, cells)| count(row, cells)).collect()
    }

    /// What has been counted since `before`, without the columns that differ.
    fn since(&self, before: &Counts, case: &Case) -> Vec<String> {
        let counted = |key: &str| case.but.iter().all(|but| !key.ends_with(&format!(" {but}")));
        let added = |(key, now): (String, u64)| {
            let more = now - before.get(&key).copied().unwrap_or(0);
            (more > 0 && counted(&key)).then(|| format!("{key} {more}"))
        };
        self.counts().into_iter().filter_map(added).collect()
    }

    /// That many lines of sessions, and none more that is there already.
    fn lines(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let wait = if lines.len() < count { PATIENCE } else { Duration::from_millis(1) };
            match self.line(wait) {
                Some(line) if line.contains(" 127.0.0.1:") => lines.push(fields(&line)),
                Some(_) => {}
                None => return lines,
            }
        }
    }

    /// The next line of the log.
    pub(crate) fn line(&self, wait: Duration) -> Option<String> {
        let mut buffer = [0; 65536];
        self.log.set_read_timeout(Some(wait)).expect("a timeout");
        let length = self.log.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

/// A line of the log without its times, sizes and the connections of others.
fn fields(line: &str) -> String {
    let line = line.split_once("] ").expect("a date").1.trim_end();
    let (head, request) = line.split_once(" \"").unwrap_or((line, ""));
    let words: Vec<_> = head.split(' ').collect();
    let shown = |timer: &str| if timer == "-1" { "-1" } else { "n" };
    let timers: Vec<_> = words[2].split('/').map(shown).collect();
    let timers = timers[..timers.len() - 1].join("/");
    let http = words.len() > 7;
    let (status, state) = if http { (words[3], words[7]) } else { ("", words[4]) };
    let conns = words[if http { 8 } else { 5 }].split_once('/').expect("counts").1;
    let queues = words[if http { 9 } else { 6 }];
    let request = request.trim_end_matches('"');
    format!("{} {} {timers} {status} {state} {conns} {queues} {request}", words[0], words[1])
}

/// `servers` are the addresses of the origin, of nobody, and of one that is mute.
fn sections(ports: &Ports, servers: [SocketAddr; 3]) -> String {
    let mut text = String::from(
        "defaults\n  mode http\n  log global\n  option httplog\n  timeout client 10s\n\
         \x20 timeout server 10s\n  timeout connect 200ms\n  timeout queue 300ms\n",
    );
    for (name, lines, all) in SECTIONS {
        let _ = write!(text, "listen {name}\n  bind {}\n  {lines}\n", ports[name].address());
        for (index, server) in all.iter().enumerate() {
            let mut at = (*server).to_owned();
            for (sign, server) in ["@", "!", "~"].iter().zip(servers) {
                at = at.replace(sign, &server.to_string());
            }
            let _ = writeln!(text, "  server s{index} {at}");
        }
    }
    text
}
