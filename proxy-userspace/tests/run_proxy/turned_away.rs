//! Rules that end connections (`tcp-request`, `silent-drop`), with HAProxy beside: what clients get, what
//! the packets say, what is logged and what is counted.

use crate::greeted_echo::echo;
use crate::stage::Stage;
use crate::support::packets::Packet;
use crate::support::reading::{End, connections};
use crate::support::tcpdump::Tcpdump;
use crate::support::until::PATIENCE;
use crate::twins::Twins;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

/// Frontends in turn, `NAME RULES`; each has ten ports, of which the twins take the first two.
const FRONTENDS: &[(&str, &str)] = &[
    ("conn", "mode tcp\n tcp-request connection reject"),
    (
        "conn_by",
        "mode tcp\n tcp-request connection accept if { src 127.0.0.1 } { dst_port gt 1 }\n \
      tcp-request connection reject",
    ),
    ("sess", "mode tcp\n tcp-request session reject"),
    ("cont", "mode tcp\n tcp-request content reject"),
    ("cont_null", "mode tcp\n option dontlognull\n tcp-request content reject"),
    (
        "len",
        "mode tcp\n tcp-request inspect-delay 10s\n tcp-request content reject if { req.len gt 3 }",
    ),
    (
        "some",
        "mode tcp\n tcp-request inspect-delay 200ms\n tcp-request content reject if !REQ_CONTENT",
    ),
    ("end", "mode tcp\n tcp-request inspect-delay 200ms\n tcp-request content accept if WAIT_END"),
    ("no_delay", "mode tcp\n tcp-request content reject unless { req.len gt 3 }"),
    (
        "silent_client",
        "mode tcp\n timeout client 200ms\n tcp-request inspect-delay 10s\n \
      tcp-request content accept if { req_len gt 9 }",
    ),
    ("behind", "mode tcp\n default_backend refuses"),
    ("behind_len", "mode tcp\n default_backend waits"),
    (
        "named",
        "mode tcp\n tcp-request connection expect-proxy layer4 unless { dst_port 1 }\n \
      tcp-request session reject if { src 192.0.2.1 }",
    ),
    (
        "vars",
        "mode tcp\n tcp-request connection set-var(sess.a) src\n tcp-request session \
      set-var-fmt(sess.b) %[var(sess.a)]+%[fe_name]\n tcp-request content set-var(txn.c) \
      dst,length if { var(sess.a) -m ip 127.0.0.1 }\n tcp-request content unset-var(sess.a)",
    ),
    (
        "routed",
        "mode tcp\n tcp-request content set-var(txn.go) bool(1) if REQ_CONTENT\n \
      tcp-request inspect-delay 10s\n use_backend refuses if { var(txn.go) -m bool }",
    ),
    (
        "kept",
        "mode tcp\n tcp-request inspect-delay 10s\n tcp-request content reject unless REQ_CONTENT\n \
         tcp-request content capture req.payload(0,4) len 3\n declare capture request len 9\n \
         tcp-request content capture src len 20",
    ),
    (
        "hello",
        "mode tcp\n tcp-request inspect-delay 10s\n tcp-request content reject if { req_ssl_sni -i \
         no.example }\n tcp-request content set-var(txn.c) req.ssl_sni,lower\n tcp-request content \
         accept if { req.ssl_hello_type 1 }\n tcp-request content reject if { req.payload(1,2) -m bin \
         7879 }\n use_backend refuses if { req.ssl_sni -m end .bad }",
    ),
    (
        "http",
        "tcp-request content reject if { path_beg /no }\n http-request set-header X-V \
      %[var(txn.v)]\n tcp-request content set-var(txn.v) path,upper\n http-request reject if { path /r }",
    ),
    ("http_behind", "default_backend http_refuses"),
    ("http_sess", "tcp-request session reject"),
    ("drop_conn", "mode tcp\n tcp-request connection silent-drop"),
    ("drop_sess", "mode tcp\n tcp-request session silent-drop"),
    ("drop_cont", "mode tcp\n tcp-request content silent-drop"),
    (
        "drop_http",
        "tcp-request content silent-drop if { path /c }\n http-request silent-drop if \
      { path /q }\n http-response silent-drop if { status 200 }\n use_backend http_drops if \
      { path_beg /b }",
    ),
    // A `listen` follows its rules once.
    (
        "both",
        "mode tcp\n tcp-request content set-var(txn.c) int(1) unless { var(txn.c) -m found }\n \
      tcp-request content set-var(txn.c) var(txn.c),add(1)\n server s ECHO",
    ),
];

