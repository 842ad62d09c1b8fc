//! What rules keep for the log, beside HAProxy.

use crate::twins::{Twins, gets};

/// Slots are counted by their lines, whatever makes them.
const CAPTURES: &str = r#"  log-format "%hr %hs {%[capture.req.hdr(0)]|%[capture.req.hdr(3)]|%[capture.res.hdr(1)]} %hrl %ST %tsc"
listen a
  bind @a
  http-request capture path len 5
  capture request header X-A len 4
  declare capture request len 10
  tcp-request content capture method len 30
  declare capture response len 8
  capture response header X-Srv len 3
  declare capture response len 2
  http-request capture hdr(x-b),upper id 2
  http-request capture str(again) id 2 if { path_beg /again }
  http-request capture str(instead) id 1 if { path_beg /instead }
  http-request capture hdr(x-none) id 0
  http-request set-header X-Case %[path]
  http-request set-header X-First %[http_first_req]
  http-response set-header X-First2 %[http_first_req]
  http-request set-header X-Kept %[capture.req.hdr(0)],%[capture.req.hdr(1)],%[capture.req.hdr(9)]
  http-request deny if { path /deny }
  http-request return status 200 if { capture.req.hdr(0) /ret }
  http-response capture status id 0
  http-response capture res.hdr(x-case) id 2
  http-response set-header X-Kept2 %[capture.req.hdr(0)],%[capture.res.hdr(0)],%[capture.res.hdr(2)]
  http-response deny if { capture.res.hdr(2) /r }
  server s @origin
frontend b
  bind @b
  declare capture request len 6
  default_backend one
backend one
  http-request capture path id 0
  http-request capture path id 7
  http-response capture status id 0
  server s @origin
"#;

#[test]
fn captures_are_what_haproxy_keeps() {
    let twins = Twins::start(&["a", "b"], CAPTURES, &[]);
    let mut requests =
        gets(["/", "/longer/than/that", "/again", "/instead", "/deny", "/ret", "/rx"]);
    for request in gets(["/", "/instead?x|y"]) {
        requests.push(request.replace("\r\n\r\n", "\r\nX-A: abcdef\r\nX-B: b1, b{2}\r\n\r\n"));
    }
    for listen in ["a", "b"] {
        twins.same(listen, &requests);
    }
    twins.same_together("a", &gets(["/", "/again", "/"]));
}
