//! Rules that change request lines and fields.

use crate::twins::{Twins, gets};

const LINES: &str = r#"listen a
  bind @a
  http-request set-path /q?x=1 if { path /q }
  http-request set-path /new%[path] if { path_beg /p/ }
  http-request set-pathq /q?x=1 if { path /pq }
  http-request set-query %[hdr(no)] if { path /sq0 }
  http-request set-query a=b if { path /sq1 }
  http-request set-query %[query]&z if { path /sq2 }
  http-request set-uri http://h:90/u?v if { path /su }
  http-request set-uri /new if { path /su2 }
  http-request set-uri * if { path /star }
  http-request set-method FOO if { path /m1 }
  http-request set-method %[hdr(x-m)] if { path /m2 }
  http-request replace-path (.*)/foo(.*) \1/bar\2 if { path_beg /rp }
  http-request replace-path /rm/(mid) /[\0]\9\1 if { path_beg /rm }
  http-request replace-pathq (.*)/foo(.*) \1/bar\2 if { path_beg /rq }
  http-request replace-uri (.*)/foo(.*) \1/bar\2 if { path_beg /ru }
  http-request replace-uri ^http://h/(.*) http://g/%[method]/\1 if { path_beg /rh }
  http-request replace-header X-A a(.*) [\1]%[src] if { path /h1 }
  http-request replace-value X-A a(.*) [\1] if { path /v1 }
  http-request replace-value X-A ^b$ %[hdr(no)] if { path /v2 }
  http-request replace-header X-A ^b %[hdr(no)] if { path /h2 }
  http-request set-header X-A a7 if { path /h3 }
  http-request add-header X-A "a8, b" if { path /h3 }
  http-request replace-header X-A a(.) c\1 if { path /h3 }
  http-request add-header X-A a9 if { path /h3 }
  http-request replace-value X-A b d if { path /h3 }
  http-request replace-header Host (.*) \1.inner if { path /h4 }
  http-request set-header Host safe if { path /t1 }
  http-request add-header host added:81 if { path /t2 }
  http-request del-header Host if { path /t3 }
  http-request replace-header Cookie foo=[^;]*;(.*) foo=\1;ip=%[src] if { path /h5 }
  http-request deny if { path /secret }
  http-request redirect prefix http://r if { path_beg /new/p/r }
  http-request set-header X-Saw %[path],%[query],%[url],%[method],%[url_param(e)],%HM,%HP,%HQ
  http-response replace-header X-Srv a(.*) <\1>
  http-response replace-value X-Srv ^[cd]$ [%s]
  http-response replace-header Location ^http://inner/(.*) http://outer/\1
  server s @origin
"#;

