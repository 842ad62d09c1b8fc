//! What is captured for the log.

use crate::compare;
use crate::pair::Case;

fn configuration() -> String {
    let mut text = String::from(
        "global\n  log LOG len 4096 local0\n  nbthread 1\ndefaults\n  mode http\n  log global\n  option httplog\n\
         \x20 timeout client 10s\n  timeout server 10s\n  timeout connect 10s\n  timeout http-request 200ms\n\
         \x20 retries 0\n",
    );
    let both = "capture request header Host len 5\n  capture request header X-Long len 10\n\
                \x20 capture request header X-None len 10\n  capture request header Cookie len 100\n\
                \x20 capture response header X-Server len 10\n  capture response header Location len 7\n\
                \x20 capture response header Set-Cookie len 100\n";
    for (name, lines) in [
        ("both", both.to_owned()),
        ("asked", "capture request header x-long len 8\n".to_owned()),
        ("told", "capture response header x-server len 0\n".to_owned()),
        ("cookie", "capture cookie SID len 12\n".to_owned()),
        ("exact", "capture cookie SID= len 70\n  cookie SRV insert indirect\n".to_owned()),
        ("clf", format!("{both}  option httplog clf\n  capture cookie SID= len 9\n")),
        (
            "own",
            format!(
                "{both}  capture cookie SID= len 9\n\
                 \x20 log-format \"] f b n %hr|%hs|%hrl|%hsl|%CC|%CS|%ts|%tsc|%{{+Q}}hr|%{{+Q}}hrl|%{{+E}}hr|%{{+Q}}CC\"\n\
                 \x20 http-request set-header X-Known '%hr %hs %hrl %hsl %CC %CS %tsc'\n\
                 \x20 http-request set-header Host other\n\
                 \x20 http-response set-header X-Told '%hr %hs %hrl %hsl %CC %CS %tsc'\n\
                 \x20 http-response set-header X-Server other\n"
            ),
        ),
        (
            "answers",
            format!(
                "{both}  capture cookie SID= len 9\n  http-request deny if {{ path /deny }}\n\
                 \x20 http-request return status 200 hdr Location x if {{ path /own }}\n\
                 \x20 http-request redirect location /there if {{ path /away }}\n"
            ),
        ),
    ] {
        text += &format!("listen {name}\n  bind {name}\n  {lines}  server a S1 cookie A\n");
    }
    text += &format!("frontend alone\n  bind alone\n  {both}  capture cookie SID len 9\n");
    text
}

#[test]
fn what_messages_had_is_in_the_log() {
    let mut cases = Vec::new();
    let all = ["both", "asked", "told", "cookie", "exact", "own", "answers", "alone"];
    for listen in all {
        let mut add = |line: &str, fields: &[&str]| cases.push(Case::new(listen, line, fields));
        add("GET /", &[]);
        add("GET / HTTP/1.0", &["Cookie: SID=1"]);
        add("GET /", &["X-Long: a very long value"]);
        add("GET /", &["X-Long: first", "x-long: second"]);
        add("GET /", &["X-Long: a{b|c}\"#d\u{e9}"]);
        add("GET /", &["X-Long:", "X-None: b\\]c d"]);
        for cookie in [
            "SID=1",
            "SID=0123456789abcdef",
            "A=1; SID=2; SID=3",
            "SIDE=4; SID=5",
            "SID = 6 ; B = 7",
            "SID",
            "SID=\"a;b\"; C=1",
            "SID=",
            "sid=1",
            "$SID=1; SID=2",
            "SRV=A; SID=8",
            // Cut behind the space.
            "SID=0123456 89",
            "SID=a{b|c}\"#d\u{e9}",
        ] {
            add("GET /", &[&format!("Cookie: {cookie}")]);
            add("GET /", &[&format!("x-reply: Set-Cookie: {cookie}; path=/")]);
        }
        add("GET /", &["Cookie: A=1", "Cookie: SID=2"]);
        add("GET /", &["x-reply: Set-Cookie: A=1", "x-reply: Set-Cookie: SID=2"]);
        add("GET /", &["x-reply: Location: /a/long/way", "x-status: 302"]);
        for path in ["/deny", "/own", "/away"] {
            add(&format!("GET {path}"), &["Cookie: SID=1", "X-Long: a"]);
        }
        cases.push(Case::raw(listen, "nonsense\r\n\r\n"));
        cases.push(Case::raw(listen, ""));
    }
    compare(&configuration(), cases);
}

#[test]
fn the_common_log_format_has_them_too() {
    let cases = [
        &[] as &[&str],
        &["Cookie: SID=1", "X-Long: a \"b\" {c}", "x-reply: Set-Cookie: SID=0123456789"],
        &["X-None: x", "x-reply: Location: /a/long/way"],
    ];
    compare(
        &configuration(),
        cases.iter().map(|fields| Case::new("clf", "GET /", fields)).collect(),
    );
}
