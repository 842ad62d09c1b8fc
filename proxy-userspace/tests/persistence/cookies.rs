//! Persistence by cookie.

use crate::compare;
use crate::pair::{Case, HELD, Pair, date};
use crate::support::until::until;
use std::io::Write;
use std::sync::atomic::Ordering;

/// In each proxy: two servers, one in maintenance that answers all the same, and one whose weight is 0
/// where nobody listens.
pub(crate) fn configuration() -> String {
    let mut text = String::from(
        "global\n  log LOG local0\n  nbthread 1\ndefaults\n  mode http\n  log global\n  option httplog\n\
         \x20 timeout client 10s\n  timeout server 10s\n  timeout connect 10s\n  balance first\n  retries 0\n",
    );
    let servers = "  server a S1 cookie A\n  server b S2 cookie B\n  server off S2 cookie OFF disabled\n\
                   \x20 server idle S2 cookie IDLE weight 0\n  server gone DEAD cookie GONE weight 0\n\
                   \x20 server shared-off S1 cookie SHARED disabled\n  server shared S2 cookie SHARED weight 0\n";
    for (name, lines) in [
        ("insert", "cookie SRV insert"),
        ("indirect", "cookie SRV insert indirect"),
        ("nocache", "cookie SRV insert nocache"),
        ("postonly", "cookie SRV insert indirect postonly"),
        ("preserve", "cookie SRV insert indirect preserve"),
        ("rewrite", "cookie SRV rewrite"),
        ("prefix", "cookie SRV prefix"),
        ("passive", "cookie SRV"),
        ("unseen", "cookie SRV indirect"),
        (
            "whole",
            "cookie SRV insert attr Same=Lax secure domain .a.example domain b.example httponly attr x",
        ),
        ("dated", "cookie SRV insert indirect maxidle 10m maxlife 1h"),
        ("idling", "cookie SRV insert maxidle 600"),
        ("living", "cookie SRV insert maxlife 1h"),
        ("persist", "cookie SRV insert\n  option persist"),
        ("again", "cookie SRV insert\n  option persist\n  option redispatch\n  retries 1"),
        (
            "rules",
            "cookie SRV insert\n  acl forced hdr(x-force) yes\n  force-persist if forced\n\
             \x20 ignore-persist unless { hdr(x-mind) yes }\n  option redispatch\n\
             \x20 http-request deny if { path /deny }\n  http-request return status 200 if { path /own }\n\
             \x20 http-request redirect location / if { path /away }\n\
             \x20 http-request set-header Cookie SRV=B if { path /set }\n\
             \x20 http-request add-header Cookie SRV=B;X=1 if { path /add }\n\
             \x20 http-response add-header Set-Cookie SRV=own if { hdr(x-server) s2 }",
        ),
        (
            "thrice",
            "cookie SRV insert\n  option redispatch\n  retries 2\n  force-persist if { hdr(x-force) yes }",
        ),
        (
            "edits",
            "cookie SRV insert indirect\n\
             \x20 http-request set-header Cookie 'Y=1; SRV=B' if { path /set }\n\
             \x20 http-request set-header Cookie SRV=B if { path /alone }\n\
             \x20 http-request add-header Cookie 'SRV=B; X=1' if { path_beg /add }\n\
             \x20 http-request add-header Cookie SRV=A if { path /added }\n\
             \x20 http-request del-header Cookie if { path /del }",
        ),
        (
            "resets",
            "cookie SRV rewrite\n  http-response add-header Set-Cookie 'SRV=own; path=/'\n\
             \x20 http-response add-header Set-Cookie SRV=more",
        ),
        (
            "tells",
            "cookie SRV insert\n  http-request set-header X-Known <%tsc%ts>\n\
             \x20 http-response set-header X-Told <%tsc%ts>",
        ),
        ("none", ""),
    ] {
        text += &format!("listen {name}\n  bind {name}\n  {lines}\n{servers}");
    }
    // A server without a value, as backups may be.
    text += "listen bare\n  bind bare\n  cookie SRV insert domain .x\n  server a S1\n  server b S2 cookie B\n";
    text +=
        "listen nobody\n  bind nobody\n  cookie SRV insert\n  server off S1 cookie OFF disabled\n";
    text += "frontend front\n  bind front\n  default_backend back\n\
             backend back\n  cookie SRV insert indirect\n  server a S1 cookie A\n  server b S2 cookie B\n\
             \x20 http-request deny if { path /deny }\n  http-request return status 200 if { path /own }\n\
             \x20 http-request set-header X-Known <%tsc>\n  http-response set-header X-Told <%tsc>\n";
    text
}