#[test]
fn request_lines_and_fields_are_rewritten_as_haproxy_does() {
    let twins = Twins::start(&["a"], LINES, &[]);
    let mut requests = gets([
        "/",
        "/q?k",
        "/p/a?e=1&f",
        "/p/a?",
        "/p/r?e=1",
        "/pq?k",
        "/sq0?k",
        "/sq0",
        "/sq1?k",
        "/sq1",
        "/sq2?k",
        "/sq2",
        "/su?k",
        "/su2?k",
        "http://h/su2?k",
        "http://h/q?k",
        "http://h/sq1?k",
        "http://h/sq1",
        "/m1",
        "/rp/foo/x?k=/foo",
        "/rp/x?k=/foo",
        "/rm/mid?k",
        "/rq/foo/x?k=/foo",
        "/ru/foo/x?k=/foo",
        "http://h/ru/foo/x?k=/foo",
        "http://h/rh/foo?k",
        "/h3",
        "/h4",
        "http://h/h4?k",
        "http://h/t1",
        "http://h/t2?k",
        "http://h/t3",
    ]);
    for path in ["/h1", "/v1", "/v2", "/h2", "/h3"] {
        for fields in [
            "X-A: a1, a2\r\nX-B: b\r\nX-a: b, a3\r\n",
            "X-A: a1, b\r\nX-a: b\r\n",
            "x-a: a\"b,a\",a1\r\nX-A:\r\n",
            "",
        ] {
            requests.push(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        }
    }
    for more in [
        "OPTIONS /star HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /m2 HTTP/1.1\r\nHost: h\r\nX-M: PUT\r\nContent-Length: 3\r\n\r\nabc",
        "HEAD /q HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /q HTTP/1.0\r\n\r\n",
        "GET /su HTTP/1.0\r\n\r\n",
        "GET /h5 HTTP/1.1\r\nHost: h\r\nCookie: foo=1; bar=2\r\n\r\n",
    ] {
        requests.push(more.to_owned());
    }
    twins.same("a", &requests);
}

/// They go to the server as they were written; a later rule reads the value between them, as it reads a
/// client's.
#[test]
fn what_a_rule_wrote_is_read_without_the_spaces_around_it() {
    let text = r#"listen a
  bind @a
  http-request set-header X-A "  a  "
  http-request add-header X-A "\t b, c "
  http-request set-header X-Blank "  "
  http-request replace-header X-C ^(.*)$ " <\1> "
  http-request replace-header X-C ^(.*)$ " [\1] "
  http-request set-header X-Read "<%[req.fhdr(x-a,1)]><%[req.fhdr(x-a)]><%[req.hdr(x-a,1)]><%[req.fhdr(x-blank)]><%[req.fhdr(x-c)]>"
  http-request set-header X-Is 1 if { req.fhdr(x-a) -m str a }
  http-response set-header X-Out "  z  "
  http-response set-header X-Case "<%[res.fhdr(x-out)]>"
  server s @origin
"#;
    let twins = Twins::start(&["a"], text, &[]);
    twins.same("a", &["GET / HTTP/1.1\r\nHost: h\r\nX-C: c\r\n\r\n".to_owned()]);
}

/// Names are matched without regard to case, and by regular expressions in lower case.
#[test]
fn fields_are_removed_by_what_their_names_match() {
    let text = r#"listen a
  bind @a
  http-request set-header X-Own 1
  http-request add-header X-Own 2
  http-request del-header X-Be -m beg if { path /beg }
  http-request del-header -END -m end if { path /end }
  http-request del-header iDd -m sub if { path /sub }
  http-request del-header x-own -m str if { path /str }
  http-request del-header ^x-[a-m] -m reg if { path /reg }
  http-request del-header ^X- -m reg if { path /upper }
  http-request del-header x- -m beg if { path /all }
  http-request del-header o -m sub if { path /host }
  http-request add-header X-Later 1
  http-request set-header X-Left %[req.hdr_cnt(x-begin)],%[req.hdr_cnt(x-own)]
  http-response del-header x- -m beg if { res.hdr(x-srv) -m found }
  server s @origin
"#;
    let twins = Twins::start(&["a"], text, &[]);
    let paths = ["/", "/beg", "/end", "/sub", "/str", "/reg", "/upper", "/all", "/host"];
    let fields = "X-Begin: 1\r\nx-Begin: 2\r\nX-The-End: 3\r\nMiddle: 4\r\nXX: 5";
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
    twins.same("a", &paths.map(get));
}

/// As Java's clients send it, whose Host leaves a scheme's own port out.
#[test]
fn the_host_of_connect_may_leave_out_the_ports_of_http_and_https() {
    let text = "listen a\n  bind @a\n  http-request return status 200 if METH_CONNECT\n  server s @origin\n";
    let twins = Twins::start(&["a"], text, &[]);
    let cases = [
        ("h:443", "h", "200"),
        ("h:80", "h", "200"),
        ("h:443", "h:", "200"),
        ("h:8080", "h:8080", "200"),
        ("h:8080", "h", "400"),
        ("h:80", "h:443", "400"),
        ("h:443", "g", "400"),
    ];
    for (target, host, status) in cases {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (theirs, ours) = twins.ask("a", &request);
        assert!(theirs.response[0].contains(status), "{target} {host}: {theirs:?}");
        assert!(ours.response[0].contains(status), "{target} {host}: {ours:?}");
    }
}
