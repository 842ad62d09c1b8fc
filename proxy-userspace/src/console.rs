//! What all commands share: how they say something, how they end, how an address is typed.

mod queue;

use queue::Queue;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Exit code: what was asked for could not be done.
pub const FAILED: u8 = 1;
/// Exit code: what was asked for makes no sense as it was written.
pub const USAGE: u8 = 2;

/// Where a daemon's words wait for stderr.
static QUEUE: OnceLock<Queue> = OnceLock::new();

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

/// A line on stderr.
pub fn say(line: impl Display) {
    tell(format!("{line}\n").as_bytes());
}

/// Whole lines on stderr. Where nobody reads them, nothing more can be done.
pub fn tell(lines: &[u8]) {
    match QUEUE.get() {
        Some(queue) => queue.put(lines),
        None => drop(io::stderr().write_all(lines)),
    }
}

/// From now on nobody waits for stderr but a thread of its own. To be called once this thread has
/// given up what that one needs not.
///
/// # Errors
/// Where there can be no thread.
pub fn wait_for_nobody() -> io::Result<()> {
    let queue = Queue::start(io::stderr())?;
    // Where there is one already, that one serves.
    let _ = QUEUE.set(queue);
    Ok(())
}

/// Lets what was said be read: at the end, or before stderr is another.
pub fn settle() {
    if let Some(queue) = QUEUE.get() {
        queue.settle();
    }
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

/// Whether what is written there has colour: on a terminal that has it, unless `NO_COLOR` is set, and
/// not empty (no-color.org).
#[must_use]
pub fn has_colour(stream: &impl IsTerminal) -> bool {
    let set = |name, means: fn(&std::ffi::OsStr) -> bool| {
        std::env::var_os(name).is_some_and(|value| means(&value))
    };
    let forbidden =
        set("NO_COLOR", |value| !value.is_empty()) || set("TERM", |value| value == "dumb");
    stream.is_terminal() && !forbidden
}

/// Sends the daemon's own log to stderr; `TEARDOWN_LOG` chooses what is said (`warn` by default).
pub fn start_log() {
    let filter = EnvFilter::try_from_env("TEARDOWN_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Log)
        .with_ansi(has_colour(&io::stderr()))
        .log_internal_errors(false)
        .with_target(false)
        .without_time()
        .init();
}

/// Where the log goes, a message at a time.
struct Log;

impl Write for Log {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        tell(message);
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
