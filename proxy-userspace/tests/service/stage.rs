//! The unit, as an administrator handles it, and witnesses of what it leaves.

use crate::support::netns::Netns;
use crate::support::process::{Lines, Process};
use crate::support::runtime::ask;
use crate::support::sockets::abort;
use crate::support::until::{until, until_empty};
use aya::programs::loaded_programs;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// Beside the list of what is run.
const PACKAGE: &str = "/mnt/teardown.deb";
const DEFAULTS: &str = "/etc/default/teardown";
const SOCKET: &str = "/run/teardown.sock";

/// The package installed, its unit not running. At the end it is stopped.
pub(crate) struct Service;

impl Service {
    /// The daemon will get these arguments.
    pub(crate) fn with(arguments: &str) -> Self {
        assert!(
            std::env::var_os("TEARDOWN_IN_A_MACHINE").is_some(),
            "this installs a package and starts its service: only in a machine of its own"
        );
        if !Path::new("/usr/bin/teardown").exists() {
            said("dpkg", &["--install", PACKAGE]);
        }
        std::fs::write(DEFAULTS, format!("TEARDOWN_ARGS=\"{arguments}\"\n")).expect("root");
        Self
    }

    /// The same, started: it watches when this returns.
    pub(crate) fn started_with(arguments: &str) -> Self {
        let service = Self::with(arguments);
        service.start();
        service
    }

    pub(crate) fn start(&self) {
        said("systemctl", &["start", "teardown"]);
    }

    /// Whether a reload ends well.
    pub(crate) fn reloads(&self) -> bool {
        let mut reload = Command::new("systemctl");
        reload.args(["reload", "teardown"]).output().expect("it runs").status.success()
    }

    pub(crate) fn stop(&self) {
        said("systemctl", &["stop", "teardown"]);
    }

    /// What systemd knows of the unit.
    pub(crate) fn property(&self, name: &str) -> String {
        let words = ["show", "--value", "--property", name, "teardown"];
        said("systemctl", &words).trim().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.property("MainPID").parse().expect("a number")
    }

    /// A line of the process's status, behind its name.
    pub(crate) fn status(&self, name: &str) -> String {
        let status = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(status).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.expect("in every kernel").to_owned()
    }

    /// What it said to the journal since it was started last.
    pub(crate) fn journal(&self) -> String {
        let invocation = format!("_SYSTEMD_INVOCATION_ID={}", self.property("InvocationID"));
        said("journalctl", &["--output=cat", &invocation])
    }

    pub(crate) fn ask(&self, line: &str) -> String {
        ask(Path::new(SOCKET), line)
    }

    /// The closes that a `teardown tail` of another process tells while `traffic` runs.
    pub(crate) fn told(&self, count: usize, traffic: impl FnOnce()) -> Vec<Value> {
        let mut command = Command::new("/usr/bin/teardown");
        command.args(["tail", "--json", "--count", &count.to_string()]).stdout(Stdio::piped());
        let mut tail = Process::start(&Netns::current(), &mut command);
        let lines = Lines::read(tail.stdout());
        until("the tail", || self.ask("show info").contains("\nTails: 1\n").then_some(()));
        traffic();
        assert!(tail.wait().success(), "{:?}", tail.errors.all());
        let closes = lines.to_the_end();
        closes.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let mut stop = Command::new("systemctl");
        let _purged_already = stop.args(["stop", "teardown"]).stderr(Stdio::null()).status();
    }
}

/// What a command says; fails if it does.
pub(crate) fn said(program: &str, words: &[&str]) -> String {
    Netns::current().output(Command::new(program).args(words))
}

/// Nothing of the daemon's is there any more: no socket, no program in the kernel, no filter.
pub(crate) fn is_gone() {
    assert!(!Path::new(SOCKET).exists(), "{SOCKET} is left");
    until_empty("programs in the kernel", programs);
    for hook in ["ingress", "egress"] {
        assert_eq!(filters(hook), 0, "{hook}");
    }
    let qdiscs = said("tc", &["qdisc", "show"]);
    assert!(!qdiscs.contains("clsact"), "{qdiscs}");
}

/// teardown's programs in the kernel, whatever holds them.
fn programs() -> Vec<String> {
    let names = loaded_programs().map(|program| program.expect("root may look"));
    let names = names.filter_map(|program| program.name_as_str().map(str::to_owned));
    names.filter(|name| name.starts_with("td_")).collect()
}

/// How many of its filters hang on loopback.
pub(crate) fn filters(hook: &str) -> usize {
    said("tc", &["filter", "show", "dev", "lo", hook]).matches("td_").count()
}

/// Two ends of a connection on loopback, the client's first.
pub(crate) fn connected(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let at = listener.local_addr().expect("bound");
    let client = TcpStream::connect(at).expect("it listens");
    (client, listener.accept().expect("a client").0)
}

/// A connection that its server closes after a word.
pub(crate) fn served(listener: &TcpListener) {
    let (mut client, mut server) = connected(listener);
    server.write_all(b"hello").expect("open");
    drop(server);
    client.read_to_string(&mut String::new()).expect("all of it");
}

/// A connection that its client aborts.
pub(crate) fn aborted(listener: &TcpListener) {
    let (client, mut server) = connected(listener);
    abort(client);
    server.read(&mut [0; 1]).expect_err("a RST");
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}