#[test]
fn who_gets_a_request_and_what_becomes_of_its_cookie() {
    let mut cases = Vec::new();
    let mut get = |listen, fields: &[&str]| cases.push(Case::new(listen, "GET /", fields));
    let everywhere = ["insert", "indirect", "nocache", "rewrite", "prefix", "passive", "unseen"];
    for listen in everywhere.into_iter().chain(["preserve", "none"]) {
        get(listen, &[]);
        for cookie in [
            "SRV=B",
            "SRV=b",
            "SRV=nobody",
            "SRV=",
            "SRV",
            "srv=B",
            "SRV=OFF",
            "SRV=IDLE",
            "SRV=SHARED",
            "SRV=GONE",
            "A=1; SRV=B",
            "SRV=B; A=1",
            "A=1; SRV=B; C=2",
            "A=1;SRV=B;C=2",
            "A=1 ; SRV = B ; C = 2",
            "A=1, SRV=B, C=2",
            "SRV=\"B\"",
            "A=\"x; SRV=B\"; C=2",
            "A=\"x\\\"; SRV=B\"; SRV=B",
            "SRV=B; SRV=A",
            "SRV=nobody; SRV=B; X=1; SRV=A; Y=2",
            "SRV=OFF; SRV=A",
            "$Version=1; SRV=B; $Path=/",
            "$Version=1; A=1; SRV=B; $Path=/; C=2",
            "A; SRV=B; C",
            "SRV=B;",
            ";SRV=B",
            "A=1;; SRV=B",
            "SRV=B~tail; A=1",
            "A=1; SRV=B~tail~more",
            "SRV=~tail",
            "SRV=nobody~tail",
            "SRV=B~",
        ] {
            get(listen, &[&format!("Cookie: {cookie}")]);
        }
        get(listen, &["Cookie: A=1", "Cookie: SRV=B", "Cookie: C=2"]);
        get(listen, &["Cookie: SRV=B; A=1", "Cookie: SRV=A; C=2"]);
        for set in [
            "SRV=own; path=/",
            "SRV=own",
            "SRV = own ; path=/",
            "SRV=\"ow;n\"; Secure",
            "A=1; SRV=no",
            "SRV",
            "SRV=",
            "srv=own",
        ] {
            get(listen, &[&format!("x-reply: Set-Cookie: {set}")]);
            get(listen, &["Cookie: SRV=B", &format!("x-reply: Set-Cookie: {set}")]);
        }
        let several = ["x-reply: Set-Cookie: A=1", "x-reply: Set-Cookie: SRV=own; a=b"];
        get(listen, &[several[0], several[1], "x-reply: Set-Cookie: C=2"]);
        get(listen, &["x-reply: Set-Cookie2: SRV=own; Version=1"]);
        // HAProxy leaves a part of what it takes out.
        if !["insert", "indirect", "nocache"].contains(&listen) {
            for several in ["A=1; x=y, SRV=own; z=\"a,b\", B=2", "SRV = own , B = 2", "A=1,SRV=own"]
            {
                get(listen, &[&format!("x-reply: Set-Cookie2: {several}")]);
            }
        }
    }
    compare(&configuration(), cases);
}

