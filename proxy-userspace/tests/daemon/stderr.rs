//! A daemon whose stderr nobody reads.

use crate::host::Host;
use crate::support::until::{PATIENCE, until};
use crate::support::watch::teardown;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

/// A daemon that does not outlive its test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn it_answers_though_nobody_reads_what_it_says() {
    let host = Host::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    fcntl_setpipe_size(&writer, 4_096).expect("a page");
    let mut command = teardown();
    command.arg("run").arg("--socket").arg(host.socket());
    command.stdin(Stdio::null()).stderr(writer);
    let mut daemon = Daemon(host.netns.run(|| command.spawn()).expect("it starts"));
    // Its end of the pipe is the daemon's alone.
    drop(command);
    let pid = Pid::from_child(&daemon.0);
    let ask = || {
        let mut stream = UnixStream::connect(host.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        writeln!(stream, "show info").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.contains("\nPid: ").then_some(())
    };
    until("its socket", ask);
    // It says something about each.
    for _ in 0..2_000 {
        kill_process(pid, Signal::HUP).expect("it lives");
        ask().expect("it lives");
    }
    let lines = std::thread::spawn(move || {
        BufReader::new(reader).lines().map_while(Result::ok).collect::<Vec<_>>()
    });
    kill_process(pid, Signal::TERM).expect("it lives");
    assert!(daemon.0.wait().expect("our own child").success());
    let lines = lines.join().expect("no panic");
    let missing = |line: &&String| line.ends_with(" missing here: stderr was not read");
    assert_eq!(lines.iter().filter(missing).count(), 1, "{lines:#?}");
}
