//! `tcpdump | teardown explain -`: connections are shown as they end, while tcpdump goes on.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use support::netns::Netns;
use support::process::{Lines, Process};
use support::until::until;

/// `teardown explain ARGS -` that reads a pipe, and what it has said.
fn explain(arguments: &[&str], pipe: Stdio) -> (Child, Lines) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_teardown"))
        .args(["explain", "-"])
        .args(arguments)
        .env("TZ", "UTC")
        .stdin(pipe)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let lines = Lines::read(child.stdout.take().expect("piped"));
    (child, lines)
}

/// Waits for a line with `words`, and gives all.
fn wait(lines: &Lines, words: &str) -> Vec<String> {
    until(words, || Some(lines.all()).filter(|all| all.iter().any(|line| line.contains(words))))
}

/// A connection that its client closes first; gives the client's port.
fn connect(listener: &TcpListener) -> u16 {
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (mut server, _) = listener.accept().expect("accepted");
    client.write_all(b"hello").expect("written");
    client.shutdown(Shutdown::Write).expect("closed");
    server.read_to_end(&mut Vec::new()).expect("read to the end");
    drop(server);
    client.read_to_end(&mut Vec::new()).expect("closed by the server too");
    client.local_addr().expect("bound").port()
}

/// Connections are shown while tcpdump, `writing` so, runs.
fn follow(writing: &[&str], reading: &[&str]) {
    let netns = Netns::new();
    let listener = netns.run(|| TcpListener::bind("127.0.0.1:0")).expect("a socket");
    let mut command = Command::new("tcpdump");
    command.args(["-i", "lo", "-n", "-Z", "root", "--immediate-mode"]).args(writing);
    let mut tcpdump = Process::start(&netns, command.arg("tcp").stdout(Stdio::piped()));
    tcpdump.wait_for_words("listening on");
    let (mut teardown, lines) = explain(reading, tcpdump.stdout().into());
    // The ring is read only some time after the words: what comes before is not seen.
    let is_shown = || {
        std::thread::sleep(Duration::from_millis(50));
        lines.all().iter().any(|line| line.contains("127.0.0.1:"))
    };
    until("a connection that is seen", || {
        netns.run(|| connect(&listener));
        (0..160).any(|_| is_shown()).then_some(())
    });
    // The next one comes while the first is on the screen already.
    let port = netns.run(|| connect(&listener));
    let all = wait(&lines, &format!("127.0.0.1:{port}"));
    assert!(!all.iter().any(|line| line.contains("standard input:")), "{all:#?}");
    assert!(tcpdump.ended().is_none());
    tcpdump.signal(Signal::INT);
    assert!(teardown.wait().expect("our own child").success());
}

#[test]
fn connections_of_a_text_are_shown_while_tcpdump_runs() {
    follow(&["-l"], &[]);
}

#[test]
fn connections_of_a_text_without_times_are_shown_too() {
    follow(&["-l", "-t"], &["--ladder"]);
}

#[test]
fn connections_of_a_binary_capture_are_shown_too() {
    follow(&["-U", "-w", "-"], &["--json"]);
}

/// What tcpdump prints of a connection that both ends close.
const CLOSED: &str = "\
10:00:00.000001 IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [S], seq 100, win 500, length 0
10:00:00.000002 IP 10.0.0.2.80 > 10.0.0.1.4000: Flags [S.], seq 900, ack 101, win 500, length 0
10:00:00.000003 IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [F.], seq 1, ack 1, win 500, length 0
10:00:00.000004 IP 10.0.0.2.80 > 10.0.0.1.4000: Flags [F.], seq 1, ack 2, win 500, length 0
10:00:00.000005 IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [.], ack 2, win 500, length 0
";

fn send(text: &str, arguments: &[&str]) -> (ChildStdin, Child, Lines) {
    let (mut child, lines) = explain(arguments, Stdio::piped());
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(text.as_bytes()).expect("it reads");
    (stdin, child, lines)
}

#[test]
fn an_interrupt_ends_the_reading_and_not_the_answer() {
    let (_stdin, mut teardown, lines) = send(CLOSED, &[]);
    wait(&lines, "10.0.0.1:4000");
    let all = lines.all();
    assert!(!all.iter().any(|line| line.contains("Connection 1")), "{all:#?}");
    kill_process(Pid::from_child(&teardown), Signal::INT).expect("our own child");
    assert!(teardown.wait().expect("our own child").success());
    let all = wait(&lines, "5 TCP segments");
    assert!(all.iter().any(|line| line.starts_with("Connection 1: 10.0.0.1:4000 to")), "{all:#?}");
}

#[test]
fn a_writer_that_holds_back_is_waited_for() {
    // Within a line: what the rest of it says may be of the connection that looks closed.
    let reset = CLOSED.lines().last().expect("a line").replace("[.]", "[R.]");
    let reset = reset.replace("00.000005", "01.000000").replace("ack 2", "seq 2, ack 2");
    let (half, rest) = reset.split_at(40);
    let (mut stdin, mut teardown, lines) = send(&format!("{CLOSED}{half}"), &["--json"]);
    // Longer than closed connections are kept.
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(lines.all(), [""; 0]);
    writeln!(stdin, "{rest}").expect("it reads");
    drop(stdin);
    assert!(teardown.wait().expect("our own child").success());
    let piped = wait(&lines, "10.0.0.1:4000");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{CLOSED}{reset}\n")).expect("written");
    let read = Command::new(env!("CARGO_BIN_EXE_teardown"))
        .args(["explain", "--json"])
        .arg(file.path())
        .env("TZ", "UTC")
        .output()
        .expect("the binary runs");
    assert_eq!(piped.join("\n") + "\n", String::from_utf8_lossy(&read.stdout));
    assert!(piped[0].contains("R\""), "the history holds the RST: {piped:?}");
}
