//! `teardown run -f haproxy.cfg`: the proxy serves, logs, checks, is asked and reloaded, with
//! Debian's HAProxy beside it for the shape of what it says.

mod checks;
mod choices;
mod commands;
mod gathered;
mod greeted_echo;
mod heard;
mod interim;
mod limits;
mod lines;
mod observe;
mod pace;
mod page;
mod proxy_lines;
mod reload;
mod requeue;
mod retried;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod track;
mod turned_away;
mod twins;

use rustix::process::Signal;
use stage::{Stage, start, start_with};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use support::packets::{FIN, Packet, SYN};
use support::process::{Lines, Process};
use support::runtime::ask;
use support::tcpdump::Tcpdump;
use support::until::{until, until_empty};
use support::watch::teardown;

#[test]
fn it_serves_by_its_rules_and_says_so_in_its_log() {
    let stage = Stage::new();
    let (mut daemon, _) = start(&stage, 8080);
    assert!(stage.get(8080, "/").ends_with("X-From: 127.0.0.1"));
    let line = stage.line();
    assert!(line.contains(" in web/w1 ") && line.ends_with("\"GET / HTTP/1.1\"\n"), "{line}");
    assert!(timers(&line).iter().all(|time| *time >= 0), "{line}");
    assert!(stage.get(8080, "/ping").ends_with("pong"));
    let line = stage.line();
    assert!(line.contains(" in in/<NOSRV> ") && line.contains(" 200 "), "{line}");
    let [request, queue, connect, response, total] = timers(&line);
    assert!(request >= 0 && total >= 0, "{line}");
    assert_eq!([queue, connect, response], [-1; 3], "{line}");
    assert!(stage.get(8080, "/secret/x").starts_with("HTTP/1.1 403 "));
    assert!(stage.line().contains(" 403 "));
    let other = "GET / HTTP/1.1\r\nHost: OTHER.example\r\nConnection: close\r\n\r\n";
    assert!(stage.request(8080, other).starts_with("HTTP/1.1 200 "));
    assert!(stage.line().contains(" in other/o1 "));
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn its_log_on_stdout_is_whole_when_it_ends() {
    let stage = Stage::new();
    let config = stage.configuration("ours", 8080);
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let log = |line: &str| line.trim_start().starts_with("log ");
    let text =
        text.lines().map(|line| if log(line) { "  log stdout format raw local0" } else { line });
    let text: Vec<&str> = text.chain([""]).collect();
    std::fs::write(&config, text.join("\n")).expect("a file");
    let mut command = teardown();
    command.arg("run").arg("--socket").arg(stage.path("own")).arg("-f").arg(&config);
    let mut daemon = Process::start(&stage.netns, command.stdout(Stdio::piped()));
    let lines = Lines::read(daemon.stdout());
    daemon.wait_for_words("watching");
    let mut asked = 0;
    until("a hundred answers", || {
        asked += usize::from(stage.get(8080, "/ping").ends_with("pong"));
        (asked == 100).then_some(())
    });
    without_capabilities(&daemon, "log-fd-1");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    let lines = lines.to_the_end();
    let of_requests = lines.iter().filter(|line| line.ends_with("\"GET /ping HTTP/1.1\""));
    assert_eq!(of_requests.count(), asked, "{lines:?}");
}

/// TR, Tw, Tc, Tr and Ta of a line, in milliseconds.
fn timers(line: &str) -> [i64; 5] {
    let field = line.split(' ').find(|field| field.split('/').count() == 5).expect("the times");
    let times: Vec<i64> = field.split('/').map(|time| time.parse().expect("a time")).collect();
    times.try_into().expect("five")
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
        let lines = of_requests(&ask(&own, "show closes --last 10000 --json"));
        (lines.len() == 4).then_some(lines)
    });
    assert!(live.iter().all(|line| line.contains("\"class\":\"traffic\",\"termination\":")));
    assert!(live.iter().any(|line| line.contains("\"status\":403,\"requests\":1,")), "{live:#?}");
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

/// Asserts that the threads whose names begin so have none; there must be some.
fn without_capabilities(daemon: &Process, name: &str) {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("its threads");
    let mut seen = 0;
    for task in tasks {
        let path = task.expect("a thread").path().join("status");
        // One that has ended meanwhile has none.
        let Ok(status) = std::fs::read_to_string(path) else { continue };
        if status.starts_with(&format!("Name:\t{name}")) {
            seen += 1;
            assert!(status.contains("CapPrm:\t0000000000000000"), "{status}");
            assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        }
    }
    assert!(seen > 0, "{name}");
}

