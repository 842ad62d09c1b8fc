//! Servers that end their connection behind an interim response, or within a request's body, with HAProxy
//! beside.

use crate::stage::Stage;
use crate::support::http::head;
use crate::support::until::PATIENCE;
use crate::twins::{Twins, to_the_end};
use rustix::net::sockopt::set_socket_linger;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A request of which the client owes the body, one that is whole, and one in chunks that go on.
const OWED: &str =
    "POST /PATH HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
const WHOLE: &str = "GET /PATH HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const CHUNKS: &str =
    "POST /PATH HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";

/// What is asked, and whether it is the client that ends it.
const CASES: [(&str, &str, bool); 9] = [
    (OWED, "100.rst", false),
    (OWED, "rst", false),
    (OWED, "100.fin", false),
    (OWED, "103.100.rst", false),
    (CHUNKS, "100.rst", false),
    (WHOLE, "100.rst", false),
    (WHOLE, "100.fin", false),
    (WHOLE, "100.late", false),
    (OWED, "100.late", true),
];

#[test]
fn servers_that_end_early_are_told_of_as_haproxy_does() {
    let twins = Twins::start(|stage, which| {
        format!(
            " timeout server 1s\n log-format \"%f %b %s %ST %tsc %{{+Q}}r\"\n\
             listen early\n bind 127.0.0.1:{}\n server s {}\nglobal\n nbthread 1\n",
            8000 + which,
            origin(stage),
        )
    });
    for (request, path, leaves) in CASES {
        let request = request.replace("PATH", path);
        let [ours, theirs] = [0, 1].map(|which| play(&twins, 8000 + which, &request, leaves));
        assert_eq!(ours, theirs, "{request}");
        let [ours, theirs] = twins.lines("early");
        assert_eq!(ours, theirs, "{request}");
    }
    twins.count_alike(&COUNTED);
    twins.end();
}

/// A server that does what the path says, in turn.
fn origin(stage: &Stage) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Some(text) = head(&mut stream) else { return };
                let path = text.split(' ').nth(1).expect("a path").trim_start_matches('/');
                for does in path.split('.') {
                    // HAProxy has looked at what came before by then, and waits.
                    std::thread::sleep(Duration::from_millis(100));
                    // Who asked may have gone.
                    let _ = match does {
                        "rst" => {
                            set_socket_linger(&stream, Some(Duration::ZERO)).map_err(Into::into)
                        }
                        "fin" => stream.shutdown(Shutdown::Both),
                        "late" => stream.read(&mut [0; 9]).map(drop),
                        status => write!(stream, "HTTP/1.1 {status} X\r\n\r\n"),
                    };
                }
            });
        }
    });
    address
}

/// What the client hears, and how it ends.
fn play(twins: &Twins, port: u16, request: &str, leaves: bool) -> String {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = twins.stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut heard = Vec::new();
    if leaves {
        let mut some = [0; 99];
        let count = stream.read(&mut some).expect("an answer");
        heard.extend_from_slice(&some[..count]);
        stream.shutdown(Shutdown::Write).expect("connected");
    }
    let end = to_the_end(&mut stream, &mut heard);
    let text = String::from_utf8_lossy(&heard).to_ascii_lowercase();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    format!("{} {end}", lines.join("|"))
}

/// What is counted. HAProxy counts a RST behind a whole request twice as `eresp`.
const COUNTED: [&str; 9] = [
    "pxname",
    "svname",
    "stot",
    "req_tot",
    "hrsp_1xx",
    "hrsp_5xx",
    "hrsp_other",
    "srv_abrt",
    "cli_abrt",
];
