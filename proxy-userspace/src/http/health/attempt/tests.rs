use super::super::board::{Board, Place};
use super::super::script::{HttpSend, Script};
use super::super::told::{Turn, tell};
use super::super::{Events, OnError, conclude, first_after, spread};
use super::*;
use crate::config::{Strictness, parse, source::Source};
use crate::http::balance::{Algorithm, Balance, Hashing};
use crate::http::closes::{Class, Closes, Cookie, Doing, Upstream};
use crate::http::live::{Backend, Health, Layer, Observe, Proxies, Sign};
use crate::http::regex::Regex;
use crate::http::settings;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

mod turns;

#[derive(Default)]
struct Heard {
    lines: Mutex<Vec<String>>,
    resets: Mutex<Vec<bool>>,
    shut: AtomicU32,
}

impl Events for Heard {
    fn event(&self, _: &Backend, _: u8, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
    }
}

impl Closes for Heard {
    fn opened(&self, _: BorrowedFd<'_>, _: Upstream<'_>, class: Class) -> Cookie {
        assert_eq!(class, Class::Check);
        Cookie(7)
    }
    fn stated(
        &self,
        (_, cookie): (BorrowedFd<'_>, Cookie),
        _: Option<Upstream<'_>>,
        _: Class,
        reset: bool,
        _: &Doing,
    ) {
        assert_eq!(cookie, Cookie(7));
        self.resets.lock().unwrap().push(reset);
    }
}

struct Stage {
    plan: Plan,
    around: Surroundings,
    heard: Arc<Heard>,
}

fn stage(address: SocketAddr, script: Script) -> Stage {
    with(settings::Server::new("s", address.into()), script)
}

fn with(server: settings::Server, script: Script) -> Stage {
    let balance = Arc::new(Balance::new(Algorithm::RoundRobin, Hashing::default(), 1));
    let mut backend = settings::Backend::new("b", balance);
    backend.servers.push(server);
    let settings = settings::Settings { backends: vec![backend], ..Default::default() };
    let proxies = Proxies::new(settings, 1, Arc::default());
    let backend = Arc::clone(&proxies.backends[0]);
    let heard = Arc::new(Heard::default());
    let plan = Plan {
        server: (0, 0),
        script: Arc::new(script),
        interval: Duration::from_secs(5),
        fast: None,
        down: None,
        rise: 2,
        fall: 3,
        place: Place::default(),
        sends_proxy: false,
        connect_timeout: None,
        check_timeout: Some(Duration::from_secs(30)),
        spread: 0,
        log_each: false,
        on_error: OnError::default(),
    };
    let around = Surroundings {
        server: Arc::clone(&backend.servers[0]),
        proxies: Arc::new(proxies),
        backend,
        board: Arc::new(Board::new(&[vec![2]], std::slice::from_ref(&plan))),
        events: Arc::clone(&heard) as Arc<dyn Events>,
        closes: Arc::clone(&heard) as Arc<dyn Closes>,
        shut: Arc::new({
            let heard = Arc::clone(&heard);
            move || {
                heard.shut.fetch_add(1, Relaxed);
            }
        }),
    };
    Stage { plan, around, heard }
}

/// Where nobody listens: a port that was only found free could be another test's next.
const NOBODY: ([u8; 4], u16) = ([127, 0, 0, 1], 1);

/// A server that reads once, answers, and closes or not; what the check found, what the server
/// read, and how its own last read ended: "end" for FIN, "reset".
async fn check(
    script: Script,
    answer: &'static [u8],
    closes: bool,
) -> (Outcome, Vec<u8>, String, Vec<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    check_at(stage(listener.local_addr().unwrap(), script), listener, answer, closes).await
}

async fn check_at(
    stage: Stage,
    listener: TcpListener,
    answer: &'static [u8],
    closes: bool,
) -> (Outcome, Vec<u8>, String, Vec<bool>) {
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4_096];
        let read = match stream.read(&mut buffer).await {
            Ok(read) => read,
            Err(error) => return (Vec::new(), format!("{:?}", error.kind())),
        };
        let _ = stream.write_all(answer).await;
        if closes {
            let _ = stream.shutdown().await;
        }
        let end = loop {
            match stream.read(&mut [0; 100]).await {
                Ok(0) => break "end".to_owned(),
                Ok(_) => {}
                Err(error) => break format!("{:?}", error.kind()),
            }
        };
        (buffer[..read].to_vec(), end)
    });
    let outcome = attempt(&stage.plan, &stage.around).await;
    let (read, end) = server.await.unwrap();
    let resets = stage.heard.resets.lock().unwrap().clone();
    (outcome, read, end, resets)
}

