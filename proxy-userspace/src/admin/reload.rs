//! `teardown reload`: asks the running daemon to read its configuration anew.

use super::socket::DEFAULT_PATH;
use anyhow::Context;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
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
    let at = args.socket.display();
    let mut stream =
        UnixStream::connect(&args.socket).with_context(|| format!("no daemon answers at {at}"))?;
    let mut answer = String::new();
    let asked = stream.write_all(b"reload\n").and_then(|()| stream.shutdown(Shutdown::Write));
    asked
        .and_then(|()| stream.read_to_string(&mut answer))
        .with_context(|| format!("the daemon at {at} is gone without a word"))?;
    let answer = answer.trim_end();
    anyhow::ensure!(answer.starts_with(IN_PLACE), "{answer}");
    println!("{answer}");
    Ok(ExitCode::SUCCESS)
}