const BACKENDS: &str = "\
backend echoes\n mode tcp\n server s ECHO\n\
backend refuses\n mode tcp\n tcp-request content reject\n server s ECHO\n\
backend waits\n mode tcp\n tcp-request inspect-delay 10s\n tcp-request content reject if { req.len eq 5 }\n \
tcp-request content accept if { req.len gt 5 }\n server s ECHO\n\
backend web\n server s WEB\n\
backend http_refuses\n tcp-request content reject if { path /no }\n server s WEB\n\
backend http_drops\n tcp-request content silent-drop if { path /bc }\n http-request silent-drop if \
{ path /bq }\n server s WEB\n";

/// What a client does before it reads to the end.
enum Step {
    Send(&'static str),
    /// Sends the first message of a TLS client to this server, in two pieces.
    Hello(&'static str),
    /// Reads something.
    Hear,
    Shut,
}
use Step::{Hear, Hello, Send, Shut};

const CASES: &[(&str, &[Step])] = &[
    ("conn", &[]),
    ("conn_by", &[Send("x"), Shut]),
    ("sess", &[]),
    ("cont", &[]),
    ("cont_null", &[]),
    ("len", &[Send("x"), Send("yyy")]),
    ("len", &[Send("x"), Shut]),
    ("some", &[]),
    ("some", &[Send("x"), Hear, Shut]),
    ("end", &[Send("x"), Hear, Shut]),
    ("end", &[Send("xx"), Shut]),
    ("no_delay", &[Shut]),
    ("silent_client", &[Send("x")]),
    ("silent_client", &[]),
    ("behind", &[]),
    ("behind_len", &[Send("x"), Send("yyyy")]),
    ("behind_len", &[Send("x"), Send("yyyyy"), Shut]),
    ("named", &[Send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")]),
    ("named", &[Send("PROXY TCP4 192.0.2.3 192.0.2.2 1 2\r\nx"), Hear, Shut]),
    ("vars", &[Send("abc"), Hear, Shut]),
    ("routed", &[Send("abc")]),
    ("kept", &[Send("abcd"), Hear, Shut]),
    ("hello", &[Hello("NO.example")]),
    ("hello", &[Hello("Yes.example"), Hear, Shut]),
    ("hello", &[Hello("very.bad")]),
    ("hello", &[Hello(""), Hear, Shut]),
    ("hello", &[Send("axy")]),
    ("hello", &[Send("axyb"), Shut]),
    ("hello", &[Send("abc"), Shut]),
    ("http", &[Send("GET /no HTTP/1.1\r\nHost: x\r\n\r\n")]),
    ("http", &[Send("GET /r HTTP/1.1\r\nHost: x\r\n\r\n")]),
    ("http", &[Send("GET /Yes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")]),
    (
        "http",
        &[
            Send("GET /yes HTTP/1.1\r\nHost: x\r\n\r\n"),
            Hear,
            Send("POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"),
        ],
    ),
    ("http_behind", &[Send("GET /no HTTP/1.1\r\nHost: x\r\n\r\n")]),
    ("http_sess", &[]),
    ("drop_conn", &[]),
    ("drop_sess", &[]),
    ("drop_cont", &[]),
    ("drop_http", &[Send("GET /c HTTP/1.1\r\nHost: x\r\n\r\n")]),
    ("drop_http", &[Send("GET /q HTTP/1.1\r\nHost: x\r\n\r\n")]),
    ("drop_http", &[Send("GET /bc HTTP/1.1\r\nHost: x\r\n\r\n")]),
    ("drop_http", &[Send("GET /bq HTTP/1.1\r\nHost: x\r\n\r\n")]),
    ("drop_http", &[Send("GET /200 HTTP/1.1\r\nHost: x\r\n\r\n")]),
    ("both", &[Send("x"), Hear, Shut]),
];

/// Whose connections no log line tells of.
const UNLOGGED: [&str; 6] = ["conn", "sess", "cont_null", "http_sess", "drop_conn", "drop_sess"];

fn configuration(stage: &Stage, which: u16) -> String {
    let mut text = String::from(" retries 0\n log-format \"%f %b %s %ST %tsc %{+Q}r\"\n");
    for ((name, rules), base) in FRONTENDS.iter().zip((8000..).step_by(10)) {
        let kind = if rules.contains(" server ") { "listen" } else { "frontend" };
        text += &format!("{kind} {name}\n bind 127.0.0.1:{}\n {rules}\n", base + which);
        let is_tcp = rules.starts_with("mode tcp");
        if is_tcp {
            text += " log-format \"%f %b %s %ts %U %B a=%[var(sess.a)] b=%[var(sess.b)] c=%[var(txn.c)] %hr\"\n";
        }
        if kind == "frontend" && !rules.contains("default_backend") {
            text += if is_tcp { " default_backend echoes\n" } else { " default_backend web\n" };
        }
    }
    text += BACKENDS;
    text += "global\n nbthread 1\n";
    if which == 1 {
        // As root HAProxy has a way to be quiet (TCP_REPAIR) that nobody else has.
        text += " user nobody\n group nogroup\n";
    }
    let (bytes, web) = (bytes_echo(stage), echo(stage));
    text.replace("ECHO", &bytes.to_string()).replace("WEB", &web.to_string())
}

/// A server that gives back what it gets.
fn bytes_echo(stage: &Stage) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut copy = stream.try_clone().expect("a descriptor");
                // Who asked may have gone.
                let _ = std::io::copy(&mut copy, &mut stream);
            });
        }
    });
    address
}

