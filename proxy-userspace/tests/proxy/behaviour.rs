//! Messages as they come through: what is kept, what is this hop's own, what ends a body.

use std::sync::{Mutex, mpsc};

use teardown::http::settings::{Connection, ForwardFor};

use crate::support::{Origin, PATIENCE, Proxy, descriptors::descriptors_for, eventually, settings};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Srv: Y\r\n\r\nok";

/// What a server gets of a request, by way of its answer.
fn forwarded(
    request: &str,
    change: impl FnOnce(&mut teardown::http::settings::Settings),
) -> String {
    let origin = Origin::echo();
    let mut settings = settings(&[origin.address]);
    change(&mut settings);
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    client.send(request);
    let response = client.response();
    response.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

/// What a client gets of a response.
fn returned(request: &str, response: &str) -> String {
    let response = response.to_owned();
    let origin = Origin::new(move |mut peer| {
        peer.request();
        peer.send(&response);
    });
    Proxy::start(settings(&[origin.address])).exchange(request)
}

#[test]
fn a_kept_connection_serves_several_requests() {
    let origin = Origin::answering(OK);
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    for _ in 0..5 {
        client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.response(), OK);
    }
    let log = proxy.log(5);
    assert!(log.iter().all(|line| line.status == 200 && line.state == "----"));
    assert_eq!(log[0].request, "GET /a HTTP/1.1");
    assert_eq!(origin.opened(), 1);
}

