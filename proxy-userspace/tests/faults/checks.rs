//! Health checks of servers that are well, ill and odd, by both: the state, what it is put down to, and
//! the words of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::pair::Side;
use crate::support::netns::Netns;
use crate::support::ports::Reserved;
use crate::support::sockets::abort;
use crate::support::until::PATIENCE;

/// What a server does with a check: the kind, and what it answers.
const SERVERS: [(&str, &str); 10] = [
    ("well", "HTTP/1.0 200 OK\r\n\r\nall is well"),
    ("moved", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
    ("missing", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    ("broken", "HTTP/1.0 500 Broken thing\r\n\r\n"),
    ("half", "HTTP/1.0 20"),
    ("junk", "SSH-2.0-x\r\n"),
    ("empty", ""),
    ("reset", "reset"),
    ("mute", "mute"),
    ("banner", "220 hello\r\n"),
];

/// Backends: a name, the server, and the lines that say how it is checked.
const BACKENDS: [(&str, &str, &str); 26] = [
    ("http-well", "well", "option httpchk"),
    ("http-moved", "moved", "option httpchk"),
    ("http-missing", "missing", "option httpchk"),
    ("http-broken", "broken", "option httpchk"),
    ("http-half", "half", "option httpchk"),
    ("http-junk", "junk", "option httpchk"),
    ("http-empty", "empty", "option httpchk"),
    ("http-reset", "reset", "option httpchk"),
    ("http-mute", "mute", "option httpchk"),
    ("http-banner", "banner", "option httpchk"),
    ("http-refuses", "refuses", "option httpchk"),
    ("status", "missing", "option httpchk\n  http-check expect status 404"),
    ("no-status", "missing", "option httpchk\n  http-check expect ! status 404"),
    ("rstatus", "missing", "option httpchk\n  http-check expect rstatus ^4"),
    ("string", "well", "option httpchk\n  http-check expect string well"),
    ("no-string", "well", "option httpchk\n  http-check expect ! string well"),
    ("other-string", "well", "option httpchk\n  http-check expect string ill"),
    ("rstring", "well", "option httpchk\n  http-check expect rstring w[ae]ll"),
    ("connect-well", "well", ""),
    ("connect-mute", "mute", ""),
    ("connect-refuses", "refuses", ""),
    ("tcp-plain", "well", "option tcp-check"),
    ("tcp-send", "mute", "option tcp-check\n  tcp-check send hello"),
    ("tcp-expect", "banner", "option tcp-check\n  tcp-check expect string 220"),
    ("tcp-other", "banner", "option tcp-check\n  tcp-check expect string 500"),
    ("tcp-regex", "banner", "option tcp-check\n  tcp-check expect rstring ^5"),
];

/// Columns that tell of a check. `last_chk` is left out while HAProxy's next check runs.
const COLUMNS: [&str; 6] =
    ["status", "check_status", "check_code", "check_rise", "check_fall", "check_desc"];

fn serve(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    if answer.starts_with("220") {
        stream.write_all(answer.as_bytes())?;
    }
    let mut buffer = [0; 4096];
    if answer == "mute" || answer.starts_with("220") {
        while stream.read(&mut buffer)? > 0 {}
        return Ok(());
    }
    if stream.read(&mut buffer)? == 0 {
        return Ok(());
    }
    if answer == "reset" {
        abort(stream);
        return Ok(());
    }
    stream.write_all(answer.as_bytes())
}

/// A port for each kind of server.
fn servers(netns: &Netns) -> BTreeMap<&'static str, u16> {
    let start = |(kind, answer): (&'static str, &'static str)| {
        let listener = netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A check that is over ends the thread.
                std::thread::spawn(move || serve(stream, answer));
            }
        });
        (kind, port)
    };
    SERVERS.into_iter().map(start).collect()
}

/// What is known of each server, and what was logged of it, without times.
fn found(side: &Side, log: &mut BTreeSet<String>) -> BTreeMap<String, Vec<String>> {
    while let Some(line) = side.line(Duration::from_millis(1)) {
        let Some((_, words)) = line.split_once("Health check for server ") else { continue };
        let (before, after) = words.split_once("check duration: ").expect("a duration");
        let (_, after) = after.split_once(',').expect("a status");
        log.insert(format!("{before}{}", after.trim_end()));
    }
    let cells = |row: &BTreeMap<String, String>| {
        // `* ` stands before the status while a check runs.
        COLUMNS.map(|column| row[column].trim_start_matches("* ").to_owned()).to_vec()
    };
    let rows = side.rows();
    let of_servers = rows.iter().filter(|(name, _)| name.ends_with("/s"));
    of_servers.map(|(name, row)| (name.clone(), cells(row))).collect()
}

#[test]
fn checks_find_and_tell_the_same() {
    let netns = Netns::new();
    netns.ip("link set lo up");
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = netns.run(Reserved::new);
    let mut ports = servers(&netns);
    ports.insert("refuses", nobody.port());
    let mut sections = String::from(
        "defaults\n  mode http\n  log global\n  option log-health-checks\n  timeout client 5s\n\
         \x20 timeout server 5s\n  timeout connect 2s\n\
         \x20 default-server inter 300ms fall 2 rise 2\n",
    );
    for (name, server, lines) in BACKENDS {
        let port = ports[server];
        // Whoever answers late is late in the log for good.
        let time = if server == "mute" { "300ms" } else { "10s" };
        let _ = write!(
            sections,
            "backend {name}\n  timeout check {time}\n  {lines}\n  server s 127.0.0.1:{port} check\n"
        );
    }
    let side = |name| Side::start(&netns, folder.path(), name, &sections);
    let (haproxy, ours) = (side("haproxy"), side("teardown"));
    let (mut their_log, mut our_log) = (BTreeSet::new(), BTreeSet::new());
    let start = Instant::now();
    loop {
        let theirs = (found(&haproxy, &mut their_log), &their_log);
        let ours = (found(&ours, &mut our_log), &our_log);
        let checked = theirs.0.values().all(|cells| cells[1] != "INI");
        if checked && their_log.len() >= BACKENDS.len() && theirs == ours {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "HAProxy {theirs:#?}\nteardown {ours:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