fn http() -> Script {
    Script { kind: CheckKind::Http, ..Script::default() }
}

fn tcp(steps: Vec<Step>) -> Script {
    Script { kind: CheckKind::Tcp, tcp_steps: steps, ..Script::default() }
}

fn expect(pattern: Pattern) -> Step {
    Step::Expect(Expect { negate: false, pattern, min_recv: None, comment: None })
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_server_that_never_closes_gets_a_reset_and_linger_makes_it_a_fin() {
    let (outcome, read, end, resets) = check(http(), OK, false).await;
    assert_eq!((outcome.status, outcome.code), (Status::L7Ok, 200));
    assert_eq!(read, b"OPTIONS / HTTP/1.0\r\n\r\n");
    assert_eq!((end.as_str(), resets), ("ConnectionReset", vec![true]));
    let connect = Connect { linger: true, ..Connect::default() };
    let lingering = Script { http_steps: vec![Step::Connect(connect)], ..http() };
    let (_, _, end, resets) = check(lingering, OK, false).await;
    assert_eq!((end.as_str(), resets), ("end", vec![false]));
}

#[tokio::test]
async fn a_connect_alone_is_reset_at_once() {
    let (outcome, _, end, _) = check(Script::default(), b"", false).await;
    assert_eq!((outcome.status, end.as_str()), (Status::L4Ok, "ConnectionReset"));
}

#[tokio::test]
async fn a_server_that_sends_on_and_on_is_not_heard_out() {
    const LONG: &[u8] = &{
        let mut long = [b'x'; 48 * 1024];
        long.split_at_mut(19).0.copy_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
        long
    };
    let (outcome, .., resets) = check(http(), LONG, true).await;
    assert_eq!((outcome.status, resets), (Status::L7Ok, vec![true]), "its FIN is too far behind");
}

#[tokio::test]
async fn http_requests_and_expectations() {
    let send = HttpSend {
        method: Some("GET".to_owned()),
        version: Some("HTTP/1.1".to_owned()),
        headers: vec![("Host".to_owned(), "x".to_owned())],
        body: Some(b"ab".to_vec()),
        ..HttpSend::default()
    };
    let script =
        |pattern| Script { request: send.clone(), http_steps: vec![expect(pattern)], ..http() };
    let (outcome, read, ..) = check(script(Pattern::Bytes(b"hi".to_vec())), OK, true).await;
    assert_eq!(outcome.status, Status::L7Ok);
    let want = b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nab";
    assert_eq!(read, want);
    let (outcome, ..) = check(script(Pattern::Bytes(b"ho".to_vec())), OK, false).await;
    assert_eq!(
        (outcome.status, outcome.info.as_str()),
        (Status::L7Response, "HTTP content check did not match")
    );
    let (outcome, ..) = check(http(), b"HTTP/1.1 404 Not Found\r\n\r\n", true).await;
    assert_eq!(
        (outcome.status, outcome.code, outcome.info.as_str()),
        (Status::L7Status, 404, "Not Found")
    );
    let kind = Script { disable_on_404: true, ..http() };
    let (outcome, ..) = check(kind, b"HTTP/1.1 404 Not Found\r\n\r\n", true).await;
    assert_eq!((outcome.status, outcome.info.as_str()), (Status::L7OkConditional, ""));
    let regex = |text| Regex::new(text, false).unwrap();
    let (outcome, ..) = check(script(Pattern::Regex(regex("h[ij]"))), OK, true).await;
    assert_eq!(outcome.status, Status::L7Ok);
    let (outcome, ..) = check(script(Pattern::StatusRegex(regex("^3"))), OK, true).await;
    assert_eq!((outcome.status, outcome.code), (Status::L7Status, 200));
    let (outcome, ..) = check(http(), b"nonsense\r\n\r\n", true).await;
    assert_eq!(outcome.status, Status::L7Response);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut impatient = stage(listener.local_addr().unwrap(), http());
    impatient.plan.check_timeout = Some(Duration::from_millis(300));
    let (outcome, ..) = check_at(impatient, listener, b"", false).await;
    assert_eq!(outcome.status, Status::L7Timeout);
}

#[tokio::test]
async fn a_404_brings_nobody_up_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kind = Script { disable_on_404: true, ..http() };
    let stage = stage(listener.local_addr().unwrap(), kind);
    stage.around.server.set_health(Health::Down);
    let (outcome, ..) = check_at(stage, listener, b"HTTP/1.1 404 Not Found\r\n\r\n", true).await;
    assert_eq!(outcome.status, Status::L7Status);
}

