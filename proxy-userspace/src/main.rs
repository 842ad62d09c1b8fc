//! `teardown`: how every TCP connection on this host ends, and how it should.

use clap::Parser;
use std::process::ExitCode;
use teardown::{cli::Cli, console};

fn main() -> ExitCode {
    let cli = Cli::parse();
    console::start_log();
    let code = cli.run().unwrap_or_else(|error| console::fail(&error));
    console::settle();
    code
}
