//! What takes the place of error pages.

use crate::twins::{Twins, gets};

const ERRORS: &str = r#"http-errors one
  errorfile 403 @folder/one-403.http
  errorfile 404 @folder/one-404.http
  errorfile 500 /dev/null
defaults
  mode http
  log global
  option httplog
  timeout client 10s
  timeout server 10s
  timeout connect 10s
  timeout tarpit 50ms
  errorloc 401 /from-defaults
listen a
  bind @a
  errorloc 403 http://e/%ci
  errorloc302 503 http://e/503
  errorfile 410 @folder/odd.http
  http-error status 429 content-type text/plain lf-string "%[path] %ci %ST %[src] %HU" hdr X-A "%b %[hdr(host)]"
  http-error status 500 content-type text/html string "<b>%ci</b>" hdr Set-Cookie a=b
  http-error status 425
  http-error status 405 errorfile @folder/odd.http
  http-error status 404 errorfiles one
  errorloc303 404 /e404
  http-request deny if { path /403 }
  http-request deny deny_status 401 if { path /401 }
  http-request deny deny_status 404 if { path /404 }
  http-request deny deny_status 405 if { path /405 }
  http-request deny deny_status 410 if { path /410 }
  http-request deny deny_status 429 if { path /429 }
  http-request deny deny_status 500 if { path /500 }
  http-request deny deny_status 425 if { path /425 }
  http-request return status 404 default-errorfiles if { path /def404 }
  http-request return errorfile @folder/odd.http if { path /own }
  http-request return status 404 errorfile @folder/one-404.http if { path /own404 }
  http-request return errorfile /dev/null if { path /mute }
  http-request deny errorfile @folder/odd.http if { path /denied }
  http-request deny deny_status 429 errorfile @folder/odd.http if { path /denied429 }
  http-request tarpit errorfile @folder/odd.http if { path /held }
  http-request set-header X-Case %[path] if { path /late }
  http-response return status 202 errorfile @folder/odd.http if { res.hdr(x-case) /late }
  http-response deny if { status 200 }
  http-response deny deny_status 404 if { status 404 }
  server s @origin
frontend b
  bind @b
  errorfiles one
  http-error status 404 default-errorfiles
  http-error status 400 content-type text/plain string early
  http-request deny if { path /403 }
  http-request deny deny_status 404 if { path /404 }
  http-request deny deny_status 500 if { path /500 }
  default_backend bb
backend bb
  errorfiles one 404
  errorfile 403 @folder/odd.http
  http-error status 429 content-type text/plain lf-string "%[path] %b %f %s"
  http-request set-path /other%[path] if { path /b429 }
  http-request deny if { path /b403 }
  http-request deny deny_status 404 if { path /b404 }
  http-request deny deny_status 429 if { path /other/b429 }
  http-after-response set-header X-After %[status]
  server s @origin
"#;

const FILES: [(&str, &str); 3] = [
    ("one-403.http", "HTTP/1.1 403 One\r\nContent-Length: 3\r\n\r\n403"),
    ("one-404.http", "HTTP/1.1 404 One\r\nContent-Length: 3\r\n\r\n404"),
    ("odd.http", "HTTP/1.1 599 Odd\r\nX: y\r\nContent-Length: 2\r\n\r\nab"),
];

#[test]
fn errors_are_told_as_the_configuration_says() {
    let twins = Twins::start(&["a", "b"], ERRORS, &FILES);
    let mut requests = gets([
        "/403",
        "/401",
        "/404",
        "/405",
        "/410",
        "/429",
        "/429?q",
        "/425",
        "/def404",
        "/own",
        "/own404",
        "/mute",
        "/denied",
        "/denied429",
        "/held",
        "/late",
        "/",
    ]);
    for request in gets(["/403", "/404", "/410", "/429"]) {
        requests.push(request.replace("GET", "HEAD"));
        requests.push(request.replace("HTTP/1.1", "HTTP/1.0"));
    }
    twins.same("a", &requests);
    twins.same("b", &gets(["/403", "/404", "/500", "/b403", "/b404", "/b429"]));
    twins.same("b", &["GET bad\r\n\r\n".to_owned()]);
}
