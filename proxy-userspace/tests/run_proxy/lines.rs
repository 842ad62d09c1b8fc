//! What options add to requests, and leave unsaid, with HAProxy beside.

use crate::stage::Stage;
use crate::support::http::head;
use crate::support::until::PATIENCE;
use crate::twins::Twins;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A server that gives back the fields that it got.
fn echo(stage: &Stage) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Some(head) = head(&mut stream) else { continue };
            let mut lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
            lines.sort_unstable();
            let body = lines.join("|");
            let length = body.len();
            let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn the_address_that_the_client_took_is_told() {
    let twins = Twins::start(|stage, which| {
        let server = echo(stage);
        format!(
            "frontend f\n bind *:{}\n option originalto except 127.0.0.3\n option forwardfor\n\
             \x20 use_backend named if {{ path /named }}\n default_backend plain\n\
             backend plain\n server s {server}\n\
             backend named\n option originalto header X-To except 127.0.0.0/30\n server s {server}\n\
             backend off\n server s {server}\n",
            8080 + which
        )
    });
    let get = |host: u8, path: &str, more: &str| {
        let both = [0, 1].map(|which| {
            let at = SocketAddr::from(([127, 0, 0, host], 8080 + which));
            let mut stream = twins.stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
            stream.set_read_timeout(Some(PATIENCE)).expect("sets");
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}Connection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("it reads");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("it closes");
            // The connection's own field is not the point.
            text.rsplit("\r\n\r\n").next().unwrap_or_default().replace("|connection: close", "")
        });
        let [ours, theirs] = both.map(|text| text.replace("connection: close|", ""));
        assert_eq!(ours, theirs, "{host} {path}");
        ours
    };
    assert!(get(1, "/", "").contains("|x-original-to: 127.0.0.1"));
    assert!(get(2, "/", "X-Original-To: 1.2.3.4\r\n").contains("|x-original-to: 127.0.0.2"));
    assert!(!get(3, "/", "").contains("x-original-to"));
    assert!(!get(1, "/named", "").contains("x-to"));
    assert!(get(4, "/named", "").contains("|x-to: 127.0.0.4"));
    twins.end();
}

#[test]
fn probes_are_passed_over() {
    let twins = Twins::start(|_, which| {
        format!(
            " option httplog\n timeout http-request 200ms\n option http-ignore-probes\n\
             listen f\n bind 127.0.0.1:{}\n\
             listen g\n bind 127.0.0.1:{}\n no option http-ignore-probes\n",
            8080 + which,
            8090 + which
        )
    });
    let talk = |port: u16, said: &str, closes: bool| {
        let both = [0, 1].map(|which| {
            let at = SocketAddr::from(([127, 0, 0, 1], port + which));
            let mut stream = twins.stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
            stream.set_read_timeout(Some(PATIENCE)).expect("sets");
            stream.write_all(said.as_bytes()).expect("it reads");
            if closes {
                stream.shutdown(std::net::Shutdown::Write).expect("it is there");
            }
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("it closes");
            text.lines().next().unwrap_or_default().to_owned()
        });
        assert_eq!(both[0], both[1], "{port} {said:?} {closes}");
        both[0].clone()
    };
    assert_eq!(talk(8080, "", false), "");
    assert_eq!(talk(8080, "", true), "");
    // Who has begun is told.
    assert!(talk(8080, "GET", false).contains(" 408 "));
    assert!(talk(8090, "", false).contains(" 408 "));
    // The first line is that of the one who had begun.
    for line in twins.lines(" f ") {
        assert!(line.contains(" 408 ") && line.ends_with("<BADREQ>\""), "{line}");
    }
    let errors = twins.ask("show stat").map(|text| {
        let row = text.lines().find(|row| row.starts_with("f,FRONTEND")).expect("a row");
        row.split(',').nth(12).expect("ereq").to_owned()
    });
    assert_eq!(errors, ["1", "1"]);
    twins.end();
}
