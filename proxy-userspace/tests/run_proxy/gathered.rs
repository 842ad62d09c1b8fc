//! `option http-buffer-request`, with HAProxy beside: what servers hear, and when; what clients get.

use crate::stage::Stage;
use crate::support::until::PATIENCE;
use crate::twins::Twins;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

/// A server that says how much of a body came with the head, and closes once it has that.
fn origin(stage: &Stage) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut first = vec![0; 65_536];
            let count = stream.read(&mut first).unwrap_or(0);
            let text = String::from_utf8_lossy(&first[..count]).to_ascii_lowercase();
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let said = format!("{} {}", body.len(), head.contains("expect"));
            let length = said.len();
            // Who asked may have gone.
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}"
            );
        }
    });
    address
}

fn configuration(stage: &Stage, which: u16) -> String {
    let at = |base: u16| base + which;
    format!(
        " timeout http-request 500ms\n log-format \"%f %b %s %ST %tsc %{{+Q}}r\"\n\
         frontend front\n bind 127.0.0.1:{}\n option http-buffer-request\n default_backend plain\n\
         frontend back\n bind 127.0.0.1:{}\n default_backend waits\n\
         frontend slow\n bind 127.0.0.1:{}\n timeout http-request 0\n timeout client 300ms\n \
         default_backend waits\n\
         backend plain\n server s {server}\n\
         backend waits\n option http-buffer-request\n server s {server}\n\
         global\n nbthread 1\n",
        at(8000),
        at(8010),
        at(8020),
        server = origin(stage),
    )
}

const LENGTH: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
const CHUNKED: &str =
    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
const EXPECTS: &str =
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

/// What is sent in turn. Between two of them something is heard first, or nothing within a while; in the
/// end the client may close its side.
const CASES: [(&[&str], bool); 9] = [
    (&["GET / HTTP/1.1\r\nHost: x\r\n\r\n"], false),
    (&[LENGTH, "hello"], false),
    (&[LENGTH, "hel"], false),
    (&[LENGTH, "he"], true),
    (&[LENGTH], false),
    (&[CHUNKED, "0\r\n\r\n"], false),
    (&[CHUNKED, "zz\r\n\r\n"], false),
    (&[CHUNKED], false),
    (&[EXPECTS, "hello"], false),
];

/// All that a client hears.
fn play(twins: &Twins, port: u16, (sends, ends): (&[&str], bool)) -> String {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = twins.stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
    let mut heard = Vec::new();
    for (turn, text) in sends.iter().enumerate() {
        if turn > 0 {
            // What is wanted is that it has come in two pieces.
            let while_it_is_read = std::time::Duration::from_millis(50);
            stream.set_read_timeout(Some(while_it_is_read)).expect("sets");
            let mut some = [0; 1024];
            let count = stream.read(&mut some).unwrap_or(0);
            heard.extend_from_slice(&some[..count]);
        }
        stream.write_all(text.as_bytes()).expect("it reads");
    }
    if ends {
        stream.shutdown(Shutdown::Write).expect("it is there");
    }
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    stream.read_to_end(&mut heard).expect("it closes");
    let text = String::from_utf8_lossy(&heard).to_ascii_lowercase();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("|")
}

#[test]
fn servers_hear_of_a_request_once_its_body_is_there() {
    let twins = Twins::start(configuration);
    let mut bodies = Vec::new();
    for (name, base, cases) in [("front", 8000, 0..9), ("back", 8010, 0..9), ("slow", 8020, 1..4)] {
        for number in cases {
            let case = CASES[number];
            let [ours, theirs] = [0, 1].map(|which| play(&twins, base + which, case));
            assert_eq!(ours, theirs, "{name} {number}");
            let [our_line, their_line] = twins.lines(name);
            assert_eq!(our_line, their_line, "{name} {number}");
            bodies.push(ours.split('|').find(|line| line.ends_with("false")).map(str::to_owned));
        }
    }
    let whole = |text: &str| Some(format!("{text} false"));
    let one = [whole("0"), whole("5"), None, None, None, whole("13"), None, None, whole("5")];
    assert_eq!(bodies, [one.as_slice(), &one, &one[1..4]].concat());
    twins.end();
}
