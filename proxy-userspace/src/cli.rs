//! The command line: what can be asked for, and the way from an error to an exit code.
//!
//! Each subcommand's arguments stand in the room that carries it out.

pub mod generate;

use crate::admin::{client, close, reload};
use crate::daemon::{demo, run, steward, watch};
use crate::{diff, doctor, explain};
use clap::{Parser, Subcommand};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Exit code: what was asked for could not be done.
pub const FAILED: u8 = 1;
/// Exit code: what was asked for makes no sense as it was written.
pub const USAGE: u8 = 2;

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
    /// Whatever kept it from being done; [`fail`] says it and chooses the exit code.
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

/// The command was written wrongly, in a way that only its own room can see: exit code [`USAGE`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Whether all that went wrong is that nobody reads on.
#[must_use]
pub fn is_reader_gone(error: &anyhow::Error) -> bool {
    let gone = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(gone))
}

/// Says on stderr what went wrong, with every cause, and gives the exit code.
///
/// A reader that went away (`teardown tail | head`) is no failure and is not spoken of.
#[must_use]
pub fn fail(error: &anyhow::Error) -> ExitCode {
    if is_reader_gone(error) {
        return ExitCode::SUCCESS;
    }
    say(format_args!("teardown: {}", in_words(error)));
    let usage = error.chain().any(|cause| cause.is::<Usage>());
    ExitCode::from(if usage { USAGE } else { FAILED })
}

/// An error with its causes, each once: many say theirs themselves.
fn in_words(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !said.contains(&cause) {
            said += if said.is_empty() { "" } else { ": " };
            said += &cause;
        }
    }
    said
}

/// An address with its port, as an option's value.
///
/// # Errors
/// What it should be.
pub fn endpoint(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "should be ADDR:PORT, as 10.0.0.5:80 or [::1]:80".to_owned())
}

/// A line on stderr. Where nobody reads it, nothing more can be done.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A command's whole answer, a line on stdout.
///
/// # Errors
/// Where it cannot be written.
pub fn answer(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Whether colour is forbidden: `NO_COLOR` is set, and not empty (no-color.org), or the terminal has
/// none.
#[must_use]
pub fn no_color() -> bool {
    let set = |name, means: fn(&std::ffi::OsStr) -> bool| {
        std::env::var_os(name).is_some_and(|value| means(&value))
    };
    set("NO_COLOR", |value| !value.is_empty()) || set("TERM", |value| value == "dumb")
}

/// Sends the daemon's own log to stderr; `TEARDOWN_LOG` chooses what is said (`warn` by default).
pub fn start_log() {
    let filter = EnvFilter::try_from_env("TEARDOWN_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !no_color())
        .log_internal_errors(false)
        .with_target(false)
        .without_time()
        .init();
}

#[cfg(test)]
mod tests {
    use super::in_words;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn a_cause_is_said_once() {
        let error: anyhow::Result<()> = Err(anyhow!("no such file")).context("x: no such file");
        let error = error.context("cannot start").expect_err("one");
        assert_eq!(in_words(&error), "cannot start: x: no such file");
    }
}
