//! `teardown reload`: asks the running daemon to read its configuration anew.

use super::ask::ask;
use super::socket::DEFAULT_PATH;
use crate::console;
use std::path::PathBuf;
use std::process::ExitCode;

/// How the daemon's answer begins when the new configuration is in place.
pub const IN_PLACE: &str = "The configuration is in place.";

/// Arguments of `teardown reload`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The daemon's runtime socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    socket: PathBuf,
}

/// Asks, and says the daemon's answer: on stdout if the new configuration is in place, else why it
/// is not.
///
/// # Errors
/// Where no daemon answers, or the new configuration is refused; then the old one runs on.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let answer = ask(&args.socket, "reload")?;
    anyhow::ensure!(answer.starts_with(IN_PLACE), "{answer}");
    console::answer(answer)?;
    Ok(ExitCode::SUCCESS)
}