#[test]
fn connections_of_one_crowd_after_another_are_served() {
    // More at once than tasks may wait for the next connection, and by any of two workers.
    const CROWD: usize = 200;
    // Both ends of two connections for each are here, and other tests' beside them.
    descriptors_for(4_000);
    let origin = Origin::echo();
    let mut settings = settings(&[origin.address]);
    settings.global.threads = 2;
    let proxy = Proxy::start(settings);
    for crowd in 0..3 {
        let mut clients: Vec<_> = (0..CROWD).map(|_| proxy.connect()).collect();
        for (i, client) in clients.iter_mut().enumerate() {
            client
                .send(format!("GET /{crowd}/{i} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        }
        for (i, client) in clients.iter_mut().enumerate() {
            let response = client.rest();
            assert!(response.contains(&format!("GET /{crowd}/{i} ")), "{response}");
        }
    }
    assert_eq!(proxy.log(3 * CROWD).len(), 3 * CROWD);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echo();
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send(
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
         GET /2 HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    let first = client.response();
    assert!(first.contains("POST /1 ") && first.ends_with("\r\n\r\nabc"), "{first}");
    assert!(client.response().contains("GET /2 "));
    assert!(client.response().contains("GET /3 "));
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let origin = Origin::echo();
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    for byte in b"\r\nPOST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" {
        client.send([*byte]);
    }
    assert!(client.response().ends_with("Content-Length: 2\r\n\r\nhi"));
}

#[test]
fn connection_fields_follow_the_mode() {
    let old = "GET / HTTP/1.0\r\nA: b\r\n\r\n";
    let new = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let keep = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let cases = [
        (Connection::KeepAlive, old, "GET / HTTP/1.0\r\nA: b\r\nConnection: keep-alive\r\n\r\n"),
        (Connection::KeepAlive, new, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (Connection::ServerClose, old, old),
        (Connection::ServerClose, new, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        (Connection::ServerClose, keep, "GET / HTTP/1.0\r\n\r\n"),
        (Connection::Close, old, old),
        // The two ends of a tunnel agree between themselves.
        (Connection::Tunnel, old, old),
        (Connection::Tunnel, new, new),
        (Connection::Tunnel, keep, keep),
    ];
    for (mode, request, expected) in cases {
        let got = forwarded(request, |settings| settings.backends[0].connection = mode);
        assert_eq!(got, expected, "{mode:?} {request}");
    }
    let got = forwarded(new, |settings| {
        settings.backends[0].connection = Connection::ServerClose;
        settings.backends[0].pretend_keepalive = true;
    });
    assert_eq!(got, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

#[test]
fn the_client_is_told_whether_its_connection_stays() {
    let ten = "GET / HTTP/1.0\r\n\r\n";
    let kept = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let close = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let closed = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Srv: Y\r\nConnection: close\r\n\r\nok";
    assert_eq!(returned(ten, OK), closed);
    assert_eq!(returned(close, OK), closed);
    let origin = Origin::answering(OK);
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send(kept);
    assert!(client.response().contains("\r\nConnection: keep-alive\r\n"));
    client.send(close);
    assert_eq!(client.rest(), closed);
}

#[test]
fn a_tunnel_passes_what_a_server_says_of_its_connection() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   2\r\nok\r\n0\r\n\r\n";
    let origin = Origin::new(move |mut peer| {
        peer.request();
        peer.send(chunked);
    });
    let mut settings = settings(&[origin.address]);
    settings.backends[0].connection = Connection::Tunnel;
    let proxy = Proxy::start(settings);
    assert_eq!(proxy.exchange("GET / HTTP/1.0\r\n\r\n"), chunked);
}

#[test]
fn forwardfor_is_added() {
    let got = forwarded("GET / HTTP/1.1\r\nHost: x\r\n\r\n", |settings| {
        settings.backends[0].forwardfor = Some(ForwardFor::default());
    });
    assert_eq!(got, "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n");
}

#[test]
fn chunked_requests_keep_their_chunks_and_trailers() {
    let body = "3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(forwarded(&format!("{head}{body}"), |_| {}), format!("{head}{body}"));
}

#[test]
fn chunked_responses_come_through_and_the_connection_stays() {
    let body = "2\r\nok\r\n0\r\n\r\n";
    let whole = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let origin = Origin::answering(whole.clone());
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.until(b"0\r\n\r\n"), whole);
    }
    assert_eq!(origin.opened(), 1);
}

#[test]
fn chunks_are_taken_off_for_http_1_0() {
    let response =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nall\r\n0\r\n\r\n";
    let got = returned("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", response);
    assert_eq!(got, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nokall");
}

#[test]
fn a_body_until_close_ends_with_the_connection() {
    let got = returned("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody");
    assert_eq!(got, "HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody");
    let got = returned("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody");
    assert_eq!(got, "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\nbody");
}

#[test]
fn responses_that_have_no_body() {
    let cases = [
        ("HEAD / HTTP/1.1", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("HEAD / HTTP/1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET / HTTP/1.1", "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n"),
        ("GET / HTTP/1.1", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    ];
    for (line, response) in cases {
        let origin = Origin::answering(response);
        let proxy = Proxy::start(settings(&[origin.address]));
        let mut client = proxy.connect();
        for _ in 0..2 {
            client.send(format!("{line}\r\nHost: x\r\n\r\n"));
            assert_eq!(client.until(b"\r\n\r\n"), response);
        }
        assert_eq!(origin.opened(), 1, "{response}");
    }
}

#[test]
fn a_length_that_a_204_may_not_have_is_taken_off() {
    let origin = Origin::answering("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nA: b\r\n\r\n");
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.until(b"\r\n\r\n"), "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n");
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    client.until(b"\r\n\r\n");
    assert_eq!(origin.opened(), 2, "such a server's connection is not trusted again");
}

#[test]
fn interim_responses_are_passed_on() {
    let origin = Origin::new(|mut peer| {
        let head = peer.head().expect("a head");
        assert!(String::from_utf8_lossy(&head).contains("Expect: 100-continue"));
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(peer.bytes(3), b"abc");
        peer.send(OK);
        peer.request();
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    client.send(head);
    assert_eq!(client.until(b"\r\n\r\n"), "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
    assert_eq!(client.until(b"\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    assert_eq!(client.response(), OK);
    assert_eq!(proxy.log(1)[0].status, 200);
}

/// More than the sockets' buffers hold, to a client that reads only later.
#[test]
fn interim_responses_go_on_while_the_final_one_is_waited_for() {
    const HINTS: usize = 24;
    const LENGTH: usize = 500_000;
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "a".repeat(LENGTH));
    let whole = HINTS * hint.len();
    let origin = Origin::new(move |mut peer| {
        peer.request();
        (0..HINTS).for_each(|_| peer.send(&hint));
        // The client has to have read all of them first.
        if wait.lock().expect("unpoisoned").recv_timeout(PATIENCE).is_ok() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let mut settings = settings(&[origin.address]);
    settings.global.bufsize = 2 * LENGTH;
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    eventually(|| (origin.asked() == 1).then_some(()));
    let mut read = 0;
    while read < whole {
        read += client.until(b"\r\n\r\n").len();
    }
    assert_eq!(read, whole);
    go.send(()).expect("the server waits");
    assert!(client.rest().ends_with("\r\n\r\nok"));
}

#[test]
fn interim_responses_are_kept_from_http_1_0() {
    let response = format!("HTTP/1.1 100 Continue\r\n\r\n{OK}");
    assert!(returned("GET / HTTP/1.0\r\n\r\n", &response).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let origin = Origin::new(|mut peer| {
        let head = String::from_utf8(peer.head().expect("a head")).expect("text");
        assert!(head.contains("Upgrade: chat\r\n") && head.contains("Connection: upgrade\r\n"));
        assert!(!head.contains("X-Own"), "{head}");
        peer.send("HTTP/1.1 101 Switching\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\nhi");
        assert_eq!(peer.bytes(5), b"there");
        peer.send("bye");
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, X-Own\r\nUpgrade: chat\r\n\
         X-Own: a\r\n\r\n",
    );
    let head = client.until(b"\r\n\r\n");
    assert!(head.contains("Upgrade: chat\r\nConnection: upgrade\r\n"), "{head}");
    client.until(b"hi");
    client.send("there");
    client.until(b"bye");
    client.finish_sending();
    client.rest();
    let line = &proxy.log(1)[0];
    assert_eq!((line.status, line.state.as_str()), (101, "----"));
}

#[test]
fn no_upgrade_is_passed_on_without_what_it_needs() {
    for (options, protocols) in [
        ("Upgrade, HTTP2-Settings", "Upgrade: h2c\r\n"),
        ("Upgrade", "Upgrade: h2c\r\n"),
        ("Upgrade", "Upgrade: websocket, H2C\r\n"),
        ("Upgrade", "Upgrade: h2c\r\nUpgrade: websocket\r\n"),
        ("Upgrade", "Upgrade: ,\r\n"),
    ] {
        let asked = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: {options}\r\n{protocols}\
             HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        );
        assert_eq!(forwarded(&asked, |_| {}), "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "{asked}");
    }
}

#[test]
fn connect_becomes_a_tunnel_when_the_server_agrees() {
    let origin = Origin::new(|mut peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        let got = peer.bytes(4);
        peer.send(got);
        while peer.read() {}
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nping");
    assert_eq!(client.until(b"ping"), "HTTP/1.1 200 OK\r\n\r\nping");
    let refusing = Origin::answering("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    let proxy = Proxy::start(settings(&[refusing.address]));
    let mut client = proxy.connect();
    client.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    assert!(client.response().ends_with("no"));
}
