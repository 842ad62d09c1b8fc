//! The proxy states its policy for each connection: servers at one address are told apart, traffic
//! from checks, and the proxy's connections from everybody else's.
//!
//! The witness is the server: it ends its sending, and sees what comes back, a FIN or a RST.

mod support;

use socket2::SockRef;
use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use support::http::head;
use support::netns::Netns;
use support::process::Process;
use support::runtime;
use support::until::until;
use support::watch::teardown;

const CONFIG: &str = "\
defaults
  mode http
  option http-server-close
  timeout connect 10s
  timeout client 10s
  timeout server 10s
  timeout check 10s
frontend in
  bind 127.0.0.1:8080
  use_backend reset if { path /reset }
  use_backend like-1.4 if { path /like-1.4 }
  use_backend like-1.5 if { path /like-1.5 }
  use_backend checked if { path /checked }
  default_backend kept
backend reset
  server s1 127.0.0.1:9000 close passive rst
backend kept
  server s2 127.0.0.1:9000
backend like-1.4
  option httpchk GET /never-1.4
  server s4 127.0.0.1:9000 check inter 300ms close like haproxy-1.4
backend like-1.5
  option httpchk GET /never-1.5
  server s5 127.0.0.1:9000 check inter 300ms close like haproxy-1.5
backend checked
  option httpchk GET /check
  server s3 127.0.0.1:9000 check inter 300ms close passive rst checks passive keep
";

/// How each path's last connection ended, as the server saw it.
type Ends = Arc<Mutex<HashMap<String, String>>>;

/// Answers, ends its sending, and looks how the other side ends.
fn serve(mut stream: TcpStream, ends: &Ends) {
    let Some(head) = head(&mut stream) else { return };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    // Held back until the FIN: the proxy had better not be first.
    let flags = if path.starts_with("/never") { 0 } else { libc::MSG_MORE };
    SockRef::from(&stream).send_with_flags(answer, flags).expect("it reads");
    // Some never close by themselves.
    if !path.starts_with("/never") {
        stream.shutdown(Shutdown::Write).expect("a connection");
    }
    let end = match stream.read(&mut [0]) {
        Ok(0) => "fin".to_owned(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "rst".to_owned(),
        other => format!("{other:?}"),
    };
    ends.lock().expect("unpoisoned").insert(path, end);
}

fn ask(netns: &Netns, port: u16, path: &str) {
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = netns.run(|| TcpStream::connect(to).expect("it listens"));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it closes");
    assert!(answer.ends_with("ok"), "{answer}");
}

#[test]
fn servers_checks_and_strangers_are_told_apart_at_one_address() {
    let netns = Netns::new();
    netns.ip("link set lo up");
    let listener = netns.run(|| TcpListener::bind("127.0.0.1:9000").expect("a free port"));
    let ends = Ends::default();
    let seen = Arc::clone(&ends);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || serve(stream, &ends));
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let (socket, config) = (folder.path().join("own"), folder.path().join("haproxy.cfg"));
    std::fs::write(&config, CONFIG).expect("a file");
    let mut command = teardown();
    command.arg("run").arg("--socket").arg(&socket).arg("-f").arg(&config);
    let mut daemon = Process::start(&netns, &mut command);
    daemon.wait_for_words("watching");
    let end_of = |path: &str| {
        until(&format!("the end of {path}"), || seen.lock().expect("unpoisoned").remove(path))
    };
    let command = |line: &str| runtime::ask(&socket, line);
    for (path, end) in [("/reset", "rst"), ("/kept", "fin"), ("/checked", "rst")] {
        ask(&netns, 8080, path);
        assert_eq!(end_of(path), end, "{path}");
    }
    assert_eq!(end_of("/check"), "fin");
    // The presets: the answer to the server's FIN, and the end of a check whose server never
    // closes, as HAProxy 1.4.22 and 1.5.4 do it.
    for (path, end) in [("/like-1.4", "rst"), ("/like-1.5", "fin")] {
        ask(&netns, 8080, path);
        assert_eq!(end_of(path), end, "{path}");
    }
    assert_eq!(end_of("/never-1.4"), "fin");
    assert_eq!(end_of("/never-1.5"), "rst");
    // A stranger to the same address.
    ask(&netns, 9000, "/stranger");
    assert_eq!(end_of("/stranger"), "fin");
    // What is said at run time holds for the servers by name too.
    for (line, reset, kept) in [
        ("set policy kept/s2 passive rst", "rst", "rst"),
        ("set policy reset/s1 passive fin", "fin", "rst"),
        ("del policy kept/s2", "fin", "fin"),
        ("set policy 127.0.0.1:9000 passive rst", "fin", "rst"),
    ] {
        let said = command(line);
        for (path, end) in [("/reset", reset), ("/kept", kept)] {
            ask(&netns, 8080, path);
            assert_eq!(end_of(path), end, "{path} after {line}: {said}");
        }
    }
    // Under another name it would take the entries of the rule that is there.
    command("set policy reset/s1 passive rst");
    let said = command("set policy s1 passive fin");
    assert!(said.contains("that for 'reset/s1'"), "{said}");
    let said = command("del policy s1");
    assert!(said.contains("there is no rule for 's1'"), "{said}");
    ask(&netns, 8080, "/reset");
    assert_eq!(end_of("/reset"), "rst");
    assert!(command("del policy reset/s1").contains("is gone"));
    assert!(command("set policy s1 passive fin").contains("in force"));
}
