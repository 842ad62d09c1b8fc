//! Rules on what servers send (`tcp-response`), with HAProxy beside: what clients get, what the packets say,
//! what is logged and what is counted.

use crate::stage::Stage;
use crate::support::packets::Packet;
use crate::support::reading::{End, connections};
use crate::support::tcpdump::Tcpdump;
use crate::support::until::PATIENCE;
use crate::twins::{Twins, to_the_end};
use rustix::net::sockopt::set_socket_linger;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Rules of sections in turn, and what the server is told to do.
const SECTIONS: [(&str, &[&str]); 9] = [
    // At once: what a client says meanwhile may be read, or make its close a RST.
    ("tcp-response content reject", &[""]),
    ("tcp-response content close", &[""]),
    (
        "tcp-response inspect-delay 5s\n tcp-response content reject if { res.len gt 3 }",
        &["yes.fin", "yes.wait.more.hold", "ye.wait.rst"],
    ),
    (
        "tcp-response content reject if { res.len gt 3 }",
        &["wait.yes.fin", "wait.yes.wait.more.fin"],
    ),
    (
        "tcp-response inspect-delay 300ms\n tcp-response content set-var(txn.c) res.len if WAIT_END",
        &["yes.hear.fin", "fin", "yes.fin"],
    ),
    (
        "tcp-response inspect-delay 5s\n tcp-response content close if { res.payload(0,2) -m str no }",
        &["yes.fin", "n.wait.o.hold", "n.fin"],
    ),
    (
        "tcp-response inspect-delay 5s\n tcp-response content set-var(txn.c) res.payload(1,0),upper \
         if { res.len ge 3 }\n tcp-response content accept\n tcp-response content reject",
        &["yes.fin", "y.wait.es.fin", "y.fin"],
    ),
    // The server is silent for longer than it may be, before that is due.
    (
        "tcp-response inspect-delay 5s\n tcp-response content accept if { res.len gt 9 }",
        &["yes.hold"],
    ),
    // A `listen` has them, too.
    (
        "listen tcp-response inspect-delay 5s\n tcp-response content reject if { res.len 3 }",
        &["yes.hold"],
    ),
];

#[test]
fn servers_are_heard_out_as_by_haproxy() {
    let twins = Twins::start(|stage, which| {
        let mut text = String::from(
            " mode tcp\n timeout server 1s\n log-format \"%f %b %s %ts c=%[var(txn.c)]\"\n",
        );
        for ((rules, _), base) in SECTIONS.iter().zip((8000..).step_by(10)) {
            let (bind, server) =
                (format!("bind 127.0.0.1:{}", base + which), origin(stage, base + which));
            text += &match rules.strip_prefix("listen ") {
                Some(rules) => format!("listen f{base}\n {bind}\n {rules}\n server s {server}\n"),
                None => format!(
                    "frontend f{base}\n {bind}\n default_backend b{base}\n\
                     backend b{base}\n {rules}\n server s {server}\n"
                ),
            };
        }
        text + "global\n nbthread 1\n"
    });
    let lo = Ipv4Addr::LOCALHOST.into();
    let all = Tcpdump::start(&twins.stage.netns, "lo", lo);
    for ((_, plays), base) in SECTIONS.iter().zip((8000..).step_by(10)) {
        for does in *plays {
            let [ours, theirs] = [0, 1].map(|which| play(&twins, base + which, does));
            assert_eq!(ours, theirs, "{base} {does}");
            let [ours, theirs] = twins.lines(&format!("f{base}"));
            assert_eq!(ours, theirs, "{base} {does}");
        }
    }
    twins.count_alike(&COUNTED);
    let packets = all.stop();
    for base in (8000..).step_by(10).take(SECTIONS.len()) {
        // To clients, and to servers.
        for (by, offset) in [(End::Resp, 0), (End::Orig, 1000)] {
            let [ours, theirs] = [0, 1].map(|which| ends(&packets, base + offset + which, by));
            assert_eq!(ours, theirs, "{base} {by:?}");
        }
    }
    twins.end();
}

/// A server that does what the client's line says, in turn.
fn origin(stage: &Stage, port: u16) -> SocketAddr {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port + 1000));
    let listener = stage.netns.run(|| TcpListener::bind(address).expect("a free port"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    let mut line = [0; 99];
    let Ok(count) = stream.read(&mut line) else { return };
    for does in String::from_utf8_lossy(&line[..count]).trim_end().split('.') {
        // Who asked may have gone.
        let _ = match does {
            "wait" => {
                // The proxies look at what came before.
                std::thread::sleep(Duration::from_millis(100));
                Ok(())
            }
            "fin" => stream.shutdown(Shutdown::Write),
            "rst" => set_socket_linger(&stream, Some(Duration::ZERO)).map_err(Into::into),
            "hear" | "hold" => stream.read(&mut [0; 9]).map(drop),
            text => stream.write_all(text.as_bytes()),
        };
        if does == "rst" {
            return;
        }
    }
    let _ = stream.read(&mut [0; 9]);
}

/// What a client hears that says what the server is to do, closes once it has heard something, and reads on.
fn play(twins: &Twins, port: u16, does: &str) -> String {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = twins.stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    if !does.is_empty() {
        writeln!(stream, "{does}").expect("it reads");
    }
    let mut heard = Vec::new();
    if does.contains("hear") {
        let mut some = [0; 99];
        let count = stream.read(&mut some).expect("an answer");
        heard.extend_from_slice(&some[..count]);
        let _ = stream.shutdown(Shutdown::Write);
    }
    let end = to_the_end(&mut stream, &mut heard);
    format!("{} {end}", String::from_utf8_lossy(&heard))
}

/// How a proxy has ended its connections on this port, in turn.
fn ends(packets: &[Packet], port: u16, by: End) -> Vec<&'static str> {
    let all = connections(packets).into_iter().filter(|it| it.resp.port() == port);
    all.map(|connection| {
        let signs = connection.signs();
        signs.iter().find(|(end, ..)| *end == by).map_or("none", |sign| sign.1.word())
    })
    .collect()
}

/// What of the statistics is no matter of bytes or times.
const COUNTED: [&str; 9] =
    ["pxname", "svname", "stot", "dreq", "dresp", "econ", "eresp", "srv_abrt", "cli_abrt"];
