//! What rules decide of responses and of clients that are held back: connections and counters.

use std::{sync::Arc, time::Duration};

use teardown::http::{
    counters::{Count, Counters},
    hooks::Rules,
    settings::Settings,
};

use crate::{
    edits::rules,
    support::{Origin, Proxy, settings},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn with(lines: &str, origin: &Origin) -> Settings {
    let mut settings = settings(&[origin.address]);
    settings.frontends[0].rules = rules(lines);
    settings
}

/// A response that is denied is over for its server, and the client's connection is not.
#[test]
fn a_denied_response_ends_the_servers_connection_alone() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let proxy = Proxy::start(with(" http-response deny deny_status 503\n", &origin));
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send(GET);
        assert!(client.response().starts_with("HTTP/1.1 503 "));
    }
    assert_eq!(origin.opened(), 2);
    for line in proxy.log(2) {
        assert_eq!((line.status, line.state.as_str(), line.server.as_str()), (503, "PH--", "s0"));
    }
    let proxies = proxy.engine.proxies();
    let backend = &proxies.backends[0];
    let total = |counters: &Counters, what| counters.total(what);
    for counters in
        [&proxies.frontends[0].counters, &backend.counters, &backend.servers[0].counters]
    {
        assert_eq!(total(counters, Count::DeniedResponses), 2);
        assert_eq!(total(counters, Count::ResponseErrors), 0);
    }
    // The server did answer; the client has heard nothing of it.
    assert_eq!(total(&backend.servers[0].counters, Count::Responses2), 2);
    assert_eq!(total(&backend.counters, Count::Responses5), 2);
    assert_eq!(total(&backend.counters, Count::Responses2), 0);
}

/// The body of a request that goes on behind a response of our own is no request.
#[test]
fn what_is_left_of_a_request_is_not_taken_for_the_next_one() {
    let origin = Origin::new(|mut peer| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            peer.read();
        }
    });
    let proxy = Proxy::start(with(" http-response return status 202\n", &origin));
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
    let response = client.until(b"\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 202 "), "{response}");
    assert!(response.contains("Connection: close\r\n"), "{response}");
    client.send(GET);
    assert_eq!(client.rest(), "");
}

/// What goes out without the last rules may lack what they are there for.
#[test]
fn an_answer_that_cannot_be_read_does_not_pass_the_last_rules() {
    let origin = Origin::echo();
    let lines = " http-request return status 200 hdr Upgrade %[path] if { path_beg /a }\n\
                 \x20http-after-response set-header X-Frame-Options DENY\n";
    let proxy = Proxy::start(with(lines, &origin));
    let mut client = proxy.connect();
    for (path, status) in [("/ab", "200"), ("/a;b", "500"), ("/ac", "200")] {
        client.send(GET.replace("/ ", &format!("{path} ")));
        let response = client.response();
        assert_eq!(response.get(9..12), Some(status), "{response}");
        assert!(response.contains("X-Frame-Options: DENY\r\n"), "{response}");
    }
    assert_eq!(proxy.log(3)[1].status, 500);
}

#[test]
fn no_status_changes_where_a_response_ends() {
    let lines = " http-response set-status 201\n http-after-response set-status 202\n";
    for (answer, seen) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n"),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.0 202 Accepted\r\n"),
    ] {
        let origin = Origin::answering(answer);
        let proxy = Proxy::start(with(lines, &origin));
        let response = proxy.exchange(GET.replace("Host", "Connection: close\r\nHost"));
        assert!(response.starts_with(seen), "{response}");
    }
    // A tunnel's bytes are no response's.
    let origin = Origin::answering("HTTP/1.1 200 OK\r\n\r\n");
    let proxy = Proxy::start(with(lines, &origin));
    let mut client = proxy.connect();
    client.send("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n");
    assert!(client.until(b"\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_rule_on_what_goes_out_may_end_the_connection() {
    let origin = Origin::echo();
    let lines = " http-request deny if { path /no }\n\
                 \x20http-after-response set-header Connection close if { status 403 }\n\
                 \x20http-after-response set-header Content-Length 5\n";
    let proxy = Proxy::start(with(lines, &origin));
    let mut client = proxy.connect();
    client.send(GET);
    client.response();
    client.send(GET.replace("/ ", "/no "));
    let response = client.rest();
    assert_eq!(response.matches("Connection: close\r\n").count(), 1, "{response}");
    let (head, body) = response.split_once("\r\n\r\n").expect("a body");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{response}");
}

#[test]
fn a_tarpit_lets_go_of_who_leaves() {
    let origin = Origin::echo();
    let mut settings = with(" http-request tarpit\n", &origin);
    settings.frontends[0].timeouts.tarpit = Some(Duration::from_secs(3600));
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    client.send(GET);
    client.finish_sending();
    assert!(client.rest().starts_with("HTTP/1.1 500 "));
    let line = &proxy.log(1)[0];
    assert_eq!((line.status, line.state.as_str()), (500, "PT--"));
    assert_eq!(proxy.engine.proxies().frontends[0].counters.total(Count::DeniedRequests), 1);
}

#[test]
fn who_has_no_last_rules_says_so() {
    let has = |lines| rules(lines).is_some_and(|rules: Arc<dyn Rules>| rules.has_last());
    assert!(has(" http-after-response set-header A b\n"));
    assert!(!has(" http-response set-header A b\n"));
}
