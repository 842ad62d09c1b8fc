//! Rules that write request lines: no other request can come of one.

use teardown::http::counters::Count;

use crate::{
    edits::rules,
    support::{Client, Origin, Proxy, settings},
};

fn proxy(lines: &str, origin: &Origin) -> (Proxy, Client) {
    let mut settings = settings(&[origin.address]);
    settings.frontends[0].rules = rules(lines);
    let proxy = Proxy::start(settings);
    let client = proxy.connect();
    (proxy, client)
}

#[test]
fn what_cannot_stand_in_a_request_line_is_encoded() {
    let origin = Origin::echo();
    let rules = " http-request set-path %[hdr(x)]\n http-request set-query %[hdr(y)]\n";
    let (proxy, mut client) = proxy(rules, &origin);
    client
        .send("GET /a HTTP/1.1\r\nHost: h\r\nX: /b HTTP/1.1#\r\nY: c\td \u{e9}\r\n\r\n".as_bytes());
    let response = client.response();
    let (_, seen) = response.split_once("\r\n\r\n").expect("a body");
    let line = seen.lines().next().expect("a line");
    assert_eq!(line, "GET /b%20HTTP/1.1%23?c%09d%20%C3%A9 HTTP/1.1");
    // The log shows what the client has sent.
    assert_eq!(proxy.log(1)[0].request, "GET /a HTTP/1.1");
}

#[test]
fn what_would_be_no_request_or_end_elsewhere_is_answered_with_500() {
    let get = |more: &str| format!("GET /foo HTTP/1.1\r\nHost: h\r\n{more}\r\n");
    let post = "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc".to_owned();
    let head = get("").replace("GET", "HEAD");
    let cases = [
        ("set-path %[hdr(no)]", get("")),
        ("set-path foo", get("")),
        ("replace-path ^/foo(.*) \\1", get("")),
        ("set-uri *", get("")),
        ("set-uri http://u@h/", get("")),
        ("set-uri foo:bar", get("")),
        ("set-method %[hdr(x)]", get("")),
        ("set-method %[hdr(x)]", get("X: A B\r\n")),
        ("set-method %[hdr(x)]", get("X: HEAD\r\n")),
        ("set-method %[hdr(x)]", get("X: CONNECT\r\n")),
        ("set-method GET", head),
        // An old server would take the payload for a request.
        ("set-method GET", post),
    ];
    for (rule, request) in cases {
        let origin = Origin::echo();
        let (proxy, mut client) = proxy(&format!(" http-request {rule}\n"), &origin);
        client.send(&request);
        let response = client.until(b"\r\n\r\n");
        assert!(response.starts_with("HTTP/1.1 500 "), "{rule}: {response}");
        assert_eq!(origin.opened(), 0, "{rule}");
        let line = &proxy.log(1)[0];
        assert_eq!((line.status, line.state.as_str()), (500, "PR--"), "{rule}");
        let proxies = proxy.engine.proxies();
        assert_eq!(proxies.frontends[0].counters.total(Count::RewriteErrors), 1, "{rule}");
    }
}

#[test]
fn no_rule_on_values_changes_where_a_message_ends() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\nHost: x\r\n\r\n", hidden.len());
    for action in ["replace-header", "replace-value"] {
        let origin = Origin::echo();
        let rule = format!(
            " http-request {action} Content-Length .* 0\n http-request {action} Host x x\n\
             \x20http-response {action} Content-Length .* 0\n"
        );
        let (_proxy, mut client) = proxy(&rule, &origin);
        client.send(format!("{request}{hidden}"));
        let response = client.response();
        let (_, seen) = response.split_once("\r\n\r\n").expect("a body");
        assert_eq!(seen, format!("{request}{hidden}"), "{action}");
    }
}

/// Messages bring no line ends, but a configuration's own texts may, through variables.
#[test]
fn no_value_begins_another_field() {
    let origin = Origin::echo();
    let lines = r#" http-request set-var-fmt(txn.a) "a\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1"
 http-request set-header X-A %[var(txn.a)]
 http-request add-header X-B %[var(txn.a)]
 http-request replace-header X-A ^a(.) %[var(txn.a)]
 http-request set-path /%[var(txn.a)]
 http-request redirect location /%[var(txn.a)] if { hdr(x) r }
 http-request return status 200 hdr X-D %[var(txn.a)] if { hdr(x) h }
 http-response set-header X-E %[var(txn.a)]
"#;
    let (_proxy, mut client) = proxy(lines, &origin);
    for x in ["", "r", "h"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {x}\r\n\r\n"));
        let response = client.response().to_ascii_lowercase();
        assert!(response.contains("a%0d%0ax-evil: 1"), "{response}");
        assert!(!response.contains("\nx-evil") && !response.contains("\nget /evil"), "{response}");
    }
    assert_eq!(origin.asked(), 1);
}
