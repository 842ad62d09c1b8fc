//! Rules that answer, hold back or close, and rules on responses.

use crate::twins::{Twins, gets};

const ANSWERS: &str = r#"  timeout tarpit 150ms
listen a
  bind @a
  http-request set-header X-Case %[path]
  http-request tarpit if { path /tarpit }
  http-request tarpit deny_status 429 if { path /tarpit-429 }
  http-request tarpit status 410 content-type text/plain string bye if { path /tarpit-own }
  http-request reject if { path /reject }
  http-request set-log-level alert if { path /alert }
  http-request set-log-level silent if { path_beg /loud }
  http-request set-log-level debug if { path /loud }
  http-request deny if { path /deny }
  http-request return status 200 content-type text/plain string hi if { path /return }
  http-request return status 200 hdr X-None %[req.hdr(x-none)] hdr X-Path %[path] if { path /return-none }
  http-request return status 200 content-type text/plain lf-string %[req.hdr(x-none)] if { path /return-empty }
  http-request return status 200 content-type text/plain file /dev/null if { path /return-file }
  http-request redirect location /x if { path /redirect }
  http-response set-status 404 reason "No such" if { res.hdr(x-case) /reason }
  http-response set-status 599 if { res.hdr(x-case) /599 }
  http-response set-status 299 if { res.hdr(x-case) /299 }
  http-response set-log-level notice if { status 599 }
  http-response set-log-level crit if { res.hdr(x-case) /loud-crit }
  http-response deny if { res.hdr(x-case) /r-deny }
  http-response deny deny_status 403 if { res.hdr(x-case) /r-deny-403 }
  http-response deny status 410 content-type text/plain string gone if { res.hdr(x-case) /r-deny-own }
  http-response return status 200 content-type text/plain lf-string "by %s of %b" if { res.hdr(x-case) /r-return }
  http-response return status 404 default-errorfiles if { res.hdr(x-case) /r-page }
  http-response redirect location http://r/%s code 301 if { res.hdr(x-case) /r-redirect }
  http-response allow if { res.hdr(x-case) /r-allow }
  http-response set-header X-Late 1
  http-after-response set-header X-After %[status]
  http-after-response add-header X-By %s,%b if { status 200 }
  http-after-response replace-value X-Srv ^a A
  http-after-response set-status 418 if { res.hdr(x-case) /a-status }
  http-after-response set-status 451 reason Ssh if { status 403 }
  http-after-response allow if { res.hdr(x-case) /a-allow }
  http-after-response del-header X-Late
  server s @origin
frontend b
  bind @b
  http-request tarpit deny_status 500 if { path /front }
  http-response deny if { res.hdr(x-case) /both }
  http-response set-header X-Front 1
  http-after-response set-header X-Front-After %[res.hdr(x-back-after)]
  default_backend bb
backend bb
  timeout tarpit 10ms
  http-request tarpit if { path /back }
  http-request reject if { path /back-reject }
  http-request set-header X-Case %[path]
  http-response allow if { res.hdr(x-case) /allowed }
  http-response return status 202 if { res.hdr(x-case) /both }
  http-response set-header X-Back 1
  http-after-response set-header X-Back-After 1
  server s @origin
"#;

fn twins() -> Twins {
    Twins::start(&["a", "b"], ANSWERS, &[])
}

