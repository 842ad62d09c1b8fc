//! Malformed and ambiguous messages, by the section of the RFC that they break, sent through a
//! real proxy in both directions. A refused request must never reach the server; a refused
//! response must never reach the client, nor its connection the next client.

mod requests;
mod responses;

use std::{
    collections::HashSet,
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::support::{Origin, Proxy, settings};
use requests::REQUESTS;
use responses::RESPONSES;
use teardown::http::settings::Reuse;

fn filled(message: &str) -> String {
    message.replace("{h}", "Host: x\r\n").replace("{c}", "Transfer-Encoding: chunked\r\n\r\n")
}

#[test]
fn the_lists_are_long_and_have_no_case_twice() {
    let all = REQUESTS.iter().chain(RESPONSES);
    assert!(all.clone().count() >= 150, "{}", all.count());
    let distinct: HashSet<_> = REQUESTS.iter().chain(RESPONSES).map(|case| case.2).collect();
    assert_eq!(distinct.len(), REQUESTS.len() + RESPONSES.len());
}

#[test]
fn refused_requests_never_reach_the_server() {
    let reached = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reached);
    let origin = Origin::new(move |mut peer| {
        while let Some(request) = peer.head() {
            seen.lock().expect("unpoisoned").push(request);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    for (section, wrong, message) in REQUESTS {
        let case = format!("{section} {wrong}");
        let mut client = proxy.connect();
        client.send(filled(message));
        // A request smuggled behind it must not be answered either. It may be too late for that.
        let _closed = client.stream.write_all(b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
        let got = client.rest();
        let status = got.get(9..12).unwrap_or_default();
        assert!(matches!(status, "400" | "413" | "501"), "{case}: {got:?}");
        assert_eq!(got.matches("HTTP/1.").count(), 1, "{case}: {got:?}");
    }
    assert_eq!(*reached.lock().expect("unpoisoned"), Vec::<Vec<u8>>::new());
    let log = proxy.log(REQUESTS.len());
    assert!(log.iter().all(|line| line.state == "PR--"), "{log:?}");
}

#[test]
fn refused_responses_never_reach_a_client() {
    let turn = Arc::new(AtomicUsize::new(0));
    let current = Arc::clone(&turn);
    let origin = Origin::new(move |mut peer| {
        while peer.request().is_some() {
            peer.send(filled(RESPONSES[current.load(Relaxed)].2));
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    for (index, (section, wrong, message)) in RESPONSES.iter().enumerate() {
        let case = format!("{section} {wrong}");
        turn.store(index, Relaxed);
        let before = origin.opened();
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let got = client.rest();
        assert_eq!(got.get(9..12), Some("502"), "{case}: {got:?}");
        assert_eq!(got.matches("HTTP/1.").count(), 1, "{case}: {got:?}");
        assert!(!got.contains("ok"), "{case}: {got:?}");
        assert_eq!(origin.opened(), before + 1, "{case}: the connection was used again");
        let line = proxy.log(index + 1).pop().expect("a line");
        assert_eq!(line.state, "PH--", "{case}");
        let _ = message;
    }
}

#[test]
fn a_response_that_nobody_asked_for_is_given_to_nobody() {
    let origin = Origin::new(|mut peer| {
        peer.request();
        peer.send(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
             HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        );
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nreused");
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(client.response().ends_with("\r\n\r\nok"));
    }
    assert_eq!(origin.opened(), 3);
}

#[test]
fn a_body_that_comes_after_its_request_failed_is_no_request() {
    let origin = Origin::new(|mut peer| {
        // The first request on a connection is answered, the next not.
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        peer.head();
    });
    let mut settings = settings(&[origin.address]);
    settings.backends[0].reuse = Reuse::Always;
    let proxy = Proxy::start(settings);
    let mut first = proxy.connect();
    first.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(first.response().ends_with("ok"));
    let body = "GET /admin HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut client = proxy.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()));
    let failed = client.response();
    assert!(
        failed.starts_with("HTTP/1.1 502 ") && failed.contains("Connection: close"),
        "{failed}"
    );
    client.send(body);
    assert_eq!(client.rest(), "");
    assert_eq!(proxy.log(2)[1].state, "SH--");
    assert_eq!(origin.opened(), 1, "the body was sent on as a request");
}

#[test]
fn limits_are_kept() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let proxy = Proxy::start(settings(&[origin.address]));
    let head =
        |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    let status = |request: String| proxy.exchange(request)[9..12].to_owned();
    assert_eq!(status(head(&"a: b\r\n".repeat(99))), "200");
    assert_eq!(status(head(&"a: b\r\n".repeat(100))), "400");
    assert_eq!(status(head(&format!("a: {}\r\n", "b".repeat(15_000)))), "200");
    assert_eq!(status(head(&format!("a: {}\r\n", "b".repeat(15_400)))), "400");
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "b".repeat(20_000));
    assert_eq!(status(long), "400");
    // Without an end the limit is found as well.
    assert_eq!(status(format!("GET /{}", "b".repeat(20_000))), "400");
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(102));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(20_000));
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(20_000));
    let interim = "HTTP/1.1 103 Early\r\n\r\n".repeat(40);
    for response in [many, long, endless, interim] {
        let origin = Origin::answering(response);
        let proxy = Proxy::start(settings(&[origin.address]));
        let got = proxy.exchange(head(""));
        assert!(got.contains("HTTP/1.1 502 "), "{got}");
    }
}
