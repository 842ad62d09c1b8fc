//! Rounds of one shape, everyone in turn, and the ratios to the best peer of the same round.

use crate::frame::rounds::{interleaved, median};
use crate::peers::Peer;
use crate::scene::Scene;
use crate::shapes::Shape;
use crate::wrk::{self, Turn};
use std::time::Duration;

/// Takes the measures of one shape and prints them.
pub(crate) fn measure(
    scene: &Scene,
    shape: Shape,
    peers: &[Peer],
    rounds: usize,
    time: Duration,
    connections: u32,
) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!("\n{} ({connections} connections; the load before was {load})", shape.name());
    println!(
        "  {:<20} {:>9} {:>11} {:>10} {:>9} {:>9}",
        "", "CPU, µs", "to the best", "requests/s", "p50, ms", "p99, ms"
    );
    let turns = interleaved(rounds, peers, |peer| {
        let process = peer.start(scene);
        // Connections are opened and memory is taken before what is measured.
        wrk::run(scene, process.pid(), shape, Duration::from_secs(1), connections);
        wrk::run(scene, process.pid(), shape, time, connections)
    });
    let best: Vec<f64> = (0..rounds).map(|round| best_of(peers, &turns, round)).collect();
    for (peer, turns) in peers.iter().zip(&turns) {
        let of = |measure: fn(&Turn) -> f64| median(&turns.iter().map(measure).collect::<Vec<_>>());
        let ratios: Vec<f64> =
            turns.iter().zip(&best).map(|(turn, best)| turn.cpu / best).collect();
        println!(
            "  {:<20} {:>9.1} {:>11.2} {:>10.0} {:>9.2} {:>9.2}",
            peer.name(),
            of(|turn| turn.cpu),
            median(&ratios),
            of(|turn| turn.rate),
            of(|turn| turn.p50),
            of(|turn| turn.p99),
        );
    }
}

/// The least CPU time that a peer of teardown's took in that round.
fn best_of(peers: &[Peer], turns: &[Vec<Turn>], round: usize) -> f64 {
    let foreign = peers.iter().zip(turns).filter(|(peer, _)| peer.is_foreign());
    foreign.map(|(_, turns)| turns[round].cpu).fold(f64::INFINITY, f64::min)
}
