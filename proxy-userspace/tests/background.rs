//! `daemon` in the configuration: the command ends once the proxy serves, or says why it cannot.

mod support;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::netns::Netns;
use support::process::Process;
use support::until::until;
use support::watch::teardown;

fn configuration(folder: &Path, bind: &str, global: &str) -> std::path::PathBuf {
    let path = folder.join("haproxy.cfg");
    let text = format!(
        "global\n  daemon\n  pidfile {}\n{global}defaults\n  mode http\n  timeout client 5s\n\
         \x20 timeout server 5s\n  timeout connect 5s\nfrontend in\n  bind {bind}\n\
         \x20 http-request return status 200 content-type text/plain string pong\n",
        folder.join("pid").display()
    );
    std::fs::write(&path, text).expect("a file");
    path
}

fn run(netns: &Netns, folder: &Path, bind: &str, more: &[&str]) -> Output {
    let mut command: Command = teardown();
    command.arg("run").arg("--socket").arg(folder.join("own"));
    command.arg("-f").arg(configuration(folder, bind, "")).args(more).stdin(Stdio::null());
    // Its output ends only when nobody holds it any more: the daemon lets go of it.
    netns.run(|| command.output()).expect("it starts")
}

#[test]
fn the_command_ends_when_the_proxy_serves() {
    let netns = Netns::new();
    netns.ip("link set lo up");
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(&netns, folder.path(), "127.0.0.1:8080", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let text = std::fs::read_to_string(folder.path().join("pid")).expect("the pidfile");
    let pid = Pid::from_raw(text.trim().parse().expect("a number")).expect("not 0");
    // It serves at once.
    let at = SocketAddr::from(([127, 0, 0, 1], 8080));
    let mut stream = netns.run(|| TcpStream::connect(at).expect("it listens"));
    write!(stream, "GET / HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it closes");
    assert!(answer.ends_with("pong"), "{answer}");
    // A second one at the same socket leaves the first one's pidfile and ports alone.
    let second = run(&netns, folder.path(), "127.0.0.1:8080", &[]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("is in use by process {}", text.trim())), "{said}");
    let still = std::fs::read_to_string(folder.path().join("pid")).expect("the pidfile");
    assert_eq!(still, text);
    let session = rustix::process::getsid(Some(pid)).expect("it runs");
    assert_eq!(session, pid, "a session of its own");
    kill_process(pid, Signal::TERM).expect("it runs");
    until("its end", || test_kill_process(pid).is_err().then_some(()));
}

#[test]
fn it_lets_go_of_the_terminal_in_a_chroot_too() {
    let netns = Netns::new();
    netns.ip("link set lo up");
    let folder = tempfile::tempdir().expect("a folder");
    // A jail without /dev.
    let jail = folder.path().join("jail");
    std::fs::create_dir(&jail).expect("a folder");
    let global = format!("  chroot {}\n", jail.display());
    let mut command: Command = teardown();
    command.arg("run").arg("--socket").arg(folder.path().join("own"));
    command.arg("-f").arg(configuration(folder.path(), "127.0.0.1:8080", &global));
    let said = folder.path().join("said");
    let file = || std::fs::File::create(&said).expect("a file");
    command.stdin(Stdio::null()).stdout(file()).stderr(file());
    let status = netns.run(|| command.status()).expect("it starts");
    assert!(status.success(), "{}", std::fs::read_to_string(&said).expect("a file"));
    let text = std::fs::read_to_string(folder.path().join("pid")).expect("the pidfile");
    let pid = Pid::from_raw(text.trim().parse().expect("a number")).expect("not 0");
    for descriptor in 0..3 {
        let path = format!("/proc/{}/fd/{descriptor}", text.trim());
        let at = std::fs::read_link(&path).expect("it is open");
        assert_eq!(at, Path::new("/dev/null"), "{path}");
    }
    kill_process(pid, Signal::TERM).expect("it runs");
    until("its end", || test_kill_process(pid).is_err().then_some(()));
}

#[test]
fn who_reads_the_pidfile_may_send_a_signal_at_once() {
    let netns = Netns::new();
    netns.ip("link set lo up");
    let folder = tempfile::tempdir().expect("a folder");
    // The daemon waits at it until somebody reads.
    let pidfile = folder.path().join("pid");
    mknodat(CWD, &pidfile, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO");
    let mut command = teardown();
    command.args(["run", "--foreground", "--socket"]).arg(folder.path().join("own"));
    command.arg("-f").arg(configuration(folder.path(), "127.0.0.1:8080", ""));
    let mut daemon = Process::start(&netns, &mut command);
    let mut reader = std::fs::File::open(&pidfile).expect("a FIFO");
    daemon.signal(Signal::HUP);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("the pid");
    assert_eq!(text.trim(), daemon.pid().to_string());
    daemon.wait_for_words("reload: The configuration is in place.");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn the_command_says_what_went_wrong() {
    let netns = Netns::new();
    netns.ip("link set lo up");
    let folder = tempfile::tempdir().expect("a folder");
    let taken = netns.run(|| TcpListener::bind("127.0.0.1:8080").expect("a free port"));
    // Before the sockets, at them, and when the kernel side is to be started.
    for (bind, more, words) in [
        ("127.0.0.1:http", &[][..], "haproxy.cfg:10"),
        ("127.0.0.1:8080", &[][..], "127.0.0.1:8080"),
        ("127.0.0.1:8081", &["--interface", "none0"][..], "none0"),
    ] {
        let output = run(&netns, folder.path(), bind, more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{bind}: {said}");
        assert!(said.contains(words), "{bind}: {said}");
    }
    drop(taken);
}
