//! Unique ids.

use crate::twins::{Twins, gets};

const IDS: &str = r#"  unique-id-header X-Id
listen a
  bind @a
  log-format "%ID %{+Q}ID %ST <%[unique-id]>"
  unique-id-format "%[hdr(x-a)]-%{+Q}f-%HM-%[path]"
  http-request set-header X-Early %[unique-id],%ID
  http-request set-header X-A changed
  http-request deny if { path /deny }
  http-request deny deny_status 404 if { unique-id -m end /by-id }
  http-response set-header X-Said %ID
  server s @origin
listen b
  bind @b
  log-format "%ID %[method]"
  unique-id-format %ci:%b
  unique-id-header X-Name
  server s @origin
listen c
  bind @c
  log-format "%ID|%{+Q}ID|%ST"
  unique-id-format %[hdr(none)]
  server s @origin
frontend d
  bind @d
  log-format "%ID %b"
  unique-id-format %f/%b
  unique-id-header Cookie
  default_backend dd
backend dd
  http-request set-header X-Id2 %ID
  server s @origin
frontend e
  bind @e
  log-format "%ID %b %s"
  unique-id-format %f%[path]
  use_backend ee if { unique-id -m beg e/e }
  default_backend dd
backend ee
  use-server two if { unique-id -m end 2 }
  server one @origin
  server two @origin
  server three @origin weight 0
listen t
  bind @t
  mode tcp
  timeout client 100ms
  timeout server 100ms
  log-format "%ID %b"
  unique-id-format %ci:%f
  server s @origin
"#;

#[test]
fn ids_are_haproxys() {
    let twins = Twins::start(&["a", "b", "c", "d", "e", "t"], IDS, &[]);
    let mut requests = gets(["/", "/deny", "/by-id", "/404"]);
    requests.push("GET / HTTP/1.1\r\nHost: h\r\nX-A: 1,2\r\nX-Id: theirs\r\n\r\n".to_owned());
    requests.push("HEAD / HTTP/1.0\r\n\r\n".to_owned());
    twins.same("a", &requests);
    for listen in ["b", "c", "d"] {
        twins.same(listen, &gets(["/"]));
        twins.same(listen, &["GET bad\r\n\r\n".to_owned()]);
    }
    twins.same("e", &gets(["/e2", "/x2", "/e2", "/e2"]));
    twins.same("t", &["GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()]);
}