#[test]
fn which_responses_get_a_cookie() {
    let mut cases = Vec::new();
    let mut add = |listen, line: &str, fields: &[&str]| cases.push(Case::new(listen, line, fields));
    for line in ["POST / HTTP/1.1", "GET / HTTP/1.1", "post / HTTP/1.1", "HEAD / HTTP/1.1"] {
        for cookie in ["Cookie: SRV=B", "A: b"] {
            add("postonly", line, &[cookie]);
        }
    }
    add("postonly", "POST /", &["Cookie: SRV=B", "x-reply: Set-Cookie: SRV=own"]);
    add("whole", "GET /", &[]);
    add("bare", "GET /", &[]);
    add("bare", "GET /", &["Cookie: SRV=B"]);
    add("bare", "GET /", &["Cookie: SRV="]);
    add("nobody", "GET /", &[]);
    add("nobody", "GET /", &["Cookie: SRV=OFF"]);
    for listen in ["insert", "prefix", "front"] {
        add(listen, "GET / HTTP/1.0", &["Cookie: SRV=B"]);
        add(listen, "GET / HTTP/1.0", &[]);
        add(listen, "GET /", &["x-status: 404"]);
        add(listen, "GET /", &["x-status: 500", "Cookie: SRV=A"]);
    }
    // Whether a cache might keep it.
    for line in ["GET /", "POST /", "OPTIONS /", "PUT /"] {
        for reply in [
            &["ETag: a"] as &[&str],
            &[],
            &["Last-Modified: x"],
            &["Expires: x"],
            &["Cache-Control: max-age=5"],
            &["Cache-Control: public, max-age=5"],
            &["Cache-Control: public"],
            &["Cache-Control: max-age=0", "ETag: a"],
            &["Cache-Control: max-age=0, s-maxage=9"],
            &["Cache-Control: max-age=0, public", "ETag: a"],
            &["Cache-Control: max-age=0", "Cache-Control: public, max-age=2"],
            &["Cache-Control: s-maxage=0", "ETag: a"],
            &["Cache-Control: private", "ETag: a"],
            &["Cache-Control: private, public", "ETag: a"],
            &["Cache-Control: No-Store", "ETag: a"],
            &["Pragma: no-cache", "ETag: a"],
            &["Pragma: x", "ETag: a"],
        ] {
            let fields: Vec<String> =
                reply.iter().map(|field| format!("x-reply: {field}")).collect();
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            add("nocache", line, &fields);
        }
    }
    for status in ["302", "301", "404", "201", "501"] {
        add("nocache", "GET /", &[&format!("x-status: {status}"), "x-reply: ETag: a"]);
    }
    add("nocache", "GET /", &["Cookie: SRV=B", "x-reply: ETag: a"]);
    compare(&configuration(), cases);
}

#[test]
fn cookies_that_are_too_old() {
    let mut cases = Vec::new();
    for listen in ["dated", "idling", "living", "insert", "indirect", "rewrite", "passive"] {
        let mut get = |cookie: &str| {
            cases.push(Case::new(listen, "GET /", &[&format!("Cookie: A=1; SRV={cookie}")]));
        };
        get("B");
        for last in [-30, -599, -700, -5000, 30, 80_000, 90_000] {
            get(&format!("B|{}", date(last)));
            for first in [-60, -3500, -4000, 90_000] {
                get(&format!("B|{}|{}", date(last), date(first)));
            }
        }
        for odd in
            ["B|", "B||", "B|AAAA", "B|AAAAA", "B|?????", "B|AAAAB|", "|AAAAB", "nobody|AAAAB"]
        {
            get(odd);
        }
        get(&format!("B||{}", date(-60)));
        get(&format!("B|{}|more|more", date(-60)));
        get(&format!("OFF|{}", date(-60)));
        get(&format!("B|{}; SRV=A|{}", date(-60), date(-5000)));
        get(&format!("B|{}; SRV=A|{}", date(-5000), date(-60)));
    }
    compare(&configuration(), cases);
}

