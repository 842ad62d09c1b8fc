//! What is said of rules on connections.

use super::*;

#[test]
fn wrong_rules_on_connections_give_their_place_and_what_would_be_right() {
    let (_, findings) = read(
        "defaults\n mode tcp\n tcp-request inspect-delay 5s\nfrontend a\n bind :80\n\
         tcp-request\n\
         tcp-request contnt accept\n\
         tcp-request content\n\
         tcp-request content acept\n\
         tcp-request content accept TRUE\n\
         tcp-request content reject if nope\n\
         tcp-request content expect-proxy layer4\n\
         tcp-request content track-sc0 src\n\
         tcp-request inspect-delay 5q\n\
         tcp-request inspect-delay 5s now\n\
         tcp-request connection expect-proxy layer7\n\
         tcp-request connection set-var(sess.a) path\n\
         tcp-request session set-var-fmt(sess.a) %[req.len]\n\
         tcp-request session silent-drop rst-ttl 3\n\
         tcp-request content accept if { req.payload(0,3) SSH }\n\
         tcp-request content accept if { req.payload(0,3) -m bin 53534 }\n\
         tcp-request content accept if { req.payload(0,3) -m bin 5g }\n\
         tcp-request content accept if { req.payload(0) -m found }\n\
         backend b\n\
         tcp-request connection reject\n\
         tcp-request session reject\n\
         tcp-request content capture src len 3\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    for words in [
        "test.cfg:3:2: 'tcp-request' cannot stand in a 'defaults' section that has no name",
        "test.cfg:6:12: 'tcp-request' expects connection, session, content or inspect-delay",
        "test.cfg:7:13: 'tcp-request' expects one of connection, session, content, inspect-delay, not \
         'contnt'; did you mean 'content'?",
        "test.cfg:8:20: 'tcp-request content' expects an action such as accept or reject",
        "test.cfg:9:21: 'tcp-request content' expects one of accept, reject, silent-drop, capture, \
         set-var, set-var-fmt, unset-var, not 'acept'; did you mean 'accept'?",
        "test.cfg:10:28: expected 'if' or 'unless' and a condition, not 'TRUE'",
        "test.cfg:11:31: no acl 'nope' stands before this",
        "test.cfg:12:21: 'tcp-request content' expects one of ",
        "test.cfg:13:21: 'tcp-request content track-sc0' is HAProxy's",
        "test.cfg:14:27: 'tcp-request inspect-delay' expects a time such as 5s",
        "test.cfg:15:30: 'tcp-request inspect-delay' takes no further word",
        "test.cfg:16:37: 'expect-proxy' expects one of layer4, not 'layer7'",
        "test.cfg:17:40: 'set-var': 'path' takes something from the request",
        "test.cfg:18:41: 'set-var-fmt': 'req.len' takes something from the client's input",
        "test.cfg:19:33: expected 'if' or 'unless' and a condition, not 'rst-ttl'",
        "test.cfg:20:50: 'req.payload(0,3)' may be of any type: say how to compare it",
        "test.cfg:21:57: '53534' is no bytes in hexadecimal",
        "test.cfg:22:57: '5g' is no bytes in hexadecimal",
        "test.cfg:23:33: 'req.payload' expects where it begins and how long it is",
        "test.cfg:25:13: 'tcp-request connection' cannot stand in a 'backend' section",
        "test.cfg:27:21: 'tcp-request content capture' cannot stand in a 'backend' section",
        "test.cfg:26:13: 'tcp-request session' cannot stand in a 'backend' section",
    ] {
        assert!(said.contains(&format!("[ALERT] {words}")), "{words}: {said}");
    }
    assert_eq!(said.matches("[ALERT]").count(), 22, "{said}");
}