/// A ClientHello (RFC 8446, 4.1.2), which names a server where there is one to name.
fn hello(server: &str) -> Vec<u8> {
    let sized = |width: usize, inside: &[u8]| {
        let length = inside.len().to_be_bytes();
        [&length[length.len() - width..], inside].concat()
    };
    let name = [&[0], sized(2, server.as_bytes()).as_slice()].concat();
    let name = [&[0, 0], sized(2, &sized(2, &name)).as_slice()].concat();
    let versions = [0, 43, 0, 3, 2, 3, 4];
    let extensions =
        if server.is_empty() { versions.to_vec() } else { [&versions, name.as_slice()].concat() };
    let hello = [
        &[3, 3],
        [7; 32].as_slice(),
        &sized(1, &[9; 32]),
        &sized(2, &[0x13, 1]),
        &sized(1, &[0]),
        &sized(2, &extensions),
    ]
    .concat();
    [&[22, 3, 1], sized(2, &[&[1], sized(3, &hello).as_slice()].concat()).as_slice()].concat()
}

fn base(name: &str) -> u16 {
    let place = FRONTENDS.iter().position(|frontend| frontend.0 == name).expect("a frontend");
    8000 + 10 * u16::try_from(place).expect("few")
}

/// What a client hears that does this: text, and how it ends.
fn play(twins: &Twins, port: u16, steps: &[Step]) -> String {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut heard = Vec::new();
    let mut play = || -> std::io::Result<()> {
        let mut stream = twins.stage.netns.run(|| TcpStream::connect(at))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        for step in steps {
            match step {
                Send(text) => stream.write_all(text.as_bytes())?,
                Hello(name) => {
                    let hello = hello(name);
                    let (one, other) = hello.split_at(hello.len() / 2);
                    stream.write_all(one)?;
                    stream.write_all(other)?;
                }
                Hear => {
                    let mut some = [0; 4096];
                    let count = stream.read(&mut some)?;
                    heard.extend_from_slice(&some[..count]);
                }
                Shut => stream.shutdown(Shutdown::Write)?,
            }
        }
        stream.read_to_end(&mut heard).map(drop)
    };
    let end = match play() {
        Ok(()) => "closed".to_owned(),
        // Which of the two it is, is a matter of when it looks.
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
        {
            "reset".to_owned()
        }
        Err(error) => format!("{error}"),
    };
    let text = String::from_utf8_lossy(&heard).to_ascii_lowercase();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    format!("{} {end}", lines.join("|"))
}

