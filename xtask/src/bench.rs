//! `cargo xtask bench`: runs a benchmark of `proxy-userspace/benches` as root.

use anyhow::Result;
use clap::ValueEnum;

use crate::{command, workspace};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    bench: Bench,
    /// Arguments for the benchmark
    #[arg(last = true)]
    args: Vec<String>,
}

/// One file below `benches/` each.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bench {
    /// The observer: cost of a packet and of a close; throughput beside tcpdump and tcplife
    Observe,
    /// The enforcer: cost of each change of a close; HAProxy with rules and without
    Enforce,
    /// The proxy: CPU time, throughput, latency and memory beside HAProxy and nginx
    Proxy,
    /// Reading captures: packets a second beside tcpdump and tshark, and memory
    Explain,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let name = args.bench.to_possible_value().expect("none is hidden");
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--package", "proxy-userspace", "--bench", name.get_name(), "--"]);
    command::run_as_root(cargo.args(&args.args))?;
    Err(command::replace(&mut cargo))
}
