//! The PROXY protocol, heard from clients and said to servers, with HAProxy beside.

use crate::greeted_echo::echo;
use crate::stage::Stage;
use crate::support::http::head;
use crate::support::runtime::ask;
use crate::support::until::{PATIENCE, until};
use crate::twins::Twins;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &str = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n";

/// 192.0.2.1:1000 to 192.0.2.2:80.
const ENDS: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 0, 80];

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn connect(stage: &Stage, port: u16) -> TcpStream {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let stream = stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    stream
}

/// What comes until the end, or that it is a reset.
fn rest(mut stream: impl Read) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => String::from_utf8_lossy(&all).into_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// What cannot be alike taken off: dates, the client's own port, the order and case of fields.
fn plain(text: &str, own: u16) -> String {
    let text = text.replace(&format!(":{own}"), ":OWN").replace(&format!(" {own} "), " OWN ");
    let date = text.split_once(" [").and_then(|(_, rest)| rest.split_once(']'));
    let text = date.map_or(text.clone(), |(date, _)| text.replace(date, "DATE"));
    let mut lines: Vec<_> = text.lines().map(str::to_ascii_lowercase).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// A log line without how many connections there were: who sees the last one closed may come before that
/// is counted.
fn uncounted(line: &str) -> String {
    let is_counts = |word: &str| {
        let numbers = word.split('/').collect::<Vec<_>>();
        numbers.len() == 5 && numbers.iter().all(|number| number.parse::<u32>().is_ok())
    };
    line.split(' ')
        .map(|word| if is_counts(word) { "COUNTS" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

/// One answer of the echo: its body.
fn answer(stream: &mut TcpStream) -> String {
    let head = head(stream).expect("an answer");
    let length = head.to_ascii_lowercase();
    let length = length.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
    let mut body = vec![0; length.and_then(|text| text.parse().ok()).expect("a length")];
    stream.read_exact(&mut body).expect("a body");
    String::from_utf8(body).expect("text")
}

fn accepting(stage: &Stage, which: u16) -> String {
    let server = echo(stage);
    format!(
        " option forwardfor\n\
         frontend in\n bind 127.0.0.1:{} accept-proxy name door\n option httpclose\n\
         \x20 http-request set-header X-Ends \"%[src]:%[src_port] %[dst]:%[dst_port]\"\n\
         \x20 http-request deny if {{ src 203.0.113.0/24 }}\n\
         \x20 log-format \"%ci:%cp [%tr] %fi:%fp %ST %ts %b/%s %fc %r\"\n default_backend web\n\
         frontend quick\n bind 127.0.0.1:{} accept-proxy\n timeout client 200ms\n\
         \x20 option log-separate-errors\n option httplog\n default_backend web\n\
         backend web\n server s {server}\n",
        8080 + which,
        8090 + which
    )
}

#[test]
fn the_client_is_who_the_line_names() {
    let twins = Twins::start(accepting);
    let request = REQUEST.as_bytes();
    let greeted = |line: &[u8]| [line, request].concat();
    let crc = [ENDS, &[3, 0, 4, 1, 2, 3, 4]].concat();
    let cases: Vec<Vec<u8>> = vec![
        greeted(V1.as_bytes()),
        greeted(b"PROXY TCP4 203.0.113.9 192.0.2.2 1000 80\r\n"),
        greeted(b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 80\r\n"),
        greeted(b"PROXY UNKNOWN\r\n"),
        greeted(b"PROXY UNKNOWN ::1 ::1 1 2\r\n"),
        greeted(b"PROXY TCP5 192.0.2.1 192.0.2.2 1000 80\r\n"),
        greeted(b"PROXY TCP4 192.0.2.1  192.0.2.2 1000 80\r\n"),
        greeted(b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 80\r\n"),
        greeted(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\n"),
        b"PROXY TCP4 192.0.2.1 192.".to_vec(),
        b"PRO".to_vec(),
        greeted(b""),
        greeted(&v2(0x21, 0x11, ENDS)),
        greeted(&v2(0x20, 0x11, ENDS)),
        greeted(&v2(0x20, 0, &[])),
        greeted(&v2(0x21, 0, &[])),
        greeted(&v2(0x21, 0x12, ENDS)),
        greeted(&v2(0x21, 0x31, &[0; 216])),
        greeted(&v2(0x21, 0x11, &ENDS[..11])),
        greeted(&v2(0x22, 0x11, ENDS)),
        greeted(&v2(0x11, 0x11, ENDS)),
        greeted(&v2(0x21, 0x11, &[ENDS, &[4, 0, 2, 1, 2]].concat())),
        v2(0x21, 0x11, ENDS)[..20].to_vec(),
        Vec::new(),
    ];
    for (index, case) in cases.iter().enumerate() {
        let ports_and_answers = [0, 1].map(|which| {
            let mut stream = connect(&twins.stage, 8080 + which);
            let own = stream.local_addr().expect("bound").port();
            stream.write_all(case).expect("it reads");
            if case.is_empty() {
                stream.shutdown(std::net::Shutdown::Write).expect("it is there");
            }
            (own, plain(&rest(stream), own).replace(&format!(":{}", 8080 + which), ":DOOR"))
        });
        let [ours, theirs] = ports_and_answers;
        // The number of the echo's connection is not the same.
        let number = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with("connection "));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(number(&ours.1), number(&theirs.1), "answers to {index}");
        let [our_line, their_line] = twins.lines("[");
        let line = |text: &str, own, which: u16| {
            uncounted(&plain(text, own)).replace(&format!(":{}", 8080 + which), ":DOOR")
        };
        let lines = (line(&our_line, ours.0, 0), line(&their_line, theirs.0, 1));
        assert_eq!(lines.0, lines.1, "lines of {index}");
    }
    // HAProxy says so of the named client, and closes alike.
    let [ours, theirs] = [0, 1].map(|which| {
        let mut stream = connect(&twins.stage, 8080 + which);
        stream.write_all(&greeted(&v2(0x21, 0x11, &crc))).expect("it reads");
        rest(stream)
    });
    assert_eq!(ours, theirs);
    for line in twins.lines("in/door") {
        assert!(line.ends_with("Received an invalid PROXY protocol header"), "{line}");
    }
    sessions_count(&twins, u64::try_from(cases.len()).expect("few") + 1);
    silence(&twins);
    twins.end();
}

/// Sessions are those who were named, connections all. Who sees its connection closed may ask before that
/// is counted.
fn sessions_count(twins: &Twins, connections: u64) {
    until("both to have counted all", || {
        let [ours, theirs] = twins.ask("show stat").map(|text| counts(&text));
        (ours == theirs && ours[1] == connections.to_string()).then_some(())
    });
}

/// The frontend's sessions and connections since the start, and its sessions now.
fn counts(text: &str) -> [String; 3] {
    let names = text.lines().next().unwrap_or_default();
    let row = text.lines().find(|row| row.starts_with("in,FRONTEND")).expect("a row");
    ["stot", "conn_tot", "scur"].map(|name| {
        let at = names.split(',').position(|it| it.trim_start_matches("# ") == name);
        row.split(',').nth(at.expect("a column")).expect("a cell").to_owned()
    })
}

/// Who says nothing is closed after `timeout client`.
fn silence(twins: &Twins) {
    let streams = [0, 1].map(|which| connect(&twins.stage, 8090 + which));
    let ports = streams.each_ref().map(|stream| stream.local_addr().expect("bound").port());
    for stream in streams {
        assert_eq!(rest(stream), "");
    }
    let lines = twins.lines("quick/1");
    let [ours, theirs] = [0, 1].map(|which| plain(&lines[which], ports[which]));
    assert_eq!(ours, theirs);
    assert_eq!(
        ours,
        "<131> 127.0.0.1:own [date] quick/1: timeout while waiting for proxy protocol header"
    );
}

#[test]
fn a_line_may_come_long_before_the_request() {
    let twins = Twins::start(accepting);
    for which in 0..2 {
        let mut stream = connect(&twins.stage, 8080 + which);
        stream.write_all(V1.as_bytes()).expect("it reads");
        if which == 0 {
            // It is read by now, and shown.
            until("the named client", || {
                let sessions = twins.ask("show sess")[0].clone();
                sessions.contains("src=192.0.2.1:1000").then_some(())
            });
        }
        stream.write_all(REQUEST.as_bytes()).expect("it reads");
        let text = answer(&mut stream).to_ascii_lowercase();
        assert!(text.contains("x-forwarded-for: 192.0.2.1\r\n"), "{text}");
    }
    twins.end();
}

fn sending(stage: &Stage, which: u16) -> String {
    let server = echo(stage);
    let port = |base: u16| base + which;
    format!(
        " http-reuse always\n\
         listen v1\n bind 127.0.0.1:{}\n server s {server} send-proxy\n\
         listen v2\n bind 127.0.0.1:{}\n server s {server} send-proxy send-proxy-v2\n\
         listen bytes\n mode tcp\n bind 127.0.0.1:{}\n server s {server} send-proxy\n\
         listen passed\n bind 127.0.0.1:{} accept-proxy\n server s {server} send-proxy\n\
         listen path1\n bind {} name p\n server s {server} send-proxy\n\
         listen path2\n bind {} name p\n server s {server} send-proxy-v2\n\
         listen plain\n bind 127.0.0.1:{}\n default-server send-proxy send-proxy-v2\n\
         \x20 server s {server} no-send-proxy no-send-proxy-v2\n\
         global\n nbthread 1\n",
        port(8000),
        port(8010),
        port(8020),
        port(8030),
        stage.path(&format!("path1.{which}")).display(),
        stage.path(&format!("path2.{which}")).display(),
        port(8040),
    )
}

/// Each body without what the two cannot have alike: a client's own port.
fn said(stream: &mut TcpStream, request: &str) -> String {
    let own = stream.local_addr().expect("bound").port();
    stream.write_all(request.as_bytes()).expect("it reads");
    let listens = stream.peer_addr().expect("connected").port();
    let text = answer(stream).replace(&format!(" {listens}\r"), " LISTENS\r");
    plain(&text.replace(&format!("{listens:04x}"), "LISTENS"), own)
}

#[test]
fn a_server_hears_whose_connection_it_is() {
    let twins = Twins::start(sending);
    let seen = [0, 1].map(|which| {
        let mut seen = Vec::new();
        for base in [8000, 8010, 8020, 8040] {
            let mut first = connect(&twins.stage, base + which);
            seen.push(said(&mut first, REQUEST));
            // The same client again: the same connection.
            seen.push(said(&mut first, REQUEST));
            // Another client: another connection, though the first one is idle.
            let mut second = connect(&twins.stage, base + which);
            seen.push(said(&mut second, REQUEST));
        }
        let mut stream = connect(&twins.stage, 8030 + which);
        seen.push(said(&mut stream, &format!("{V1}{REQUEST}")));
        // The client's own ends are no longer there, but another proxy's client is the same one.
        let mut stream = connect(&twins.stage, 8030 + which);
        seen.push(said(&mut stream, &format!("{V1}{REQUEST}")));
        for path in ["path1", "path2"] {
            let path = twins.stage.path(&format!("{path}.{which}"));
            let mut stream = UnixStream::connect(path).expect("it listens");
            let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).expect("it reads");
            seen.push(plain(&rest(stream), 0));
        }
        seen
    });
    let [ours, theirs] = seen;
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "{index}");
    }
    assert!(ours[0].contains("proxy tcp4 127.0.0.1 127.0.0.1 own listens"), "{}", ours[0]);
    assert!(!ours[1].contains("proxy"), "{}", ours[1]);
    let number =
        |text: &str| text.lines().find(|line| line.starts_with("connection")).map(str::to_owned);
    assert_eq!(number(&ours[0]), number(&ours[1]));
    assert_ne!(number(&ours[0]), number(&ours[2]));
    // One that was named is one client, however it came.
    assert_eq!(number(&ours[12]), number(&ours[13]));
    assert!(ours[9..12].iter().all(|text| !text.contains("proxy")), "{ours:?}");
    twins.end();
}

/// Lines of a backend, and words of its server, whose port is `PORT`. A check of HAProxy's that sends
/// nothing is reset before the server has accepted it.
const CHECKS: &[(&str, &str)] = &[
    ("", "send-proxy"),
    ("", "send-proxy-v2"),
    ("option tcp-check\n tcp-check send x", "send-proxy port PORT"),
    ("", "check-send-proxy"),
    ("", "send-proxy-v2 port PORT check-send-proxy"),
    ("", "send-proxy no-check-send-proxy"),
    ("option tcp-check\n tcp-check send x", "check-send-proxy no-check-send-proxy"),
    ("option httpchk", "send-proxy"),
    ("option httpchk", "send-proxy-v2"),
    ("option httpchk", "check-send-proxy send-proxy-v2 addr 127.0.0.1"),
    ("option tcp-check\n tcp-check connect\n tcp-check send x", "send-proxy"),
    ("option tcp-check\n tcp-check connect default\n tcp-check send x", "send-proxy"),
    ("option tcp-check\n tcp-check connect send-proxy\n tcp-check send x", ""),
    ("option httpchk\n http-check connect send-proxy", "send-proxy-v2"),
];

#[test]
fn checks_say_whose_connections_they_are() {
    let seen: [Arc<Mutex<Vec<Vec<String>>>>; 2] = Default::default();
    let twins = Twins::start(|stage, which| {
        let seen = &seen[usize::from(which)];
        *seen.lock().expect("unpoisoned") = vec![Vec::new(); CHECKS.len()];
        let mut text = format!("listen in\n bind 127.0.0.1:{}\n", 8080 + which);
        for (index, (lines, words)) in CHECKS.iter().enumerate() {
            let listener =
                stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
            let port = listener.local_addr().expect("bound").port();
            let seen = Arc::clone(seen);
            std::thread::spawn(move || {
                while let Ok((mut stream, peer)) = listener.accept() {
                    let peer = peer.port();
                    let (mut all, mut buffer) = (Vec::new(), [0; 4_096]);
                    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        all.extend_from_slice(&buffer[..count]);
                        let is_v2 = all.starts_with(SIGNATURE);
                        if all[if is_v2 { 12 } else { 0 }..].ends_with(b"\r\n\r\n") {
                            let _ =
                                stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
                        }
                    }
                    let text = String::from_utf8_lossy(&all);
                    let text = text.replace(&format!(" {peer} {port}\r"), " FROM TO\r");
                    seen.lock().expect("unpoisoned")[index].push(text);
                }
            });
            let words = words.replace("PORT", &port.to_string());
            text += &format!(
                "backend b{index}\n {lines}\n server s 127.0.0.1:{port} check inter 100ms {words}\n"
            );
        }
        text
    });
    for (index, case) in CHECKS.iter().enumerate() {
        let last = |which: usize| {
            until(&format!("two checks: {case:?}, {which}"), || {
                let seen = seen[which].lock().expect("unpoisoned");
                seen[index].get(1).cloned()
            })
        };
        assert_eq!(last(0), last(1), "{case:?}");
    }
    let seen = seen[0].lock().expect("unpoisoned");
    assert_eq!(seen[0][1], "PROXY TCP4 127.0.0.1 127.0.0.1 FROM TO\r\n");
    drop(seen);
    twins.end();
}

#[test]
fn a_reload_begins_and_ends_it_at_an_address_that_stays() {
    let stage = Stage::new();
    let (mut daemon, config) = crate::stage::start(&stage, 8080);
    let text = std::fs::read_to_string(&config).expect("the file");
    let with = |words: &str| {
        let text = text.replace("bind 127.0.0.1:8080", &format!("bind 127.0.0.1:8080 {words}"));
        std::fs::write(&config, text).expect("a file");
        let answer = ask(&stage.path("own"), "reload");
        assert!(!answer.to_ascii_lowercase().contains("error"), "{answer}");
    };
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    with("accept-proxy");
    assert!(stage.request(8080, &format!("{V1}{request}")).ends_with("X-From: 192.0.2.1"));
    assert!(stage.line().starts_with("192.0.2.1:1000 "));
    with("");
    assert!(stage.request(8080, request).ends_with("X-From: 127.0.0.1"));
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait().success());
}
