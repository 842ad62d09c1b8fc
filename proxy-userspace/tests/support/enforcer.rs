//! `teardown run` inside a namespace, spoken to over its runtime socket.

use super::netns::Netns;
use super::process::{Lines, Process};
use super::runtime;
use super::until::until;
use super::watch::teardown;
use serde_json::Value;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use tempfile::TempDir;

/// A running `teardown run` without a configuration: rules come over its socket.
pub(crate) struct Enforcer {
    pub(crate) process: Process,
    socket: PathBuf,
    records: Lines,
    _folder: TempDir,
}

impl Enforcer {
    /// Starts it; returns once its programs are attached.
    pub(crate) fn start(netns: &Netns, arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join("socket");
        let mut command = teardown();
        command.arg("run").arg("--socket").arg(&socket).args(arguments);
        let mut process = Process::start(netns, &mut command);
        process.wait_for_words("watching");
        let mut tail = connect(&socket);
        tail.write_all(b"tail --json\n").expect("the daemon reads");
        let started = Self { process, socket, records: Lines::read(tail), _folder: folder };
        until("the tail", || started.ask("show info").contains("Tails: 1").then_some(()));
        started
    }

    /// What it answers to one line.
    pub(crate) fn ask(&self, line: &str) -> String {
        runtime::ask(&self.socket, line)
    }

    /// Sets the rule for `target`, as `10.0.0.5:80`.
    pub(crate) fn set(&self, target: impl std::fmt::Display, words: &str) {
        let answer = self.ask(&format!("set policy {target} {words}"));
        assert!(answer.contains("in force"), "set policy {target} {words}: {answer}");
    }

    /// Takes the rule for `target` away.
    pub(crate) fn forget(&self, target: impl std::fmt::Display) {
        let answer = self.ask(&format!("del policy {target}"));
        assert!(answer.contains("is gone"), "del policy {target}: {answer}");
    }

    /// What the rule for `target` counted, in the words of `show policy`.
    pub(crate) fn counts(&self, target: impl std::fmt::Display) -> Counts {
        let text = self.ask("show policy");
        let start = format!("{target} ");
        let mut lines = text.lines().skip_while(|line| !line.starts_with(&start));
        let (_, counts) = (lines.next(), lines.next());
        Counts(counts.unwrap_or_else(|| panic!("no {target} in {text}")).to_owned())
    }

    /// The closes that it told so far.
    pub(crate) fn closes(&self) -> Vec<Value> {
        let closes = self.records.all();
        closes.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for `wanted` closes of connections to `port`, and gives them.
    pub(crate) fn wait_for_closes(&self, port: u16, wanted: usize) -> Vec<Value> {
        let end = format!(":{port}");
        let ours = |close: &Value| {
            ["orig", "resp"]
                .iter()
                .any(|side| close[side].as_str().is_some_and(|at| at.ends_with(&end)))
        };
        until(&format!("{wanted} closes of port {port}"), || {
            let closes: Vec<Value> = self.closes().into_iter().filter(ours).collect();
            (closes.len() >= wanted).then_some(closes)
        })
    }
}

/// A rule's counters as `show policy` writes them.
#[derive(Clone, Debug)]
pub(crate) struct Counts(String);

impl Counts {
    /// The number behind `name`; what is not written is 0.
    pub(crate) fn of(&self, name: &str) -> u64 {
        let Some(at) = self.0.find(&format!("{name} ")) else { return 0 };
        let digits: String =
            self.0[at + name.len() + 1..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number behind {name:?} in {:?}", self.0))
    }
}

fn connect(socket: &PathBuf) -> UnixStream {
    until("the runtime socket", || UnixStream::connect(socket).ok())
}