/// Without the date, where there is one.
fn undated(line: &str) -> String {
    let date =
        line.split_once(" [").and_then(|(before, rest)| Some((before, rest.split_once(']')?)));
    date.map_or(line.to_owned(), |(before, (_, behind))| format!("{before}{behind}"))
}

/// Whether that is a port of this twin's.
fn is_of(port: u16, which: u16) -> bool {
    (8000..8900).contains(&port) && port % 10 == which
}

/// Whose port it is.
fn frontend(port: u16) -> &'static str {
    FRONTENDS[usize::from((port - 8000) / 10)].0
}

/// How a proxy has ended each of its connections, in turn: its frontend and the sign.
fn ends(packets: &[Packet], which: u16) -> Vec<(&'static str, &'static str)> {
    let all = connections(packets).into_iter();
    all.filter(|connection| is_of(connection.resp.port(), which))
        .map(|connection| {
            let signs = connection.signs();
            let sign = signs.iter().find(|(end, ..)| *end == End::Resp);
            (frontend(connection.resp.port()), sign.map_or("none", |sign| sign.1.word()))
        })
        .collect()
}

#[test]
fn connections_are_turned_away_as_haproxy_does() {
    let twins = Twins::start(configuration);
    let stage = &twins.stage;
    let lo = Ipv4Addr::LOCALHOST.into();
    let all = Tcpdump::start(&stage.netns, "lo", lo);
    let near = "(tcp[tcpflags] & tcp-rst != 0 and ip[8] = 1) or udp port 9";
    let near = Tcpdump::filtered(&stage.netns, "lo", lo, near);
    for (name, steps) in CASES {
        let [ours, theirs] = [0, 1].map(|which| play(&twins, base(name) + which, steps));
        assert_eq!(ours, theirs, "{name}");
        if UNLOGGED.contains(name) {
            continue;
        }
        let [ours, theirs] = twins.lines(name).map(|line| undated(&line));
        assert_eq!(ours, theirs, "{name}");
    }
    let packets = all.stop();
    let [ours, theirs] = [0, 1].map(|which| ends(&packets, which));
    assert_eq!(ours, theirs);
    // RSTs that do not get past the next router.
    let packets = near.stop();
    let [ours, theirs] = [0, 1].map(|which| {
        let sources = packets.iter().map(|packet| packet.source.port());
        sources.filter(|port| is_of(*port, which)).map(frontend).collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs);
    let drops = CASES.iter().map(|case| case.0).filter(|name| name.starts_with("drop"));
    assert_eq!(ours, drops.collect::<Vec<_>>());
    twins.count_alike(&COUNTED);
    twins.end();
}

/// What of the statistics is no matter of bytes or times.
const COUNTED: [&str; 15] = [
    "pxname",
    "svname",
    "stot",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "req_tot",
    "conn_tot",
    "dcon",
    "dses",
    "hrsp_other",
    "hrsp_2xx",
    "cli_abrt",
];