#[test]
fn servers_that_are_down_and_rules_that_say_so() {
    let mut cases = Vec::new();
    let mut add = |listen, line: &str, fields: &[&str]| cases.push(Case::new(listen, line, fields));
    for listen in ["persist", "again"] {
        for cookie in ["OFF", "GONE", "IDLE", "SHARED", "nobody"] {
            add(listen, "GET /", &[&format!("Cookie: SRV={cookie}")]);
        }
        add(listen, "GET /", &["Cookie: SRV=OFF; SRV=B"]);
    }
    for cookie in ["OFF", "A", "B", "nobody", ""] {
        let cookie = format!("Cookie: SRV={cookie}");
        for rule in ["x-force: yes", "x-mind: yes", "x-none: yes"] {
            for path in ["/", "/set", "/add"] {
                add("rules", &format!("GET {path}"), &[&cookie, rule]);
            }
            for path in ["/deny", "/own", "/away"] {
                add("rules", &format!("GET {path}"), &[&cookie, rule]);
            }
        }
    }
    add("rules", "GET /", &["Cookie: SRV=GONE", "x-force: yes"]);
    add("rules", "GET /", &["x-mind: yes", "x-reply: Set-Cookie: SRV=1"]);
    add("rules", "GET /", &["x-reply: Set-Cookie: SRV=1"]);
    add("thrice", "GET /", &["Cookie: SRV=GONE"]);
    add("thrice", "GET /", &["Cookie: SRV=GONE", "x-force: yes"]);
    for path in ["/", "/set", "/alone", "/add", "/added", "/del"] {
        for fields in
            [&["A: b"] as &[&str], &["Cookie: Z=1; SRV=A"], &["Cookie: SRV=A", "Cookie: C=1"]]
        {
            add("edits", &format!("GET {path}"), fields);
        }
    }
    add("resets", "GET /", &["x-reply: Set-Cookie: A=1"]);
    add("resets", "GET /", &["Cookie: SRV=B", "x-reply: Set-Cookie: SRV=1"]);
    for cookie in ["SRV=B", "SRV=OFF", "X=1"] {
        add("tells", "GET /", &[&format!("Cookie: {cookie}"), "x-reply: Set-Cookie: SRV=1"]);
    }
    for path in ["/", "/deny", "/own"] {
        add("front", &format!("GET {path}"), &["Cookie: SRV=B"]);
        add("none", &format!("GET {path}"), &["Cookie: SRV=B"]);
    }
    let raw = |listen, bytes: &str| Case::raw(listen, bytes);
    for listen in ["insert", "front", "none"] {
        cases.push(raw(listen, "nonsense\r\n\r\n"));
        cases.push(raw(listen, "GET / HTTP/1.1\r\nHost: x\r\nCookie: SRV=B\r\nA : b\r\n\r\n"));
        cases.push(raw(
            listen,
            "POST / HTTP/1.1\r\nHost: x\r\nCookie: SRV=B\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ));
    }
    compare(&configuration(), cases);
}

/// Whom a cookie binds waits for its server, not for another; where too many wait already, it goes
/// elsewhere, if it may.
#[test]
fn servers_that_are_full() {
    let mut text = configuration();
    for (name, lines) in [
        ("stays", ""),
        ("moves", "option redispatch"),
        ("forced", "option redispatch\n  force-persist if { hdr(x-force) yes }"),
    ] {
        text += &format!(
            "listen {name}\n  bind {name}\n  cookie SRV insert\n  {lines}\n  timeout queue 30s\n\
             \x20 server a S1 cookie A maxconn 1 maxqueue 1\n  server b S2 cookie B\n"
        );
    }
    let pair = Pair::start(&text);
    for listen in ["stays", "moves", "forced"] {
        let seen = [&pair.theirs, &pair.ours].map(|side| {
            let held = Case::new(listen, "POST /held", &["Cookie: SRV=A", "Content-Length: 1"]);
            let before = HELD.load(Ordering::SeqCst);
            let first = side.send(&held);
            until("the first request at the server", || {
                (HELD.load(Ordering::SeqCst) > before).then_some(())
            });
            // It waits, and whoever comes behind it is served behind it.
            let second = side.send(&held);
            let third = side.ask(&Case::new(listen, "GET /", &["Cookie: SRV=A", "x-force: yes"]));
            let ended = [first, second].map(|mut stream| {
                stream.write_all(b"x").expect("sends");
                // How many sessions the server has then is a matter of moments.
                side.seen(stream).response
            });
            (third, ended)
        });
        assert_eq!(seen[0], seen[1], "{listen}");
        let expected = match listen {
            "moves" => "b n/n/n/n/n 200 n - - --DI",
            _ => "a n/-1/-1/-1/n 503 n - - SQVN",
        };
        assert!(seen[1].0.log.contains(expected), "{listen}: {:?}", seen[1]);
    }
}

#[test]
fn each_request_of_a_connection_has_its_own_cookies() {
    let mut text = configuration();
    for reuse in ["never", "always"] {
        text += &format!(
            "listen {reuse}\n  bind {reuse}\n  cookie SRV insert indirect\n  http-reuse {reuse}\n\
             \x20 server a S1 cookie A\n  server b S2 cookie B\n"
        );
    }
    let pair = Pair::start(&text);
    let get = |more: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let all = ["", "Cookie: SRV=B\r\n", "Cookie: SRV=A; X=1\r\n", "Connection: close\r\n"];
    let bytes = all.map(get).concat();
    for listen in ["never", "always", "prefix", "rewrite"] {
        let seen = [&pair.theirs, &pair.ours].map(|side| {
            let seen = side.ask(&Case::raw(listen, &bytes));
            (seen, [(); 3].map(|()| side.logged()))
        });
        assert_eq!(seen[0], seen[1], "{listen}");
        let expected = if listen == "rewrite" { "--VN" } else { "--V" };
        assert!(seen[1].1[0].contains(expected) && seen[1].1[2].contains("--N"), "{:?}", seen[1]);
    }
}