/// What Debian's HAProxy 2.6.12 sends by the same lines.
#[tokio::test]
async fn the_first_send_says_more_of_the_request_of_httpchk() {
    let get = "option httpchk GET /x HTTP/1.1";
    let host = "http-check send hdr Host foo";
    let with_host = "GET /x HTTP/1.1\r\nhost: foo\r\nconnection: close\r\n\r\n";
    let cases: &[(&[&str], &str)] = &[
        (&[get, host], with_host),
        (&[host, get], with_host),
        (&[get, "http-check connect", host], with_host),
        (
            &["http-check send meth POST uri /y body abc", get],
            "GET /x HTTP/1.1\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
        ),
        (
            &[r#"option httpchk GET /x "HTTP/1.1\r\nHost: a""#, "http-check send hdr B c"],
            "GET /x HTTP/1.1\r\nb: c\r\nconnection: close\r\n\r\n",
        ),
        (
            &["option httpchk GET /x", "http-check send meth POST"],
            "POST /x HTTP/1.0\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            &["option httpchk POST /x", r#"http-check send hdr A b body "hey""#],
            "POST /x HTTP/1.0\r\na: b\r\ncontent-length: 3\r\n\r\nhey",
        ),
        (&["option httpchk /x", "http-check send meth GET"], "GET /x HTTP/1.0\r\n\r\n"),
    ];
    for (lines, want) in cases {
        let text = format!("backend b\n mode http\n {}\n", lines.join("\n "));
        let source = Source { name: "t.cfg".into(), text: text.into_bytes() };
        let (config, findings) = parse(&[source], Strictness::Strict, &|_| None);
        assert!(!findings.is_fatal(), "{findings}");
        let (_, read, ..) = check(config.proxies[0].settings.check.clone(), OK, true).await;
        assert_eq!(String::from_utf8_lossy(&read), *want, "{lines:?}");
    }
}

#[tokio::test]
async fn a_body_in_chunks_is_looked_at_without_them() {
    let script =
        |text: &[u8]| Script { http_steps: vec![expect(Pattern::Bytes(text.to_vec()))], ..http() };
    let answer =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    for (text, status) in [("hello", Status::L7Ok), ("3\r\nhel", Status::L7Response)] {
        let (outcome, ..) = check(script(text.as_bytes()), answer, false).await;
        assert_eq!(outcome.status, status, "{text}");
    }
}

#[tokio::test]
async fn without_timeout_check_the_interval_is_for_all_of_a_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let steps = [b"a", b"b"].map(|byte| expect(Pattern::Bytes(byte.to_vec())));
    let mut stage = stage(listener.local_addr().unwrap(), tcp(steps.to_vec()));
    stage.plan.check_timeout = None;
    stage.plan.interval = Duration::from_secs(1);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for byte in [b"a", b"b"] {
            tokio::time::sleep(Duration::from_millis(700)).await;
            // The check may have given up.
            let _ = stream.write_all(byte).await;
        }
    });
    assert_eq!(attempt(&stage.plan, &stage.around).await.status, Status::L7Timeout);
    server.await.unwrap();
}

