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
use frame::options::Parts;
use rules::Rules;

/// What changing closes costs, on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench enforce --")]
struct Cli {
    #[command(flatten)]
    parts: Parts,
    /// Which rules there are, the first being what the others are compared to
    #[arg(long, value_enum, num_args = 1.., default_values_t = Rules::ALL)]
    rules: Vec<Rules>,
}

fn main() {
    let cli = Cli::parse();
    let Parts { no_cost, no_beside, rate, turns } = cli.parts;
    if !no_cost {
        cost::measure(turns.rounds);
    }
    if !no_beside {
        // The server's FIN stands in the response: HAProxy's is the passive close every time.
        let scene = Scene::new(Closes::WithData);
        beside::measure(&scene, &cli.rules, turns.rounds, turns.time(), rate);
    }
}
