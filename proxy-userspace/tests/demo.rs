//! `teardown` alone: the whole at a glance, and the command that it suggests.

mod support;

use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use support::netns::Netns;
use support::process::{Lines, Process};
use support::until::until;
use support::watch::teardown;

#[test]
fn it_shows_two_servers_and_how_to_change_their_closes() {
    let netns = Netns::new();
    let mut demo = Process::start(&netns, teardown().stdout(Stdio::piped()));
    let shown = Lines::read(demo.stdout());
    demo.wait_for_words("watching");
    let of_server = |server: &str, how: &str| {
        until(&format!("{how} of {server}"), || {
            let lines = shown.all();
            lines.iter().any(|line| line.contains(server) && line.contains(how)).then_some(())
        });
    };
    of_server("webservice/w1", "resp fin     fin");
    of_server("webservice/w2", "orig rst_ack");
    of_server("webservice/w2", "---- check");
    of_server("webservice ", "---- GET 200");
    let mut stream = netns.run(|| TcpStream::connect("127.0.0.1:8080")).expect("it listens");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it closes");
    assert!(text.ends_with("\r\n\r\nok\n"), "{text}");

    let said = demo.errors.all().join("\n");
    let (_, rest) = said.split_once("echo '").expect("what to type");
    let (command, rest) = rest.split_once("' | socat - ").expect("where to send it");
    let socket = rest.lines().next().expect("a path");
    let mut session = UnixStream::connect(socket).expect("it listens");
    writeln!(session, "{command}").expect("it reads");
    let mut answer = String::new();
    session.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains("in force"), "{command}: {answer}");
    of_server("webservice/w1", "fin>rst_ack by rule");

    demo.signal(Signal::INT);
    assert!(demo.wait().success());
    let last = shown.to_the_end().pop().expect("a summary");
    assert!(last.contains("closes shown, 0 events lost"), "{last}");
    assert!(!std::path::Path::new(socket).exists(), "{socket} is left behind");
    let left = netns.output(Command::new("ss").args(["-Hltn"]));
    assert_eq!(left.trim(), "", "nobody listens any more");
}
