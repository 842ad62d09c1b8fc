//! Variables of rules, beside HAProxy.

use crate::twins::{Twins, gets};

const VARIABLES: &str = r#"  log-format "<%[var(txn.a)]> %[var(req.a)] %[var(res.a)] %[var(sess.n)] %{+Q}[var(txn.none)] %[var(txn.none,dflt)] %[var(txn.up),lower] %[var(txn.b)] %[var(txn.last)] %ST"
listen a
  bind @a
  http-request set-header X-Case %[path]
  http-request set-header X-Before %[var(sess.n)],%[var(txn.a)]
  http-request set-var(txn.a) path
  http-request set-var(req.a) hdr(x-a),lower
  http-request set-var(sess.n) path if !{ var(sess.n) -m found }
  http-request unset-var(sess.n) if { path /forget }
  http-request set-var-fmt(txn.up) "UP-%[path]-%ci"
  http-request set-var(txn.num) int(5)
  http-request set-var(txn.ip) src
  http-request set-var(txn.x) str(abc)
  http-request unset-var(txn.x) if { path /unset }
  http-request set-var(txn.x) hdr(none)
  http-request set-var(txn.x) url_param(p) if { url_param(p) -m found }
  http-request set-header X-V %[var(txn.a)]|%[var(req.a)]|%[var(txn.up)]|%[var(txn.num)]|%[var(txn.x)]|%[var(txn.none,zz)]|%[var(txn.ip)]
  http-request deny deny_status 404 if { var(txn.num) -m int gt 6 }
  http-request deny deny_status 410 if { var(txn.a) -m str /410 }
  http-request deny deny_status 429 if { var(txn.a) -m beg /429 } { var(txn.ip) -m ip 127.0.0.0/8 }
  http-request return status 200 content-type text/plain lf-string "%[var(txn.a)] %[var(txn.x)]" if { path /return }
  http-response set-header X-R %[var(txn.a)]|%[var(req.a)]|%[var(txn.up)]
  http-response set-var(res.a) status
  http-response set-var(txn.b) res.hdr(x-case)
  http-response set-var(sess.n) str(response) if { res.hdr(x-case) /response }
  http-response set-header X-R2 %[var(res.a)]|%[var(txn.b)]|%[var(sess.n)]
  http-response deny if { var(txn.a) -m str /r-deny }
  http-after-response set-header X-L %[var(txn.a)]|%[var(res.a)]
  http-after-response set-var(txn.last) status
  server s @origin
frontend b
  bind @b
  http-request set-var(txn.to) path
  use_backend two if { var(txn.to) -m beg /two }
  default_backend one
backend one
  balance hdr(x-none)
  http-request set-header X-To %[var(txn.to)],one
  server s @origin
backend two
  http-request set-header X-To %[var(txn.to)],two
  http-request set-path /%[var(txn.to),upper]
  server s @origin
"#;

#[test]
fn variables_are_where_haproxy_has_them() {
    let twins = Twins::start(&["a", "b"], VARIABLES, &[]);
    let mut requests = gets([
        "/",
        "/unset",
        "/410",
        "/429x",
        "/return",
        "/x?p=1&p=2",
        "/r-deny",
        "/404",
        "/response",
    ]);
    let more = "GET /y HTTP/1.1\r\nHost: h\r\nX-A: One,Two\r\nX-A: Three\r\n\r\n";
    requests.push(more.to_owned());
    twins.same("a", &requests);
    twins.same("b", &gets(["/", "/two/x"]));
}

/// Those of a connection are there for its next request, others are not.
#[test]
fn a_connections_variables_outlast_its_requests() {
    let twins = Twins::start(&["a", "b"], VARIABLES, &[]);
    for paths in [["/1", "/2"], ["/response", "/2"], ["/forget", "/2"], ["/410", "/2"]] {
        twins.same_together("a", &gets(paths));
    }
}

/// What is put together of itself with each request has an end.
#[test]
fn a_variable_is_no_longer_than_a_buffer() {
    let text = "global\n  tune.bufsize 4096\nlisten a\n  bind @a\n\
        \x20 http-request set-var(sess.a) path if !{ var(sess.a) -m found }\n\
        \x20 http-request set-var(sess.a) var(sess.a),concat(-,sess.a)\n\
        \x20 http-request set-var-fmt(sess.f) %[var(sess.f)]%[var(sess.a)]\n\
        \x20 http-response set-header X-Length %[var(sess.a),length],%[var(sess.f),length]\n\
        \x20 server s @origin\n";
    let twins = Twins::start(&["a"], text, &[]);
    twins.same_together("a", &gets(["/abcdefg"; 12]));
}
