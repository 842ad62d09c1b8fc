//! Words of many kinds at once: each sees what the ones before have left.

use crate::compare;
use crate::pair::Case;

const CONFIGURATION: &str = "global
  log LOG len 4096 local0
  nbthread 1
defaults
  mode http
  log global
  option httplog
  timeout client 10s
  timeout server 10s
  timeout connect 10s
  retries 0
frontend mixed
  bind mixed
  capture request header X-Cap len 12
  capture cookie S len 20
  unique-id-format id-%HM
  unique-id-header X-Uid
  http-request set-var(txn.p) path
  http-request set-path /new%[path] if { path_beg /old }
  http-request replace-header Cookie (.*)zap=([^;]*)(.*) \\1zap=x\\2\\3 if { path_end /zap }
  http-request replace-header Cookie (.*)S=a(.*) \\1S=b\\2 if { path_end /turn }
  http-request set-header Cookie S=b if { path_end /force }
  http-request add-header Cookie S=a if { path_end /add }
  http-request deny deny_status 429 if { hdr(x-deny) -m found }
  http-request return status 201 content-type text/plain lf-string \"%[var(txn.p)]\" if { path_end /ret }
  http-request redirect prefix http://x code 301 if { path_end /red }
  http-after-response set-header X-P %[var(txn.p)]
  http-response set-status 418 if { res.hdr(x-server) -m found } { res.hdr(vary) -m found }
  default_backend both
backend both
  cookie S insert indirect nocache
  use-server b if { path_beg /ub }
  http-request set-query q=%[query,length] if { query -m found }
  http-response replace-value Vary (.*) <\\1>
  server a S1 cookie a
  server b S2 cookie b
";

#[test]
fn words_see_what_those_before_have_left() {
    let mut cases = Vec::new();
    let paths = [
        "/",
        "/old/x",
        "/old/zap",
        "/turn",
        "/force",
        "/add",
        "/ret",
        "/red",
        "/ub",
        "/ub/zap",
        "/ub/force",
        "/q?abc=1",
        "/old/ret?x=1",
        "/ub/red",
        "/old/turn?y",
    ];
    for path in paths {
        for cookie in ["S=a", "S=b", "zap=1; S=a", "S=a; zap=1; T=2", "S=a, S=b"] {
            let cookie = format!("Cookie: {cookie}");
            let line = format!("GET {path}");
            for more in [
                [].as_slice(),
                &["X-Deny: 1"],
                &["X-Cap: abcdefghijklmnop"],
                &["x-reply: Vary: a, b"],
                &["x-reply: Set-Cookie: S=own; path=/"],
            ] {
                let fields = [&[cookie.as_str()], more].concat();
                cases.push(Case::new("mixed", &line, &fields));
            }
        }
    }
    compare(CONFIGURATION, cases);
}