/// As HAProxy does, which warns of all but variables.
#[test]
fn what_rules_on_connections_never_see_is_said() {
    let (_, findings) = read(
        "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         frontend a\n bind :80\n mode http\n use_backend b if TRUE\n\
         tcp-request content reject if { res.hdr(x) a }\n\
         tcp-request session reject if { path / }\n\
         tcp-request connection reject if { req.len gt 0 }\n\
         tcp-request connection set-var(txn.a) src\n\
         http-request deny\n\
         backend b\n mode http\n\
         frontend c\n bind :81\n tcp-request content reject if { path / }\n\
         frontend d\n bind :82\n tcp-request content reject if { req.ssl_sni a }\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    for words in [
        "9:13: 'tcp-request content' stands behind a 'use_backend', and comes before it all the same",
        "9:21: a test of this rule on requests looks at the response and will never match",
        "10:13: 'tcp-request session' stands behind a 'tcp-request content', and comes before it",
        "10:21: a test of this rule on connections looks at the request and will never match",
        "11:13: 'tcp-request connection' stands behind a 'tcp-request session', and comes before it",
        "11:24: a test of this rule on connections looks at what the client sends and will never match",
        "12:24: 'set-var(txn.a)': before a connection's first request only 'sess.' variables last",
        "16:1: frontend 'c' is in mode tcp: its rules find no requests, which 'tcp-request content' looks at",
        "19:1: frontend 'd' has 'tcp-request content' that looks at what clients send, and no 'tcp-request \
         inspect-delay': it finds what happens to be there",
    ] {
        assert!(said.contains(&format!("[WARNING] test.cfg:{words}")), "{words}: {said}");
    }
    assert!(!said.contains("[ALERT]"), "{said}");
}

#[test]
fn defaults_give_their_rules_on_connections_to_frontends() {
    let of = |text: &str| read(&format!("defaults a\n mode tcp\n {text}"), Strictness::Strict);
    let rules = "tcp-request inspect-delay 5s\n tcp-request session reject\n";
    let (config, findings) = of(&format!("{rules}frontend f from a\n bind :80\n"));
    assert!(!findings.is_fatal(), "{findings}");
    let had = &config.proxies[0].tcp_request;
    assert_eq!((had.session.len(), had.delay), (1, Some(5_000)));
    let (_, findings) = of(&format!("{rules}backend b from a\n"));
    let said = findings.to_string();
    let words = "test.cfg:5:1: backend 'b' has the rules of the 'defaults' at test.cfg:1:1: these are for \
                 frontends or for backends, and a backend cannot have 'tcp-request connection' or 'session'";
    assert!(said.contains(words), "{said}");
    let content = "tcp-request content reject\n";
    let (_, findings) = of(&format!("{content}frontend f from a\n bind :80\nbackend b from a\n"));
    let said = findings.to_string();
    assert!(said.contains("and frontend 'f' has them too"), "{said}");
}

#[test]
fn wrong_rules_on_what_servers_send_give_their_place_and_what_would_be_right() {
    let (_, findings) = read(
        "defaults\n mode tcp\nfrontend a\n bind :80\n tcp-response content reject\nbackend b\n\
         tcp-response\n\
         tcp-response contnt accept\n\
         tcp-response content\n\
         tcp-response content silent-drop\n\
         tcp-response content acept\n\
         tcp-response content reject if { req.len 3 }\n\
         tcp-response inspect-delay 5q\n\
         tcp-response content reject if { res.payload(0) -m found }\n\
         tcp-response content reject if { res.len 3 }\n\
         backend c\n mode http\n tcp-response content reject\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    for words in [
        "[WARNING] test.cfg:5:2: 'tcp-response' cannot stand in a 'frontend' section",
        "[ALERT] test.cfg:7:13: 'tcp-response' expects ",
        "[ALERT] test.cfg:8:14: 'tcp-response' expects one of content, inspect-delay, not 'contnt'; did you \
         mean 'content'?",
        "[ALERT] test.cfg:9:21: 'tcp-response content' expects an action such as accept or close",
        "[ALERT] test.cfg:10:22: 'tcp-response content' expects one of accept, reject, close, set-var, ",
        "[ALERT] test.cfg:11:22: 'tcp-response content' expects one of accept, reject, close, set-var, ",
        "[WARNING] test.cfg:12:22: a test of this rule on responses looks at what the client sends",
        "[ALERT] test.cfg:13:28: 'tcp-response inspect-delay' expects a time such as 5s",
        "[ALERT] test.cfg:14:34: 'res.payload' expects where it begins and how long it is",
        "[WARNING] test.cfg:6:1: backend 'b' has 'tcp-response content' that looks at what servers send, and no \
         'tcp-response inspect-delay'",
        "[ALERT] test.cfg:16:1: backend 'c' has 'tcp-response content' in mode http, which teardown has not got",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
