//! What goes wrong, and how the log says so in HAProxy's four characters.

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use teardown::http::settings::{ErrorPages, Mode, Redispatch};

use crate::support::{Origin, PATIENCE, Peer, Proxy, eventually, ports::Reserved, settings};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Short, and longer than what is to come in time takes on a busy machine.
fn short(timeout: &mut Option<Duration>) {
    *timeout = Some(Duration::from_secs(1));
}

/// A server that says the first bytes at once, and goes on when it is told to.
fn in_two_parts(
    first: &'static str,
    then: impl Fn(Peer) + Send + Sync + 'static,
) -> (Origin, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let origin = Origin::new(move |mut peer| {
        peer.request();
        peer.send(first);
        let _ = wait.lock().expect("unpoisoned").recv_timeout(PATIENCE);
        then(peer);
    });
    (origin, go)
}

fn state(proxy: &Proxy) -> (u16, String) {
    let line = proxy.log(1).remove(0);
    (line.status, line.state)
}

#[test]
fn a_server_that_refuses() {
    let nobody = Reserved::new();
    let mut refusing = settings(&[nobody.address()]);
    refusing.backends[0].retries = 0;
    let proxy = Proxy::start(refusing);
    let response = proxy.exchange(GET);
    assert!(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{response}");
    assert_eq!(state(&proxy), (503, "SC--".into()));
    let line = &proxy.log(1)[0];
    assert_eq!((line.server.as_str(), line.retries), ("s0", 0));
}

#[test]
fn a_server_that_refuses_is_retried_and_then_left() {
    let origin = Origin::answering(OK);
    let nobody = Reserved::new();
    let mut settings = settings(&[nobody.address(), origin.address]);
    settings.backends[0].redispatch = Redispatch::Last;
    let proxy = Proxy::start(settings);
    for _ in 0..4 {
        assert!(proxy.exchange(GET).starts_with("HTTP/1.1 200 OK\r\n"));
    }
    let lines = proxy.log(4);
    assert!(lines.iter().all(|line| line.server == "s1" && line.state == "----"), "{lines:?}");
    assert!(lines.iter().any(|line| line.redispatched && line.retries == 1), "{lines:?}");
}

#[test]
fn no_server_at_all() {
    let proxy = Proxy::start(settings(&[]));
    assert!(proxy.exchange(GET).starts_with("HTTP/1.1 503 "));
    assert_eq!(state(&proxy), (503, "SC--".into()));
    assert_eq!(proxy.log(1)[0].server, "<NOSRV>");
}

#[test]
fn an_error_file_takes_the_pages_place() {
    let mut settings = settings(&[]);
    let file: &[u8] = b"HTTP/1.0 503 Busy\r\nX: y\r\n\r\nwait";
    settings.backends[0].error_pages = ErrorPages([(503, file.into())].into());
    let proxy = Proxy::start(settings);
    let got = proxy.exchange(GET);
    let page = "HTTP/1.1 503 Busy\r\nX: y\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwait";
    assert_eq!(got, page);
}

#[test]
fn a_server_that_closes_without_answering() {
    let origin = Origin::new(|mut peer| {
        peer.request();
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    assert!(proxy.exchange(GET).starts_with("HTTP/1.1 502 "));
    assert_eq!(state(&proxy), (502, "SH--".into()));
}

#[test]
fn a_server_that_resets() {
    let origin = Origin::new(|mut peer| {
        peer.request();
        peer.reset();
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    assert!(proxy.exchange(GET).starts_with("HTTP/1.1 502 "));
    assert_eq!(state(&proxy), (502, "SH--".into()));
}

#[test]
fn a_server_that_answers_nonsense() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok");
    let proxy = Proxy::start(settings(&[origin.address]));
    assert!(proxy.exchange(GET).starts_with("HTTP/1.1 502 "));
    assert_eq!(state(&proxy), (502, "PH--".into()));
    let [_, refused] = proxy.engine.proxies().backends[0].errors.get();
    assert!(refused.expect("kept").1.head.starts_with(b"HTTP/1.1 200 OK\r\nContent-Length : 2"));
}

#[test]
fn a_server_that_is_silent() {
    let origin = Origin::new(|mut peer| while peer.read() {});
    let mut settings = settings(&[origin.address]);
    short(&mut settings.backends[0].timeouts.server);
    let proxy = Proxy::start(settings);
    assert!(proxy.exchange(GET).starts_with("HTTP/1.1 504 "));
    assert_eq!(state(&proxy), (504, "sH--".into()));
}

#[test]
fn a_response_that_is_cut_short() {
    let bodies = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ];
    for reset in [false, true] {
        for body in bodies {
            let (origin, go) =
                in_two_parts(body, move |peer| if reset { peer.reset() } else { drop(peer) });
            let proxy = Proxy::start(settings(&[origin.address]));
            let mut client = proxy.connect();
            // A FIN comes with the data; what a RST would throw away has come through before.
            let end = || go.send(()).expect("the server waits");
            if !reset {
                end();
            }
            client.send(GET);
            assert!(client.until(b"\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
            if reset {
                end();
            }
            client.rest();
            assert_eq!(state(&proxy), (200, "SD--".into()), "{body} {reset}");
        }
    }
}

#[test]
fn a_response_whose_server_falls_silent() {
    let origin = Origin::new(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok");
        while peer.read() {}
    });
    let mut settings = settings(&[origin.address]);
    short(&mut settings.backends[0].timeouts.server);
    let proxy = Proxy::start(settings);
    assert!(proxy.exchange(GET).ends_with("ok"));
    assert_eq!(state(&proxy), (200, "sD--".into()));
}

#[test]
fn a_response_whose_chunks_are_malformed() {
    let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
    let (origin, go) = in_two_parts(whole, |mut peer| {
        peer.send("xyz\r\n");
        while peer.read() {}
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send(GET);
    client.until(b"ok");
    go.send(()).expect("the server waits");
    client.rest();
    assert_eq!(state(&proxy), (200, "PD--".into()));
}

#[test]
fn a_client_that_sends_no_request() {
    let mut impatient = settings(&[]);
    short(&mut impatient.frontends[0].timeouts.http_request);
    let proxy = Proxy::start(impatient.clone());
    assert!(proxy.exchange("GET / HT").starts_with("HTTP/1.1 408 Request Time-out\r\n"));
    assert_eq!(state(&proxy), (408, "cR--".into()));
    assert!(proxy.exchange("").starts_with("HTTP/1.1 408 "));
    assert_eq!(proxy.log(2)[1].state, "cR--");
    let mut client = proxy.connect();
    client.send("GET");
    client.finish_sending();
    assert!(client.rest().starts_with("HTTP/1.1 400 "));
    let line = &proxy.log(3)[2];
    assert_eq!((line.status, line.state.as_str()), (400, "CR--"));
}

#[test]
fn a_redispatch_to_nobody_else_waits_as_a_retry_does() {
    let nobody = Reserved::new();
    let mut settings = settings(&[nobody.address()]);
    let pause = Duration::from_millis(80);
    settings.backends[0].retries = 2;
    settings.backends[0].redispatch = Redispatch::Last;
    settings.backends[0].timeouts.connect = Some(pause);
    let proxy = Proxy::start(settings);
    let begun = Instant::now();
    assert!(proxy.exchange(GET).starts_with("HTTP/1.1 503 "));
    assert!(begun.elapsed() >= 2 * pause, "{:?}", begun.elapsed());
}

#[test]
fn an_empty_error_page_is_a_close_without_a_word() {
    let mut settings = settings(&[]);
    settings.frontends[0].error_pages = ErrorPages([(503, b""[..].into())].into());
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    client.send(GET.replace("Connection: close\r\n", ""));
    assert_eq!(client.rest(), "");
    assert_eq!(state(&proxy), (503, "SC--".into()));
}

#[test]
fn a_client_that_sends_half_a_body() {
    let origin = Origin::echo();
    let mut settings = settings(&[origin.address]);
    short(&mut settings.frontends[0].timeouts.client);
    let proxy = Proxy::start(settings);
    let request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc";
    assert!(proxy.exchange(request).starts_with("HTTP/1.1 408 "));
    assert_eq!(state(&proxy), (408, "cH--".into()));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_body() {
    let origin = Origin::echo();
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    client.finish_sending();
    client.rest();
    assert_eq!(state(&proxy), (0, "CD--".into()));
}

#[test]
fn a_client_that_leaves_while_the_response_comes() {
    let origin = Origin::new(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let block = vec![b'a'; 1 << 20];
        for _ in 0..100 {
            peer.send(&block);
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send(GET);
    client.until(b"\r\n\r\naaaa");
    drop(client);
    assert_eq!(state(&proxy), (200, "CD--".into()));
}

#[test]
fn abortonclose_gives_up_what_nobody_waits_for() {
    let origin = Origin::new(|mut peer| {
        peer.request();
        while peer.read() {}
    });
    let mut settings = settings(&[origin.address]);
    settings.backends[0].abortonclose = true;
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually(|| (origin.asked() == 1).then_some(()));
    client.finish_sending();
    assert_eq!(state(&proxy).1, "CH--");
}

#[test]
fn a_half_closed_client_still_gets_its_response() {
    let origin = Origin::answering(OK);
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    client.finish_sending();
    assert!(client.rest().ends_with("ok"));
    assert_eq!(state(&proxy), (200, "----".into()));
}

#[test]
fn a_kept_server_connection_that_dies_is_replaced() {
    // Each connection answers one request and is closed when the second one is there.
    let origin = Origin::new(|mut peer| {
        peer.request();
        peer.send(OK);
        peer.request();
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.response(), OK);
    }
    // What may not be repeated is not; the client finds its connection closed, as with HAProxy.
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na");
    assert_eq!(client.rest(), "");
    assert_eq!(proxy.log(4)[3].state, "SH--");
}

#[test]
fn a_refused_request_ends_the_connection() {
    let origin = Origin::answering(OK);
    let proxy = Proxy::start(settings(&[origin.address]));
    let got = proxy
        .exchange("GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 400 Bad request\r\n"), "{got}");
    assert_eq!(got.matches("HTTP/1.1").count(), 1);
    assert_eq!(state(&proxy), (400, "PR--".into()));
    assert_eq!(origin.opened(), 0);
    let [refused, _] = proxy.engine.proxies().frontends[0].errors.get();
    assert!(refused.expect("kept").1.reason.to_string().contains("RFC 9112, 5"));
}

#[test]
fn of_two_who_are_silent_for_as_long_the_client_is_named() {
    let short = Some(Duration::from_millis(200));
    for (client, server, state) in [(short, short, "cD--"), (Some(PATIENCE), short, "sD--")] {
        let origin = Origin::new(|mut peer| while peer.read() {});
        let mut settings = settings(&[origin.address]);
        settings.frontends[0].mode = Mode::Tcp;
        settings.backends[0].mode = Mode::Tcp;
        settings.frontends[0].timeouts.client = client;
        settings.backends[0].timeouts.server = server;
        let proxy = Proxy::start(settings);
        let mut kept = proxy.connect();
        kept.send("hello");
        assert_eq!(proxy.log(1)[0].state, state);
    }
}
