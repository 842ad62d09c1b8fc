//! The requests, odd ones included.

/// How the two must relate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expect {
    /// Status, headers, body and log.
    Same,
    /// Status and log; bodies or headers differ as docs say.
    SameButBody,
    /// HAProxy's status and ours: we are stricter.
    Status(u16, u16),
}

/// A request to one of the proxies of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) listen: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expect: Expect,
}

/// The list.
pub(crate) fn requests() -> Vec<Case> {
    use Expect::{Same, SameButBody, Status};
    let mut all = Vec::new();
    let mut add = |listen: &'static str, name: &str, bytes: &str, expect: Expect| {
        let name = format!("{listen}: {name}");
        all.push(Case { name, listen, bytes: bytes.as_bytes().to_vec(), expect });
    };
    let h = "Host: x\r\n";
    for listen in ["ka", "scl", "cl", "pretend", "mixed"] {
        for (version, line) in [("1.1", "HTTP/1.1"), ("1.0", "HTTP/1.0")] {
            let get = |more: &str| format!("GET /len {line}\r\n{h}{more}\r\n");
            add(listen, &format!("GET over {version}"), &get(""), Same);
            add(listen, &format!("close over {version}"), &get("Connection: close\r\n"), Same);
            add(listen, &format!("keep over {version}"), &get("Connection: keep-alive\r\n"), Same);
        }
    }
    let bodies = [
        "len",
        "empty",
        "http10",
        "until-close",
        "chunked",
        "204",
        "204-length",
        "304",
        "404",
        "999",
        "no-reason",
        "500",
        "says-close",
        "set-cookie",
        "early-hints",
        "cut",
        "cut-chunk",
        "nothing",
        "bad-colon",
        "bad-status",
        "reset",
    ];
    for path in bodies {
        let get = format!("GET /{path} HTTP/1.1\r\n{h}\r\n");
        let expect = if path == "early-hints" { SameButBody } else { Same };
        add("ka", &format!("a response {path}"), &get, expect);
    }
    for (name, line) in [
        ("of a GET", "GET /a%22?b=c HTTP/1.1"),
        ("of a POST", "POST / HTTP/1.1"),
        ("by the proxy", "GET /own HTTP/1.1"),
    ] {
        let body = if line.starts_with("POST") { "Content-Length: 3\r\n\r\nabc" } else { "\r\n" };
        add("tells", &format!("what rules know {name}"), &format!("{line}\r\n{h}{body}"), Same);
    }
    for path in ["len", "chunked", "204", "until-close"] {
        add("scl", &format!("HEAD for {path}"), &format!("HEAD /{path} HTTP/1.1\r\n{h}\r\n"), Same);
        let old = format!("GET /{path} HTTP/1.0\r\n\r\n");
        // Chunks are taken off for HTTP/1.0 (RFC 9112, 6.1); HAProxy sends them.
        let expect = if path == "chunked" { SameButBody } else { Same };
        add("scl", &format!("{path} over 1.0"), &old, expect);
    }
    let mut ka = |name: &str, bytes: &str, expect| add("ka", name, bytes, expect);
    ka("POST", &format!("POST /len HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabc"), Same);
    ka("PUT", &format!("PUT /len HTTP/1.1\r\n{h}Content-Length: 0\r\n\r\n"), Same);
    ka("DELETE", &format!("DELETE /len HTTP/1.1\r\n{h}\r\n"), Same);
    ka("OPTIONS *", &format!("OPTIONS * HTTP/1.1\r\n{h}\r\n"), Same);
    ka("an unknown method", &format!("BREW /len HTTP/1.1\r\n{h}\r\n"), Same);
    ka("a query", &format!("GET /len?a=b&c=%20 HTTP/1.1\r\n{h}\r\n"), Same);
    ka("an absolute target", "GET http://x/len HTTP/1.1\r\nHost: x\r\n\r\n", Same);
    ka(
        "chunks",
        &format!(
            "POST /len HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ),
        Same,
    );
    ka(
        "Expect",
        &format!("POST /len HTTP/1.1\r\n{h}Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"),
        Same,
    );
    ka("an empty line before", &format!("\r\nGET /len HTTP/1.1\r\n{h}\r\n"), Same);
    ka(
        "tabs and spaces around a value",
        &format!("GET /len HTTP/1.1\r\n{h}A: \t b \t\r\n\r\n"),
        Same,
    );
    ka("an empty value", &format!("GET /len HTTP/1.1\r\n{h}A:\r\n\r\n"), Same);
    ka("many fields", &format!("GET /len HTTP/1.1\r\n{h}{}\r\n", "A: b\r\n".repeat(90)), Same);
    ka("too many fields", &format!("GET /len HTTP/1.1\r\n{h}{}\r\n", "A: b\r\n".repeat(120)), Same);
    ka("a long field", &format!("GET /len HTTP/1.1\r\n{h}A: {}\r\n\r\n", "b".repeat(12_000)), Same);
    ka(
        "too long a field",
        &format!("GET /len HTTP/1.1\r\n{h}A: {}\r\n\r\n", "b".repeat(17_000)),
        Same,
    );
    ka("space before a colon", &format!("GET /len HTTP/1.1\r\n{h}A : b\r\n\r\n"), Same);
    ka("no colon", &format!("GET /len HTTP/1.1\r\n{h}A\r\n\r\n"), Same);
    ka("NUL", &format!("GET /len HTTP/1.1\r\n{h}A: b\0\r\n\r\n"), Status(200, 400));
    ka("two Hosts", "GET /len HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", Same);
    ka("another authority", "GET http://y/len HTTP/1.1\r\nHost: x\r\n\r\n", Same);
    ka(
        "two lengths",
        &format!("POST /len HTTP/1.1\r\n{h}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        Same,
    );
    ka(
        "a length with plus",
        &format!("POST /len HTTP/1.1\r\n{h}Content-Length: +3\r\n\r\nabc"),
        Same,
    );
    ka(
        "a wrong chunk",
        &format!("POST /len HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        Same,
    );
    ka(
        "an upgrade without a key",
        &format!("GET /len HTTP/1.1\r\n{h}Connection: upgrade\r\nUpgrade: chat\r\n\r\n"),
        Same,
    );
    ka("nonsense", "nonsense\r\n\r\n", Same);
    ka("no version", "GET /len\r\n\r\n", Same);
    ka("a fragment", &format!("GET /len#a HTTP/1.1\r\n{h}\r\n"), Same);
    for method in ["GET", "HEAD", "DELETE", "POST", "OPTIONS"] {
        let request = format!("{method} /len HTTP/1.0\r\n{h}Content-Length: 3\r\n\r\nabc");
        // HAProxy's 413 does not say that the connection ends with it.
        let expect = if matches!(method, "POST" | "OPTIONS") { Same } else { SameButBody };
        ka(&format!("a payload of {method} over 1.0"), &request, expect);
        let request = format!("{method} /len HTTP/1.0\r\n{h}Content-Length: 0\r\n\r\n");
        ka(&format!("no payload of {method} over 1.0"), &request, Same);
    }
    // Where the RFC is followed more strictly than HAProxy 2.6 does.
    ka("bare LF", "GET /len HTTP/1.1\nHost: x\n\n", Status(200, 400));
    ka("no Host", "GET /len HTTP/1.1\r\nA: b\r\n\r\n", Status(200, 400));
    ka(
        "both lengths",
        &format!(
            "POST /len HTTP/1.1\r\n{h}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        Status(200, 400),
    );
    ka(
        "two equal lengths",
        &format!("POST /len HTTP/1.1\r\n{h}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        Status(200, 400),
    );
    ka("HTTP/2.0", &format!("GET /len HTTP/2.0\r\n{h}\r\n"), Status(200, 400));
    ka("a folded line", &format!("GET /len HTTP/1.1\r\n{h}A: b\r\n c\r\n\r\n"), Status(200, 400));
    ka("a response with bare LF", &format!("GET /bare-lf HTTP/1.1\r\n{h}\r\n"), Status(200, 502));
    let mut other = |listen, name: &str, bytes: &str| add(listen, name, bytes, Same);
    other("dead", "a server that refuses", &format!("GET /len HTTP/1.1\r\n{h}\r\n"));
    other("dead", "and HTTP/1.0", "GET /len HTTP/1.0\r\n\r\n");
    other("dead", "and HEAD", &format!("HEAD /len HTTP/1.1\r\n{h}\r\n"));
    other("none", "no server", &format!("GET /len HTTP/1.1\r\n{h}\r\n"));
    other("silent", "a server that is silent", &format!("GET /silent HTTP/1.1\r\n{h}\r\n"));
    other("rules", "denied by path", &format!("GET /secret HTTP/1.1\r\n{h}\r\n"));
    other("rules", "denied with another status", &format!("GET /gone HTTP/1.1\r\n{h}\r\n"));
    other("rules", "another backend", &format!("GET /other/a HTTP/1.1\r\n{h}\r\n"));
    other(
        "rules",
        "set and deleted fields",
        &format!("GET /echo HTTP/1.1\r\n{h}X-Del: 1\r\nX-Set: old\r\n\r\n"),
    );
    for (path, more) in [
        ("set", ""),
        ("set", "X-Forwarded-For: 1\r\n"),
        ("del", "X-Route: b3\r\nX-Forwarded-For: 1\r\n"),
        ("kept", "X-Route: b3\r\nX-By: 3\r\n"),
        ("kept", "X-Forwarded-For: 1\r\n"),
        ("many", ""),
        ("404", ""),
        ("407", ""),
        ("bare", ""),
        ("mute", ""),
        ("sorry", ""),
        ("slash/a", ""),
        ("slash/?b", ""),
    ] {
        let request = format!("GET /{path} HTTP/1.1\r\n{h}{more}\r\n");
        other("edits", &format!("{path} {more:?}"), &request);
    }
    // Redirected and denied with a body, without, and with one that is still to come.
    for (listen, path) in [("edits", "slash/a"), ("rules", "secret")] {
        for framing in [
            "Content-Length: 3\r\n\r\nabc",
            "Content-Length: 3\r\n\r\na",
            "Content-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "\r\n",
        ] {
            let request = format!("POST /{path} HTTP/1.1\r\n{h}{framing}");
            other(listen, &format!("a POST of /{path} and {framing:?}"), &request);
        }
    }
    other("page", "an error file", &format!("GET /len HTTP/1.1\r\n{h}\r\n"));
    other("hurry", "half a head", "GET /len HT");
    other("hurry", "no byte", "");
    all
}

/// A proxy whose rules say in fields what they know of a request and its response, and a backend's
/// beside it. `bind` are the lines that both need.
pub(crate) fn tells(bind: &str) -> String {
    let known = "%ci %f %ft %b %s <%ID> %{+Q}ID <%{+M}ID> %HM %HU %HP %HQ %HV %{+Q}r %ST %Th %bc %bq %sc %sq \
                 %rc %fc %U %B %ts %tsc <%hr%hs%CC%CS%sslv%si> %{+X}ci %{+Q}o %f  %[src] 100%%";
    let (address, server) = bind.split_once('\n').expect("two lines");
    let tell = |by: &str| {
        format!(
            "  http-request set-header X-Asked-{by} '{known} %TR %Tq %Tw %Tc %Tr %Td'\n\
             \x20 http-response set-header X-Told-{by} '{known} %[method] %[hdr(x-srv)]'\n"
        )
    };
    format!(
        "frontend tells\n{address}\n{}  http-response set-header X-Got yes if METH_GET\n\
         \x20 http-request return status 200 content-type text/plain lf-string '%b %HM' if {{ path /own }}\n\
         \x20 default_backend told\nbackend told\n{server}{}",
        tell("front"),
        tell("back"),
    )
}
