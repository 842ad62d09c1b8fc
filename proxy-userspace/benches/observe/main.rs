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
use frame::options::Parts;
use observers::Observer;

/// What the observer costs, on this machine, beside those who watch by other means.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench observe --")]
struct Cli {
    #[command(flatten)]
    parts: Parts,
    /// Who watches, the first being whom the others are compared to
    #[arg(long, value_enum, num_args = 1.., default_values_t = Observer::ALL)]
    observers: Vec<Observer>,
}

fn main() {
    let cli = Cli::parse();
    let Parts { no_cost, no_beside, rate, turns } = cli.parts;
    if !no_cost {
        cost::measure();
    }
    if !no_beside {
        let scene = Scene::new(Closes::AfterData);
        latency::measure(&scene, turns.time(), rate);
        beside::measure(&scene, &cli.observers, turns.rounds, turns.time(), rate);
    }
}