#[test]
fn answers_and_their_logs_are_haproxys() {
    let twins = twins();
    let mut requests = gets([
        "/",
        "/tarpit",
        "/tarpit-429",
        "/tarpit-own",
        "/reject",
        "/alert",
        "/loud",
        "/loud-crit",
        "/deny",
        "/return",
        "/return-none",
        "/return-empty",
        "/return-file",
        "/redirect",
        "/reason",
        "/599",
        "/299",
        "/r-deny",
        "/r-deny-403",
        "/r-deny-own",
        "/r-return",
        "/r-page",
        "/r-redirect",
        "/r-allow",
        "/a-status",
        "/a-allow",
        "/404",
    ]);
    for path in ["/deny", "/r-deny", "/r-return", "/599", "/tarpit", "/a-status"] {
        requests.push(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        requests.push(format!("GET {path} HTTP/1.0\r\n\r\n"));
        requests.push(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        let post = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        requests.push(post);
    }
    twins.same("a", &requests);
}

#[test]
fn backends_rules_come_before_frontends() {
    let paths = ["/", "/front", "/back", "/back-reject", "/allowed", "/both", "/404"];
    twins().same("b", &gets(paths));
}

const DEFAULTS: &str = r#"defaults front
  mode http
  log global
  option httplog
  timeout client 10s
  acl old path_beg /old
  http-request deny if old
  http-request allow if { path /allowed }
  http-request set-header X-Case front
  http-response set-header X-Front 1
  http-response allow if { res.hdr(x-case) early }
  http-after-response set-header X-After front
defaults back
  mode http
  timeout server 10s
  timeout connect 10s
  http-request set-header X-Case early if { path /early }
  http-request return status 202 if { path /back }
frontend a from front
  bind @a
  acl old path /never
  http-request deny deny_status 404 if old
  http-request set-header X-Own "%[hdr(x-case)]"
  http-response set-header X-Front 2
  http-after-response set-header X-After "%[res.hdr(x-after)],own"
  redirect location /x if { path /allowed }
  use_backend two if { path_beg /two }
  default_backend one
backend one from back
  http-request set-header X-Own one
  server s @origin
backend two from back
  server s @origin
"#;

#[test]
fn rules_of_defaults_come_first() {
    let twins = Twins::start(&["a"], DEFAULTS, &[]);
    twins.same("a", &gets(["/", "/old", "/allowed", "/never", "/early", "/back", "/two"]));
}

const MONITOR: &str = r#"listen a
  bind @a
  monitor-uri /up
  acl bad hdr(x-bad) -m found
  monitor fail if bad
  monitor fail unless { hdr(host) h }
  http-request deny
  http-after-response set-header X-After %[status]
  errorfile 503 @folder/503.http
  server s @origin
"#;

/// A monitor with a path answers for every host; one with an absolute URI answers just this.
#[test]
fn a_monitor_is_asked_for_as_it_is_written() {
    let text = "listen a\n  bind @a\n  monitor-uri /up\n  server s @origin\n\
        listen b\n  bind @b\n  monitor-uri http://h/up\n  server s @origin\n";
    let twins = Twins::start(&["a", "b"], text, &[]);
    // The second request is logged whatever becomes of the first.
    let next = "GET /404 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let cases = [("a", "/up", 200), ("a", "http://h/up", 200), ("b", "http://h/up", 200)];
    for (listen, target, status) in cases {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n{next}");
        let (theirs, ours) = twins.ask(listen, &request);
        assert!(theirs.log.contains("/404"), "{listen} {target}: {theirs:?}");
        assert!(theirs.response[0].contains(&status.to_string()), "{listen} {target}: {theirs:?}");
        assert_eq!(theirs.log, ours.log, "{listen} {target}");
    }
    twins.same("b", &gets(["/up", "/UP", "http://h/up?x"]));
}

/// Whoever watches is told so, and the log hears of the next request alone.
#[test]
fn a_monitor_fails_where_its_conditions_say_so() {
    let page = "HTTP/1.1 503 Not now\r\nContent-Length: 2\r\n\r\nno";
    let twins = Twins::start(&["a"], MONITOR, &[("503.http", page)]);
    let next = "GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for (fields, status) in [("Host: h", 200), ("Host: h\r\nX-Bad: 1", 503), ("Host: other", 503)] {
        let request = format!("GET /up HTTP/1.1\r\n{fields}\r\n\r\n{next}");
        let (theirs, ours) = twins.ask("a", &request);
        assert!(ours.response[0].contains(&status.to_string()), "{fields}: {ours:?}");
        assert!(ours.log.contains("/next"), "{fields}: {ours:?}");
        // What follows the first answer differs in the case of its fields.
        let own = |response: &[String]| response[..response.len() - 1].to_vec();
        assert_eq!(
            (own(&theirs.response), theirs.log),
            (own(&ours.response), ours.log),
            "{fields}"
        );
    }
}
