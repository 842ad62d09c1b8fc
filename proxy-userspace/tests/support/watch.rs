//! `teardown watch --json` inside a namespace, and its answers line by line.

use super::process::{Lines, Process};
use super::topology::Topology;
use super::until::until;
use rustix::process::Signal;
use serde_json::Value;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::LazyLock;

/// Where `--ingress` takes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ingress {
    Tc,
    Xdp,
}

impl Ingress {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }
}

/// A running `teardown watch --json`.
pub(crate) struct Watch {
    pub(crate) process: Process,
    lines: Lines,
}

/// The `teardown` that cargo built for these tests.
pub(crate) fn teardown() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_teardown"));
    command.env("NO_COLOR", "1");
    command
}

/// The same, run by somebody without any privilege. By its descriptor: not every folder above the
/// binary is open to everybody, root's home least of all.
pub(crate) fn teardown_as_nobody() -> Command {
    static BINARY: LazyLock<File> =
        LazyLock::new(|| File::open(env!("CARGO_BIN_EXE_teardown")).expect("the binary"));
    let mut command = Command::new(format!("/proc/self/fd/{}", BINARY.as_raw_fd()));
    command.env("NO_COLOR", "1").uid(65_534).gid(65_534);
    command
}

impl Watch {
    /// Starts to watch in the proxy's namespace and returns once the programs are attached.
    pub(crate) fn start(topology: &Topology, arguments: &[&str]) -> Self {
        let mut command = teardown();
        command.args(["watch", "--json"]).args(arguments).stdout(Stdio::piped());
        let mut process = Process::start(&topology.proxy, &mut command);
        let lines = Lines::read(process.stdout());
        process.wait_for_words("watching");
        Self { process, lines }
    }

    /// How many lines it wrote so far.
    pub(crate) fn count(&self) -> usize {
        self.lines.count()
    }

    /// The closes so far.
    pub(crate) fn closes(&self) -> Vec<Value> {
        self.lines.all().iter().map(|line| parse(line)).collect()
    }

    /// Waits until it reported `wanted` closes.
    pub(crate) fn wait_for_closes(&self, wanted: usize) {
        until(&format!("{wanted} closes ({} so far)", self.count()), || {
            (self.count() >= wanted).then_some(())
        });
    }

    /// Ends it as Ctrl-C does; gives every close, what it said on standard error, and its status.
    pub(crate) fn stop(mut self) -> Stopped {
        self.process.signal(Signal::INT);
        let status = self.process.wait();
        let closes = self.lines.to_the_end().iter().map(|line| parse(line)).collect();
        Stopped { closes, words: self.process.errors.to_the_end(), status }
    }
}

/// What a watch left when it was stopped.
pub(crate) struct Stopped {
    pub(crate) closes: Vec<Value>,
    pub(crate) words: Vec<String>,
    pub(crate) status: ExitStatus,
}

impl Stopped {
    /// The summary at the end: the last JSON object on standard error.
    pub(crate) fn summary(&self) -> Value {
        let last = self.words.iter().rev().find(|line| line.starts_with('{'));
        let line = last.unwrap_or_else(|| panic!("no summary in {:#?}", self.words));
        parse(line)["summary"].clone()
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))
}
