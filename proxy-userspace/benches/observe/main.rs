//! What the observer costs: `cargo xtask bench observe`.

#[path = "../frame/mod.rs"]
mod frame;
#[path = "../../tests/support/mod.rs"]
mod support;

mod cost;
mod latency;
mod observers;

use clap::Parser;
use frame::beside::{self, Scene};
use frame::load::Closes;
use observers::Observer;
use std::time::Duration;

/// What the observer costs, on this machine, beside those who watch by other means.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench observe --")]
struct Cli {
    /// Leave out the costs by bpf_stats
    #[arg(long)]
    no_cost: bool,
    /// Leave out HAProxy with and without observers
    #[arg(long)]
    no_beside: bool,
    /// Rounds, in each of which everyone has a turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Connections a second where the load is bounded
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    /// Who watches, the first being whom the others are compared to
    #[arg(long, value_enum, num_args = 1.., default_values_t = Observer::ALL)]
    observers: Vec<Observer>,
    /// What `cargo bench` adds by itself
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let cli = Cli::parse();
    if !cli.no_cost {
        cost::measure();
    }
    if !cli.no_beside {
        let (scene, time) = (Scene::new(Closes::AfterData), Duration::from_secs(cli.seconds));
        latency::measure(&scene, time, cli.rate);
        beside::measure(&scene, &cli.observers, cli.rounds, time, cli.rate);
    }
}
