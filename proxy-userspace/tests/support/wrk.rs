//! wrk: HTTP load by somebody else's client, which here also looks at every body.

use super::netns::Netns;
use super::process::{Lines, Process};
use super::servers::BODY;
use rustix::process::Signal;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// What one run came to.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    /// Failed connects, reads and writes, statuses, and time-outs.
    pub(crate) errors: u64,
    /// The same, each for itself.
    #[expect(dead_code, reason = "shown where a test fails")]
    pub(crate) kinds: [u64; 5],
    /// Responses whose body was not the one that every server here sends.
    pub(crate) wrong: u64,
}

/// Asks `peer` over `connections` for as long as `time`.
pub(crate) fn run(netns: &Netns, peer: SocketAddr, connections: u32, time: Duration) -> Load {
    let folder = TempDir::new().expect("a folder");
    read(&netns.output(&mut command(&folder, peer, connections, time)))
}

/// wrk that runs until it is stopped.
pub(crate) struct Running {
    process: Process,
    lines: Lines,
    _folder: TempDir,
}

impl Running {
    pub(crate) fn start(netns: &Netns, peer: SocketAddr, connections: u32) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut command = command(&folder, peer, connections, Duration::from_secs(3600));
        let mut process = Process::start(netns, command.stdout(Stdio::piped()));
        let lines = Lines::read(process.stdout());
        Self { process, lines, _folder: folder }
    }

    pub(crate) fn stop(mut self) -> Load {
        self.process.signal(Signal::INT);
        self.process.wait();
        read(&self.lines.to_the_end().join("\n"))
    }
}

fn command(folder: &TempDir, peer: SocketAddr, connections: u32, time: Duration) -> Command {
    let script = folder.path().join("check.lua");
    let text = format!(
        r#"local threads = {{}}
local body = string.rep("b", {BODY})
function setup(thread) table.insert(threads, thread) end
function init() wrong = 0 end
function response(status, headers, got) if got ~= body then wrong = wrong + 1 end end
function done(summary)
  local wrong, e = 0, summary.errors
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("wrong") end
  local kinds = string.format("%d,%d,%d,%d,%d", e.connect, e.read, e.write, e.status, e.timeout)
  print(string.format('{{"requests":%d,"errors":[%s],"wrong":%d}}', summary.requests, kinds, wrong))
end
"#
    );
    std::fs::write(&script, text).expect("the script");
    let mut command = Command::new("wrk");
    command.args(["--threads", "2", "--timeout", "30s"]);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--duration", &format!("{}s", time.as_secs())]);
    command.arg("--script").arg(&script).arg(format!("http://{peer}/"));
    command
}

fn read(output: &str) -> Load {
    let line = output.lines().last().unwrap_or_default();
    let said: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("wrk: {error}: {output}"));
    let number = |name: &str| said[name].as_u64().expect("a count");
    let kinds = [0, 1, 2, 3, 4].map(|kind| said["errors"][kind].as_u64().expect("a count"));
    let errors = kinds.iter().sum();
    Load { requests: number("requests"), errors, kinds, wrong: number("wrong") }
}
