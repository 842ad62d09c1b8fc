//! What rules cost: `cargo xtask bench enforce`.

#[path = "../frame/mod.rs"]
mod frame;
#[path = "../../tests/support/mod.rs"]
mod support;

mod cost;
mod rules;

use clap::Parser;
use frame::beside::{self, Scene};
use frame::load::Closes;
use rules::Rules;
use std::time::Duration;

/// What changing closes costs, on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench enforce --")]
struct Cli {
    /// Leave out the costs by bpf_stats
    #[arg(long)]
    no_cost: bool,
    /// Leave out HAProxy with and without rules
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
    /// Which rules there are, the first being what the others are compared to
    #[arg(long, value_enum, num_args = 1.., default_values_t = Rules::ALL)]
    rules: Vec<Rules>,
    /// What `cargo bench` adds by itself
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let cli = Cli::parse();
    if !cli.no_cost {
        cost::measure(cli.rounds);
    }
    if !cli.no_beside {
        // The server's FIN stands in the response: HAProxy's is the passive close every time.
        let (scene, time) = (Scene::new(Closes::WithData), Duration::from_secs(cli.seconds));
        beside::measure(&scene, &cli.rules, cli.rounds, time, cli.rate);
    }
}
