//! `retry-on`, with HAProxy beside: which requests are sent again, to whom, and what is logged and counted.

use crate::stage::Stage;
use crate::support::http::head;
use crate::support::until::PATIENCE;
use crate::twins::Twins;
use rustix::net::sockopt::set_socket_linger;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often each path was asked for.
type Asked = Arc<Mutex<HashMap<String, usize>>>;

/// A server that does what the path says, to each request for it the next thing: `/empty.503.ok`.
fn origin(stage: &Stage, asked: &Asked) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    let asked = Arc::clone(asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let asked = Arc::clone(&asked);
            std::thread::spawn(move || serve(stream, &asked));
        }
    });
    address
}

fn serve(mut stream: TcpStream, asked: &Asked) {
    let Some(text) = head(&mut stream) else { return };
    let path = text.split(' ').nth(1).expect("a path").trim_start_matches('/').to_owned();
    let turn = {
        let mut asked = asked.lock().expect("unpoisoned");
        let turn = asked.entry(path.clone()).or_default();
        *turn += 1;
        *turn - 1
    };
    let length = text.to_ascii_lowercase();
    let length = length.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    if stream.read_exact(&mut body).is_err() {
        return;
    }
    let does = path.split('.').nth(turn).unwrap_or("200");
    // Who asked may have gone.
    let _ = match does {
        "empty" => Ok(()),
        "rst" => set_socket_linger(&stream, Some(Duration::ZERO)).map_err(Into::into),
        "junk" => write!(stream, "hello there\r\n\r\n"),
        "part" => write!(stream, "HTTP/1.1 200 O"),
        "late" => stream.read(&mut [0]).map(drop),
        status => write!(
            stream,
            "HTTP/1.1 {status} X\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{turn}"
        ),
    };
}

/// What each section is tried again on, and what it is asked for.
const SECTIONS: [(&str, &[&str]); 8] = [
    ("conn-failure", &["empty"]),
    (
        "empty-response",
        &["empty", "rst", "part", "empty.empty", "empty.empty.empty.empty", "junk", "late", "503"],
    ),
    ("response-timeout", &["late", "late.late.late", "empty"]),
    ("junk-response", &["junk", "junk.junk.junk", "part", "empty"]),
    ("503 404 0rtt-rejected", &["503", "404.503", "503.503.503.503", "500", "empty"]),
    ("all-retryable-errors", &["500", "502", "503.junk", "504.late", "408", "404", "425"]),
    ("none", &["empty", "503"]),
    ("empty-response 501", &["501", "empty.501.501"]),
];

#[test]
fn requests_are_sent_again_as_haproxy_does() {
    let twins = Twins::start(|stage, which| {
        let asked = Asked::default();
        let mut text = String::from(
            " timeout server 300ms\n retries 2\n option redispatch 1\n \
             log-format \"%f %b %s %ST %tsc %rc %{+Q}r\"\n",
        );
        for ((on, _), base) in SECTIONS.iter().zip((8000..).step_by(10)) {
            let [one, two] = [0, 1].map(|_| origin(stage, &asked));
            text += &format!(
                "listen r{base}\n bind 127.0.0.1:{}\n retry-on {on}\n server a {one}\n server b {two}\n",
                base + which
            );
        }
        // Without 'conn-failure' a connection is not tried again either.
        for (base, on) in [(8100, "empty-response"), (8110, "empty-response conn-failure")] {
            text += &format!(
                "listen r{base}\n bind 127.0.0.1:{}\n retry-on {on}\n server a 127.0.0.1:1\n server b {}\n",
                base + which,
                origin(stage, &asked),
            );
        }
        // Nobody else to go to.
        text += &format!(
            "listen r8120\n bind 127.0.0.1:{}\n no option redispatch\n retry-on empty-response\n server a {}\n",
            8120 + which,
            origin(stage, &asked),
        );
        text + "global\n nbthread 1\n"
    });
    let ask = |base: u16, request: &str| {
        let [ours, theirs] = [0, 1].map(|which| answer(&twins, base + which, request));
        assert_eq!(ours, theirs, "{base} {request}");
        let [ours, theirs] = twins.lines(&format!("r{base}"));
        assert_eq!(ours, theirs, "{base} {request}");
    };
    for ((_, paths), base) in SECTIONS.iter().zip((8000..).step_by(10)) {
        for path in *paths {
            ask(base, &format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        }
    }
    // Whatever the method, if it fits into a buffer.
    for (path, length) in [("empty.p", 9), ("empty.q", 20_000)] {
        let head = format!("POST /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        let body = "x".repeat(length);
        ask(8010, &format!("{head}Content-Length: {length}\r\n\r\n{body}"));
    }
    for path in ["empty", "empty.empty.empty"] {
        ask(8120, &format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    }
    for base in [8100, 8110] {
        for path in ["ok1", "ok2"] {
            ask(base, &format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        }
    }
    // Who has an answer may ask before it is counted.
    twins.count_alike(&COUNTED);
    twins.end();
}

fn answer(twins: &Twins, port: u16, request: &str) -> String {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = twins.stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it closes");
    let mut lines: Vec<String> = text.lines().map(str::to_ascii_lowercase).collect();
    lines.sort_unstable();
    lines.join("|")
}

/// What is counted of retries, and of what came of them. HAProxy counts a RST twice as
/// `eresp`.
const COUNTED: [&str; 11] = [
    "pxname", "svname", "stot", "wretr", "wredis", "econ", "hrsp_2xx", "hrsp_4xx", "hrsp_5xx",
    "req_tot", "lbtot",
];
