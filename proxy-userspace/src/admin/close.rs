//! `teardown close`: asks the running daemon to close connections now.

use super::ask::ask;
use super::socket::DEFAULT_PATH;
use crate::console::{self, FAILED};
use crate::policy::close::CloseWords;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `teardown close`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The daemon's runtime socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    socket: PathBuf,
    #[command(flatten)]
    words: CloseWords,
}

/// Asks, and shows the daemon's answer. The exit code is 0 if something was closed (or would be),
/// and nothing that should have been is left.
///
/// # Errors
/// Where no daemon answers.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let answer = ask(&args.socket, &format!("close{}", args.words))?;
    if is_done(&answer) {
        console::answer(answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    console::say(answer);
    Ok(ExitCode::from(FAILED))
}

/// Whether the daemon's last line says that something was done, and that nothing failed.
fn is_done(answer: &str) -> bool {
    let last = answer.lines().last().unwrap_or_default();
    let mut words = last.split_whitespace();
    let count = words.next().and_then(|count| count.parse::<u64>().ok());
    count.is_some_and(|count| count > 0) && last.ends_with(" 0 not")
}

#[cfg(test)]
mod tests {
    use super::is_done;

    #[test]
    fn the_last_line_tells() {
        assert!(is_done("a > b ESTABLISHED closed\n1 closed, 0 not"));
        assert!(is_done("a > b ESTABLISHED\n2 would be closed, 0 not"));
        assert!(!is_done("1 closed, 1 not"));
        assert!(!is_done("0 closed, 0 not"));
        assert!(!is_done("Permission denied"));
        assert!(!is_done(""));
    }
}
