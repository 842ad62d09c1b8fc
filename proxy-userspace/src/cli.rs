//! The command line: what can be asked for.
//!
//! Each subcommand's arguments stand in the room that carries it out.

pub mod generate;

use crate::admin::{client, close, reload};
use crate::daemon::{demo, run, steward, watch};
use crate::{diff, doctor, explain};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// How every TCP connection on this host ends, and how it should.
#[derive(Debug, Parser)]
#[command(name = "teardown", version, max_term_width = 100, after_help = after_help())]
pub struct Cli {
    /// What to do; without it, show a proxy with traffic of our own, and how its connections close.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how connections on this host end, beside any proxy
    Watch(Box<watch::Args>),
    /// Run the daemon: observe, count, answer on the runtime socket
    Run(Box<run::Args>),
    /// Show closes as the running daemon sees them
    Tail(Box<client::Args>),
    /// Close connections now, idle ones too: the running daemon resets or finishes them
    Close(close::Args),
    /// Have the running daemon read its proxy's configuration anew
    Reload(reload::Args),
    /// Check what this host offers, and say what teardown does without the rest
    Doctor(doctor::Args),
    /// Compare two captures: how closes changed, backend by backend
    Diff(Box<diff::Args>),
    /// Read captures: how their connections closed, and what that says of each backend
    Explain(Box<explain::Args>),
    /// Write the man pages and the shells' completions
    #[command(hide = true)]
    Generate(generate::Args),
    /// Read a configuration for the daemon that started this, as root
    #[command(hide = true)]
    Steward(steward::Args),
}

/// What `--help` and the man page end with: titles, and lines as they stand.
const CLOSING: [(&str, &str); 4] = [
    (
        "Examples",
        "\
teardown watch -f haproxy.cfg          beside a running proxy, its names
teardown watch --policy '10.0.0.5:80 passive rst'   a RST answers FINs
teardown run -f haproxy.cfg            be the proxy
teardown explain ticket.pcap           a capture, or pasted tcpdump -n
teardown diff before.pcap after.pcap   what changed between two",
    ),
    (
        "Exit status",
        "\
0  done, or nobody reads on      diff: nothing changed
1  it could not be done          diff: something changed
2  the command makes no sense    diff: it could not compare",
    ),
    (
        "Environment",
        "\
TEARDOWN_LOG=info    (or debug) say more on stderr
NO_COLOR=1           no colour; nor where TERM is dumb",
    ),
    ("Files", "/run/teardown.sock   the runtime socket, unless --socket names another"),
];

fn after_help() -> String {
    let section =
        |(title, lines): &(&str, &str)| format!("{title}:\n  {}", lines.replace('\n', "\n  "));
    CLOSING.iter().map(section).collect::<Vec<_>>().join("\n\n")
}

impl Cli {
    /// Carries the command out.
    ///
    /// # Errors
    /// Whatever kept it from being done; [`fail`](crate::console::fail) says it and chooses the exit
    /// code.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Some(command) = self.command else { return demo::run() };
        match command {
            Command::Watch(args) => watch::run(&args),
            Command::Run(args) => run::run(&args),
            Command::Tail(args) => client::run(&args),
            Command::Close(args) => close::run(&args),
            Command::Reload(args) => reload::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Diff(args) => diff::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Generate(args) => generate::run(&args),
            Command::Steward(args) => steward::run(&args),
        }
    }
}
