//! `teardown watch --write`: what it showed live, `teardown explain` reads back from the file, and
//! others can open it too.

use socket2::SockRef;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How a connection of this test ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// The server first, then the client, both with FIN.
    ServerFirst,
    /// The client first.
    ClientFirst,
    /// The client resets, with the answer unread.
    Reset,
}

const ENDINGS: [Ending; 6] = [
    Ending::ServerFirst,
    Ending::ClientFirst,
    Ending::Reset,
    Ending::ServerFirst,
    Ending::Reset,
    Ending::ClientFirst,
];

#[test]
fn a_recording_gives_the_same_closes_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("closes.pcapng");
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).expect("a port");
        let server = listener.local_addr().expect("an address");
        let live = watch(&file, server, || ENDINGS.iter().for_each(|way| play(&listener, *way)));
        assert_eq!(live.len(), ENDINGS.len(), "{live:#?}");
        assert_eq!(explain(&file, server), live, "{address}");
        opens_elsewhere(&file, &live);
    }
}

#[test]
fn the_first_bytes_of_data_are_recorded_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("an address");
    for (options, kept) in
        [(&[][..], ""), (&["--payload", "12"], "HTTP/1.0 404"), (&["--payload", "1024"], HEAD)]
    {
        let file = folder.path().join("data.pcapng");
        let live = watch_with(&file, server, options, || {
            for _ in &ENDINGS {
                answer_with_the_fin(&listener);
            }
        });
        assert_eq!(explain(&file, server), live, "{options:?}");
        let tcpdump = Command::new("tcpdump").args(["-n", "-A", "-r"]).arg(&file).output();
        let shown = String::from_utf8(tcpdump.expect("tcpdump").stdout).expect("ASCII");
        let heads = shown.matches("HTTP/1.0 404").count();
        assert_eq!(heads > 0, !kept.is_empty(), "{options:?}: {shown}");
        assert_eq!(shown.contains("Content-Length"), kept == HEAD, "{options:?}: {shown}");
    }
}

#[test]
fn rotation_goes_on_in_a_folder_of_somebody_elses() {
    let above = tempfile::tempdir().expect("a folder");
    let folder = above.path().join("recordings");
    std::fs::create_dir(&folder).expect("a folder");
    // Root alone, without capabilities, could not create a file there.
    std::os::unix::fs::chown(&folder, Some(65_534), Some(65_534)).expect("this needs root");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("its owner's alone");
    let file = folder.join("closes.pcapng");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("an address");
    let live = watch_with(&file, server, &["--rotate", "2k"], || {
        ENDINGS.iter().for_each(|way| play(&listener, *way));
    });
    let mut files = vec![file];
    while let next = folder.join(format!("closes.{}.pcapng", files.len()))
        && next.exists()
    {
        files.push(next);
    }
    assert!(files.len() > 2, "{files:?}");
    assert_eq!(explain_all(&files, server), live);
}

/// A response whose data has the FIN in the same segment.
const HEAD: &str = "HTTP/1.0 404 Not Found\r\nContent-Length: 3\r\n\r\n";

/// One connection whose server corks its response until it closes.
fn answer_with_the_fin(listener: &TcpListener) {
    let mut client =
        TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let (mut server, _) = listener.accept().expect("accepted");
    SockRef::from(&server).set_tcp_cork(true).expect("a cork");
    server.write_all(HEAD.as_bytes()).expect("sent");
    server.write_all(b"no\n").expect("sent");
    server.shutdown(Shutdown::Write).expect("closed");
    let mut all = String::new();
    client.read_to_string(&mut all).expect("the response");
    assert_eq!(all.len(), HEAD.len() + 3);
}

fn teardown() -> Command {
    Command::new(env!("CARGO_BIN_EXE_teardown"))
}

