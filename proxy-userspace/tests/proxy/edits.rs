//! Rules that change fields: what the server, the client and the rest of the proxy see of it.

use std::sync::Arc;

use teardown::{
    assemble::assemble,
    config::{Strictness, parse, source::Source},
    http::{
        counters::{Count, Counters},
        hooks::Rules,
        settings::Settings,
    },
};

use crate::support::{Client, Origin, Proxy, settings};

/// The settings of a configuration's text.
pub(crate) fn assembled(text: &str) -> Settings {
    let source = Source { name: "t.cfg".into(), text: text.as_bytes().to_vec() };
    let (config, mut findings) = parse(&[source], Strictness::Strict, &|_| None);
    let assembled = assemble(&config, &|_| Vec::new(), &|_| Vec::new(), &mut findings);
    assert!(!findings.is_fatal(), "{findings}");
    assembled.settings
}

/// These lines as the rules of a frontend.
pub(crate) fn rules(lines: &str) -> Option<Arc<dyn Rules>> {
    let text = format!(
        "defaults\n mode http\n timeout client 1m\n timeout server 1m\n timeout connect 1m\n\
         listen a\n bind 127.0.0.1:1\n{lines}"
    );
    assembled(&text).frontends.remove(0).rules
}

/// A proxy with these rules before a server that shows what it gets.
fn proxy(lines: &str, origin: &Origin) -> (Proxy, Client) {
    let mut settings = settings(&[origin.address]);
    settings.frontends[0].rules = rules(lines);
    let proxy = Proxy::start(settings);
    let client = proxy.connect();
    (proxy, client)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A body that is a request of its own: who loses its length passes it on as one.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn no_rule_changes_where_a_request_ends() {
    let with_length =
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len());
    let in_chunks = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{HIDDEN}\r\n0\r\n\r\n",
        HIDDEN.len()
    );
    let rules = ["del-header NAME", "set-header NAME VALUE", "add-header NAME VALUE"];
    for rule in rules {
        for (name, value) in [("content-Length", "3"), ("transfer-Encoding", "chunked")] {
            let rule = rule.replace("NAME", name).replace("VALUE", value);
            let origin = Origin::echo();
            let (_proxy, mut client) = proxy(&format!(" http-request {rule}\n"), &origin);
            for request in [&with_length, &in_chunks, GET] {
                client.send(request);
                let response = client.response();
                let (_, seen) = response.split_once("\r\n\r\n").expect("a body");
                assert_eq!(seen, request, "{rule}");
            }
        }
    }
}

#[test]
fn no_rule_changes_where_a_response_ends() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ];
    for rule in ["del-header Content-Length", "set-header Transfer-Encoding chunked"] {
        for rule in [rule.to_owned(), rule.replace("Content-Length", "Transfer-Encoding")] {
            for answer in answers {
                let origin = Origin::answering(answer);
                let (_proxy, mut client) = proxy(&format!(" http-response {rule}\n"), &origin);
                for _ in 0..2 {
                    client.send(GET);
                    assert_eq!(client.until(b"ok"), &answer[..answer.find("ok").unwrap() + 2]);
                    if answer.ends_with("0\r\n\r\n") {
                        assert_eq!(client.until(b"0\r\n\r\n"), "\r\n0\r\n\r\n");
                    }
                }
            }
        }
    }
}

#[test]
fn a_rule_that_says_close_is_kept_to() {
    let origin = Origin::echo();
    let close = "set-header Connection close";
    let (_proxy, mut client) = proxy(&format!(" http-response {close}\n"), &origin);
    client.send(GET);
    let response = client.rest();
    assert_eq!(response.matches("Connection: close\r\n").count(), 1, "{response}");
    let (_proxy, mut client) = proxy(&format!(" http-request {close}\n"), &origin);
    let before = origin.opened();
    for _ in 0..2 {
        client.send(GET);
        let response = client.response();
        assert_eq!(response.matches("Connection: close\r\n").count(), 1, "{response}");
    }
    assert_eq!(origin.opened(), before + 2);
    // What else is said of the connection would not be true.
    let (_proxy, mut client) =
        proxy(" http-response set-header Connection keep-alive,x\n", &origin);
    client.send(GET.replace("Host", "Connection: close\r\nHost"));
    let response = client.rest();
    assert!(response.contains("Connection: close\r\n") && !response.contains("keep-alive"));
}

#[test]
fn an_upgrade_that_a_rule_takes_off_is_not_announced() {
    let asked = GET.replace("Host", "Connection: upgrade\r\nUpgrade: chat\r\nHost");
    for (rule, upgrade, connection) in [
        ("del-header Upgrade", None, false),
        ("set-header Upgrade other", Some("Upgrade: other\r\n"), true),
        ("add-header X y", Some("Upgrade: chat\r\n"), true),
    ] {
        let origin = Origin::echo();
        let (_proxy, mut client) = proxy(&format!(" http-request {rule}\n"), &origin);
        client.send(&asked);
        let response = client.response();
        assert_eq!(response.contains("Connection: upgrade\r\n"), connection, "{response}");
        assert_eq!(response.contains("Upgrade: "), upgrade.is_some(), "{response}");
        assert!(upgrade.is_none_or(|line| response.contains(line)), "{response}");
    }
}

#[test]
fn an_answer_of_the_rules_has_one_length() {
    let origin = Origin::echo();
    let rule = "http-request return status 201 hdr Content-Length 5 hdr Connection close hdr A b";
    let (_proxy, mut client) = proxy(&format!(" {rule}\n"), &origin);
    client.send(GET);
    let head = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nA: b\r\nConnection: close\r\n\r\n";
    assert_eq!(client.rest(), head);
}

#[test]
fn a_response_can_say_by_whom_it_comes() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (_proxy, mut client) = proxy(" http-response set-header X-By %f:%b/%s\n", &origin);
    client.send(GET);
    assert!(client.response().contains("X-By: front:back/s0\r\n"));
}

#[test]
fn what_a_backend_denies_its_frontend_denies_too() {
    let origin = Origin::echo();
    let mut settings = settings(&[origin.address]);
    settings.backends[0].rules = rules(" http-request deny if { path /no }\n");
    let proxy = Proxy::start(settings);
    for (path, status) in [("/", "200"), ("/no", "403")] {
        let response = proxy.exchange(format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(&response[9..12], status, "{response}");
    }
    let proxies = proxy.engine.proxies();
    let denied = |counters: &Counters| counters.total(Count::DeniedRequests);
    assert_eq!(denied(&proxies.frontends[0].counters), 1);
    assert_eq!(denied(&proxies.backends[0].counters), 1);
}