#[test]
fn what_reads_the_network_has_no_capability() {
    let stage = Stage::new();
    let (mut daemon, _) = start(&stage, 8080);
    without_capabilities(&daemon, "http-");
    // Health checks and metrics.
    without_capabilities(&daemon, "unprivileged");
    // HAProxy's soft stop.
    daemon.signal(Signal::USR1);
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
    // The file is there before anybody listens.
    until("HAProxy to listen", || UnixStream::connect(&theirs).ok());
    until("HAProxy to see its backup down", || {
        ask(&theirs, "show stat").contains("Connection refused").then_some(())
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
        "downtime",
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
    // Each makes its checks in its own time.
    let compare = || {
        until_empty("statistics differ", || {
            let (a, b) = (rows(&ours), rows(&theirs));
            assert_eq!(a[0], b[0], "the columns");
            assert_eq!(a.len(), b.len());
            let column =
                |name: &str| a[0].iter().position(|it| it.trim_start_matches("# ") == name);
            let columns = same.map(|name| (name, column(name).expect("a column")));
            let status = column("status").expect("a column");
            let pairs = a.iter().zip(&b).skip(1).filter(|(row, _)| row.len() > 1);
            let differs = |(ours, theirs): (&Vec<String>, &Vec<String>)| {
                // The two started at different times, and are told what is done to servers one after
                // the other: whether there is any is the same while they are down. Of a second that
                // has begun one may count nothing.
                let is_down = ["DOWN", "MAINT"].iter().any(|word| theirs[status].starts_with(word));
                let unlike = |name: &str, at: usize| match name {
                    "downtime" => is_down && (ours[at] == "0") != (theirs[at] == "0"),
                    _ => ours[at] != theirs[at],
                };
                let differ = columns.into_iter().filter(|(name, at)| unlike(name, *at));
                let tell = |(name, at): (&str, usize)| {
                    format!("{}/{} {name}: {}, HAProxy {}", ours[0], ours[1], ours[at], theirs[at])
                };
                differ.map(tell).collect::<Vec<_>>()
            };
            pairs.flat_map(differs).collect()
        });
    };
    compare();
    let names = |socket: &Path| -> Vec<String> {
        let text = ask(socket, "show info");
        text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
    };
    let (our_names, their_names) = (names(&ours), names(&theirs));
    assert!(our_names.starts_with(&their_names), "{our_names:?} and {their_names:?}");
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
    for command in [
        "show servers state",
        "set server web/w1 state foo",
        "set server web/zz state ready",
        "set server no/w1 state ready",
        "set server web/w1 weight 999",
        "set weight web/w1 10x",
        "set weight other/o1 50%",
        "set maxconn server web/w1 x",
        "show cli level",
        "operator; show cli level; set weight web/w1 1",
        "user; show cli level",
        "user; operator; show cli level",
        "operator; operator; user; user; operator",
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
        "operator; clear counters",
        "operator; clear counters all",
        "clear counters all",
        "show backend",
        "disable frontend in",
        "disable frontend in",
        "enable frontend in",
        "enable frontend in",
    ] {
        let said = (plain(ask(&ours, command)), plain(ask(&theirs, command)));
        assert_eq!(said.0, said.1, "{command}");
        let paused = [&ours, &theirs].map(|socket| ask(socket, "show stat").contains(",PAUSED,"));
        assert_eq!(paused, [command == "disable frontend in"; 2], "{command}");
    }
    let sockets = ask(&ours, "show cli sockets");
    assert!(sockets.contains(&format!("\nunix@{} admin all\n", ours.display())), "{sockets}");
    // Who takes servers out counts as who finds them down.
    for command in [
        "set server web/w1 state maint",
        "set server web/w1 state ready",
        "set server web/w1 weight 0",
        "set server web/w1 weight 1",
        "set server other/o1 state drain",
        "set server other/o2 state ready",
        "set server other/o2 state maint",
        "set server web/w2 health stopping",
    ] {
        assert_eq!([&ours, &theirs].map(|socket| ask(socket, command)), ["\n", "\n"], "{command}");
        compare();
        let states = [&ours, &theirs].map(|socket| plain(ask(socket, "show servers state")));
        assert_eq!(states[0], states[1], "{command}");
    }
    haproxy.signal(Signal::TERM);
    haproxy.wait();
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
        // The kernel holds nothing back for longer than a fifth of a second: a proxy that has no
        // processor for so long is too late for that, and is asked again.
        until_empty("what should have travelled with data", || {
            let capture = Tcpdump::start(&stage.netns, "lo", [127, 0, 0, 1].into());
            assert!(stage.get(port, "/").ends_with("nobody"));
            let packets = capture.stop();
            let mut to_server = packets.iter().filter(|packet| packet.target == server);
            let after_syn = to_server.find(|packet| !packet.has(SYN)).expect("the handshake's ACK");
            assert!(smart || after_syn.payload == 0, "the ACK of the handshake: {packets:#?}");
            let of_proxy = |packet: &&Packet| packet.source.port() == port && packet.has(FIN);
            let last = packets.iter().find(of_proxy).expect("a FIN");
            let all = (after_syn.payload > 0) == smart && last.payload > 0;
            if all { Vec::new() } else { vec![format!("port {port}: {packets:#?}")] }
        });
    }
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}
