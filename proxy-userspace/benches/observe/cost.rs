//! What a packet and a close cost in the kernel, by the kernel's own count of each program's time.

use crate::frame::bpf_stats::{Measuring, Runs, Snapshot, held_by, sum};
use crate::frame::floor::{self, ROUND_TRIPS, ping_pong};
use crate::frame::live::Live;
use crate::support::descriptors::descriptors_for;
use crate::support::topology::{Family, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use teardown::kernel::{Ingress, Options, TcHook};

/// Connections that are opened, and then closed.
const CONNECTIONS: u32 = 4000;

/// What each program did, by its name.
type Programs = BTreeMap<String, Runs>;

/// The programs' work in the three parts of connections' lives.
struct Cost {
    data: Programs,
    open: Programs,
    close: Programs,
}

/// Takes and prints the costs of an empty program and of teardown's.
pub(crate) fn measure() {
    descriptors_for(2 * CONNECTIONS + 200);
    let _measuring = Measuring::start();
    let empty = floor::empty();
    let floor = sum(empty.values()).each();
    println!("By bpf_stats, which add their own time to every run");
    println!("\nAn empty program at both tc hooks");
    lines("data packets", &empty, floor, ROUND_TRIPS);
    for (name, options) in variants() {
        let cost = teardown(options);
        println!("\nteardown, {name}");
        lines("data packets", &cost.data, floor, ROUND_TRIPS);
        lines("opening a connection", &cost.open, floor, CONNECTIONS);
        lines("closing a connection", &cost.close, floor, CONNECTIONS);
    }
    println!(
        "\nBoth ends' sockets are on this host: the programs of the cgroup run for each of them."
    );
}

/// The ways in which the programs can hang and look.
fn variants() -> [(&'static str, Options); 4] {
    let options = Options::default;
    [
        ("tcx", options()),
        ("clsact", Options { tc_hook: TcHook::Clsact, ..options() }),
        ("xdp and tcx", Options { ingress: Ingress::Xdp, ..options() }),
        ("tcx, --history full", Options { full_history: true, ..options() }),
    ]
}

fn teardown(options: Options) -> Cost {
    let topology = Topology::veth(Family::V4);
    let _live = Live::start(&topology.proxy, options);
    let programs = held_by(std::process::id());
    assert!(!programs.is_empty(), "teardown holds no program");
    cost(&topology, &programs)
}

/// Runs the three parts between client and proxy, and asks the kernel after each.
fn cost(topology: &Topology, programs: &BTreeSet<u32>) -> Cost {
    let addr = SocketAddr::new(topology.front_addr, 7000);
    let listener = topology.proxy.run(|| TcpListener::bind(addr)).expect("a port");
    let pair = || {
        let ours = topology.client.run(|| TcpStream::connect(addr)).expect("a connection");
        (ours, listener.accept().expect("its other end").0)
    };

    let (ours, theirs) = pair();
    let start = Snapshot::of(programs);
    ping_pong(ours, theirs);
    let data = Snapshot::of(programs);
    let pairs: Vec<_> = (0..CONNECTIONS).map(|_| pair()).collect();
    let open = Snapshot::of(programs);
    for (ours, theirs) in pairs {
        drop(ours);
        drop(theirs);
    }
    let close = Snapshot::of(programs);
    Cost { data: data.since(&start), open: open.since(&data), close: close.since(&open) }
}

/// A line for each program that ran, and one for all together.
fn lines(title: &str, programs: &Programs, floor: f64, times: u32) {
    println!(
        "  {title:<22} {:>9} {:>9} {:>12} {:>9}",
        "runs each", "ns a run", "above empty", "ns each"
    );
    let ran = programs.iter().filter(|(_, runs)| runs.count > 0);
    let mut all = Vec::new();
    for (name, runs) in ran {
        line(name, *runs, floor, times);
        all.push(*runs);
    }
    line("all", sum(&all), floor, times);
}

fn line(name: &str, runs: Runs, floor: f64, times: u32) {
    let each = runs.count as f64 / f64::from(times);
    let above = runs.each() - floor;
    println!("    {name:<20} {each:>9.2} {:>9.1} {above:>12.1} {:>9.1}", runs.each(), each * above);
}
