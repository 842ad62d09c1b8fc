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
use support::topology::{Family, Topology};

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
    /// Clients, proxy and server each on a host of its own, joined by veth. Else all are on one, whose
    /// observer sees both ends of every connection, and each segment twice
    #[arg(long)]
    apart: bool,
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
    let topology =
        if cli.apart { Topology::veth(Family::V4) } else { Topology::loopback(Family::V4) };
    let scene = Scene::new(topology);
    for shape in cli.shapes {
        let (rounds, time) = (cli.turns.rounds, cli.turns.time());
        ratios::measure(&scene, shape, &cli.peers, rounds, time, cli.connections);
    }
    if cli.idle > 0 {
        idle::measure(&scene, &cli.peers, cli.idle);
    }
}
