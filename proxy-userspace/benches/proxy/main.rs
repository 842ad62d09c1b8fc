//! What proxying costs, beside HAProxy and nginx: `cargo xtask bench proxy`.

#[path = "../frame/mod.rs"]
mod frame;
#[path = "../../tests/support/mod.rs"]
mod support;

mod idle;
mod peers;
mod ratios;
mod scene;
mod shapes;
mod wrk;

use clap::Parser;
use frame::options::Turns;
use peers::Peer;
use scene::Scene;
use shapes::Shape;
use std::path::PathBuf;

/// What proxying costs, on this machine, beside others who do it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench proxy --")]
struct Cli {
    #[command(flatten)]
    turns: Turns,
    /// Clients' connections
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Idle connections whose memory is measured; 0 leaves that out
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// What is asked for; all of it unless said
    #[arg(long, value_enum, num_args = 0.., default_values_t = Shape::ALL)]
    shapes: Vec<Shape>,
    /// Who proxies
    #[arg(long, value_enum, num_args = 1.., default_values_t = Peer::ALL)]
    peers: Vec<Peer>,
    /// Be the proxy of this configuration, without the kernel side: how the benchmark starts
    /// teardown's proxy alone
    #[arg(long, hide = true, value_name = "FILE")]
    proxy: Option<PathBuf>,
}

fn main() {
    let cli = Cli::parse();
    if let Some(file) = cli.proxy {
        return peers::be_the_proxy(file);
    }
    let scene = Scene::new();
    for shape in cli.shapes {
        let (rounds, time) = (cli.turns.rounds, cli.turns.time());
        ratios::measure(&scene, shape, &cli.peers, rounds, time, cli.connections);
    }
    if cli.idle > 0 {
        idle::measure(&scene, &cli.peers, cli.idle);
    }
}
