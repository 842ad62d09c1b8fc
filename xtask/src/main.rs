//! `cargo xtask`: sets up, builds, runs, tests, measures, checks and packs teardown.

mod bench;
mod command;
mod dist;
mod ebpf;
mod kernels;
mod lint;
mod setup;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use setup::Purpose;

/// Sets up, builds, runs, tests, measures, checks and packs teardown.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// The tasks. Each first installs what it needs and does not find.
#[derive(Debug, Subcommand)]
enum Task {
    /// Install everything that the other tasks need, save the emulator of `kernels`
    Setup,
    /// Build teardown and start it: a proxy with traffic of its own on loopback, or as the arguments
    /// say
    Run {
        /// Arguments for teardown
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every test, those that need root and eBPF included
    Test {
        /// Arguments for cargo test
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Measure, beside programs that do the same by other means
    Bench(bench::Args),
    /// Run the tests that ask the kernel on other kernels, and the service under systemd, in emulated
    /// machines
    Kernels(kernels::Args),
    /// Check the form: rustfmt, clippy for both targets and the fuzz targets, licences, documentation
    Ci,
    /// Build the release and pack it: an archive and, where dpkg is, a Debian package
    Dist,
}

fn main() -> ExitCode {
    match Cli::parse().task.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Task {
    fn run(self) -> Result<()> {
        match self {
            Self::Setup => setup::setup(&Purpose::HERE),
            Self::Run { args } => {
                setup::setup(&[Purpose::Build, Purpose::Run])?;
                run(args)
            }
            Self::Test { args } => {
                setup::setup(&[Purpose::Build, Purpose::Run, Purpose::Test])?;
                test(&args)
            }
            Self::Bench(args) => {
                setup::setup(&[Purpose::Build, Purpose::Run, Purpose::Test, Purpose::Bench])?;
                bench::run(&args)
            }
            Self::Kernels(args) => {
                setup::setup(&[Purpose::Build, Purpose::Kernels])?;
                kernels::run(&args)
            }
            Self::Ci => {
                setup::setup(&[Purpose::Build, Purpose::Lint])?;
                lint::lint()
            }
            Self::Dist => {
                setup::setup(&[Purpose::Build])?;
                dist::dist().map(drop)
            }
        }
    }
}

/// Builds teardown and becomes it, so that signals and the exit code are its own.
fn run(args: Vec<String>) -> Result<()> {
    command::step("Building teardown", || {
        command::loudly(workspace::cargo().args(["build", "--release", "--bin", "teardown"]))
    })?;
    let program = workspace::target_dir().join("release/teardown");
    Err(command::replace(command::privileged(&program)?.args(args)))
}

/// Runs the tests. They are built by who calls and run by root.
fn test(args: &[String]) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--no-fail-fast"]).args(args);
    command::run_as_root(&mut cargo)?;
    Err(command::replace(&mut cargo))
}
