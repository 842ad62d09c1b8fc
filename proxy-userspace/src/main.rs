//! `teardown`: how every TCP connection on this host ends, and how it should.

use clap::Parser;
use std::process::ExitCode;
use teardown::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli::start_log();
    cli.run().unwrap_or_else(|error| cli::fail(&error))
}