#[tokio::test]
async fn timeout_connect_counts_for_checks_only_beside_timeout_check() {
    // Whose queue is full answers nobody.
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    deaf.listen(0).unwrap();
    let address = deaf.local_addr().unwrap().as_socket().unwrap();
    let _first = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut stage = stage(address, Script::default());
    stage.plan.connect_timeout = Some(Duration::from_millis(1));
    for (check_timeout, waits) in [(None, true), (Some(Duration::from_secs(30)), false)] {
        stage.plan.check_timeout = check_timeout;
        stage.plan.interval = Duration::from_secs(if waits { 1 } else { 60 });
        let began = std::time::Instant::now();
        let outcome = attempt(&stage.plan, &stage.around).await;
        assert_eq!(outcome.status, Status::L4Timeout);
        assert_eq!(began.elapsed() >= stage.plan.interval, waits);
    }
}

/// As HAProxy 2.6 waits, and what it says of a body that is not there.
#[tokio::test]
async fn how_much_of_an_answer_is_looked_at() {
    const PART: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    const NONE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let want = |negate, text: &[u8], min_recv| {
        let pattern = Pattern::Bytes(text.to_vec());
        vec![Step::Expect(Expect { negate, pattern, min_recv, comment: None })]
    };
    let over_http = |steps| Script { http_steps: steps, ..http() };
    let over_tcp = |steps: Vec<Step>| tcp([vec![Step::Send(b"PING".to_vec())], steps].concat());
    let (ok, late, wrong) = (Status::L7Ok, Status::L7Timeout, Status::L7Response);
    for (script, answer, closes, status) in [
        (over_http(want(false, b"hel", None)), PART, false, ok),
        (over_http(want(false, b"hel", Some(8))), PART, false, late),
        (over_http(want(false, b"hel", Some(8))), PART, true, ok),
        (over_http(want(true, b"x", None)), PART, false, late),
        (over_http(want(true, b"x", Some(5))), PART, false, ok),
        (over_http(want(false, b"x", Some(5))), PART, false, wrong),
        (over_http(want(true, b"x", None)), NONE, false, wrong),
        (over_http(want(true, b"x", None)), NONE, true, wrong),
        (over_tcp(want(false, b"+P", None)), b"+PONG", false, ok),
        (over_tcp(want(false, b"+P", Some(8))), b"+PONG", false, late),
        (over_tcp(want(false, b"+P", Some(8))), b"+PONG", true, ok),
        (over_tcp(want(false, b"+PANG!", Some(0))), b"+PONG", false, late),
        (over_tcp(want(false, b"+PANG", Some(0))), b"+PONG", false, wrong),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stage = stage(listener.local_addr().unwrap(), script.clone());
        if status == late {
            stage.plan.check_timeout = Some(Duration::from_millis(300));
        }
        let (outcome, ..) = check_at(stage, listener, answer, closes).await;
        assert_eq!(outcome.status, status, "{script:?}: {outcome:?}");
        if answer == NONE {
            assert_eq!(outcome.info, "HTTP content check could not find a response body");
        }
    }
}

#[tokio::test]
async fn tcp_scripts_talk() {
    let script = |want: &[u8]| {
        tcp(vec![Step::Send(b"PING\r\n".to_vec()), expect(Pattern::Bytes(want.to_vec()))])
    };
    let (outcome, read, ..) = check(script(b"+PONG"), b"+PONG\r\n", true).await;
    assert_eq!((outcome.status, read.as_slice()), (Status::L7Ok, b"PING\r\n".as_slice()));
    assert_eq!(outcome.info, "(tcp-check)");
    let (outcome, ..) = check(script(b"+PONG"), b"-ERR\r\n", true).await;
    let want = "TCPCHK did not match content '+PONG' at step 2";
    assert_eq!((outcome.status, outcome.info.as_str()), (Status::L7Response, want));
    let (outcome, ..) = check(script(b"+PONG"), b"", true).await;
    assert_eq!(outcome.info, "TCPCHK got an empty response at step 2");
}

#[tokio::test]
async fn one_that_finds_no_server_says_that_it_closes() {
    let stage = stage(NOBODY.into(), http());
    let outcome = attempt(&stage.plan, &stage.around).await;
    assert_eq!(outcome.status, Status::L4Connection);
    assert_eq!(*stage.heard.resets.lock().unwrap(), [false]);
}