/// Starts what observes, and waits until it does.
fn started(command: &mut Command) -> Child {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("teardown starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut words = String::new();
    while !words.contains("watching") {
        let read = said.read_line(&mut words).expect("stderr");
        assert!(read > 0, "it does not watch, this needs root: {words}");
    }
    // Whatever it says later must find a reader.
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    child
}

/// A daemon that observes loopback, ended with the test.
struct Daemon(Child, PathBuf);

impl Daemon {
    fn start(folder: &Path, options: &[&str]) -> Self {
        let socket = folder.join("teardown.sock");
        let child = started(
            teardown().args(["run", "--interface", "lo", "--socket"]).arg(&socket).args(options),
        );
        Self(child, socket)
    }

    fn tail(&self, file: &Path, server: SocketAddr) -> Command {
        let mut command = teardown();
        command.args(["tail", "--json", "--port", &server.port().to_string(), "--socket"]);
        command.arg(&self.1).args(["--count", &ENDINGS.len().to_string(), "--write"]).arg(file);
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_tail_records_what_the_daemon_sees() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("an address");
    let daemon = Daemon::start(folder.path(), &["--segments"]);
    let file = folder.path().join("tail.pcapng");
    let mut tail = daemon.tail(&file, server).stdout(Stdio::piped()).spawn().expect("it starts");
    // The file is there once the daemon has agreed to record.
    while !file.exists() {
        assert!(tail.try_wait().expect("a status").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The tail itself comes right after: a close that it misses does not count among its own.
    ENDINGS.iter().for_each(|way| play(&listener, *way));
    let mut shown = String::new();
    let mut lines = BufReader::new(tail.stdout.take().expect("piped"));
    lines.read_to_string(&mut shown).expect("stdout");
    assert!(tail.wait().expect("a status").success());
    let mut live: Vec<_> =
        shown.lines().filter(|line| line.contains("conn_state")).map(str::to_owned).collect();
    live.sort();
    assert_eq!(live.len(), ENDINGS.len(), "{shown}");
    assert_eq!(explain(&file, server), live);
    opens_elsewhere(&file, &live);
}

#[test]
fn a_daemon_that_follows_no_segments_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(folder.path(), &[]);
    let file = folder.path().join("tail.pcapng");
    let tail = daemon.tail(&file, "127.0.0.1:80".parse().expect("an address")).output();
    let tail = tail.expect("it runs");
    let said = String::from_utf8_lossy(&tail.stderr);
    assert_eq!(tail.status.code(), Some(1), "{said}");
    assert!(said.contains("run --segments"), "{said}");
    assert!(!file.exists());
}

/// The closes that a recording watch shows while `traffic` runs, sorted.
fn watch(file: &Path, server: SocketAddr, traffic: impl FnOnce()) -> Vec<String> {
    watch_with(file, server, &[], traffic)
}

/// [`watch`] with more options.
fn watch_with(
    file: &Path,
    server: SocketAddr,
    options: &[&str],
    traffic: impl FnOnce(),
) -> Vec<String> {
    let mut watch = started(
        teardown()
            .args(["watch", "--json", "--interface", "lo", "--port", &server.port().to_string()])
            .args(["--count", &ENDINGS.len().to_string(), "--write"])
            .arg(file)
            .args(options)
            .stdout(Stdio::piped()),
    );
    traffic();
    let mut shown = String::new();
    watch.stdout.take().expect("piped").read_to_string(&mut shown).expect("stdout");
    assert!(watch.wait().expect("it ends").success());
    let mut closes: Vec<String> = shown.lines().map(str::to_owned).collect();
    closes.sort();
    closes
}

/// One connection: a question, an answer, an end.
fn play(listener: &TcpListener, ending: Ending) {
    let mut client =
        TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let (mut server, _) = listener.accept().expect("accepted");
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    }
    let mut buffer = [0; 64];
    client.write_all(b"question").expect("sent");
    server.read_exact(&mut buffer[..8]).expect("received");
    server.write_all(b"answer").expect("sent");
    match ending {
        Ending::ServerFirst => {
            server.shutdown(Shutdown::Write).expect("closed");
            client.read_exact(&mut buffer[..6]).expect("received");
            assert_eq!(client.read(&mut buffer).expect("the end"), 0);
        }
        Ending::ClientFirst => {
            client.read_exact(&mut buffer[..6]).expect("received");
            client.shutdown(Shutdown::Write).expect("closed");
            assert_eq!(server.read(&mut buffer).expect("the end"), 0);
        }
        Ending::Reset => {
            client.peek(&mut buffer).expect("received");
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("no linger");
            drop(client);
            server.read(&mut buffer).expect_err("reset");
        }
    }
}

fn explain(file: &Path, server: SocketAddr) -> Vec<String> {
    explain_all(&[file.into()], server)
}

/// The closes of a row of files.
fn explain_all(files: &[PathBuf], server: SocketAddr) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_teardown"))
        .args(["explain", "--json", "--port", &server.port().to_string()])
        .args(files)
        .output()
        .expect("teardown runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut closes: Vec<String> = text.lines().map(str::to_owned).collect();
    closes.sort();
    closes
}

/// tcpdump and tshark read the file; tshark finds a comment for each close.
fn opens_elsewhere(file: &Path, live: &[String]) {
    let tcpdump = Command::new("tcpdump").args(["-n", "-r"]).arg(file).output().expect("tcpdump");
    assert!(tcpdump.status.success(), "{}", String::from_utf8_lossy(&tcpdump.stderr));
    let resets = String::from_utf8_lossy(&tcpdump.stdout).matches("Flags [R").count();
    assert!(resets >= 2, "{}", String::from_utf8_lossy(&tcpdump.stdout));
    let tshark = Command::new("tshark")
        .args(["-T", "fields", "-e", "frame.comment", "-Y", "frame.comment", "-r"])
        .arg(file)
        .output()
        .expect("tshark");
    assert!(tshark.status.success(), "{}", String::from_utf8_lossy(&tshark.stderr));
    let comments = String::from_utf8_lossy(&tshark.stdout);
    let told = comments.lines().filter(|line| line.starts_with("teardown: ")).count();
    assert!(told >= live.len(), "{told} comments: {comments}");
}
