//! What each change costs in the kernel, by the kernel's own count of the programs' time.
//!
//! The host closes thousands of connections to one peer, in turns with and without a rule: the
//! difference of all its programs' time, a close, is the change's cost. It is negative where a RST
//! saves packets that an orderly close would have sent.

use crate::frame::bpf_stats::{Measuring, Runs, Snapshot, held_by, sum};
use crate::frame::floor;
use crate::frame::live::Live;
use crate::frame::rounds::{Column, interleaved};
use crate::support::descriptors::descriptors_for;
use crate::support::topology::{Family, Topology};
use socket2::{SockRef, Socket};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use teardown::kernel::{Covered, Options};
use teardown::policy::words;

/// Connections that are closed in a turn.
const CONNECTIONS: u32 = 2000;

/// How the host closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// Everything is acknowledged.
    Active,
    /// The last data carries the FIN.
    WithData,
    /// The peer's FIN has come.
    Passive,
    /// SO_LINGER 0.
    Abort,
}

/// How the host closes, the rule, and what it does.
type Case = (Close, Option<&'static str>, &'static str);

const NO_RULE: &str = "no rule";

const CASES: [Case; 10] = [
    (Close::Active, None, NO_RULE),
    (Close::Active, Some("active rst dry-run"), "dry run"),
    (Close::Active, Some("passive rst"), "rule that keeps it"),
    (Close::Active, Some("active rst"), "FIN to RST"),
    (Close::WithData, None, NO_RULE),
    (Close::WithData, Some("active rst"), "FIN to RST"),
    (Close::Passive, None, NO_RULE),
    (Close::Passive, Some("passive rst"), "FIN to RST"),
    (Close::Abort, None, NO_RULE),
    (Close::Abort, Some("abort fin"), "RST to FIN"),
];

/// Takes and prints the costs.
pub(crate) fn measure(rounds: usize) {
    descriptors_for(2 * CONNECTIONS + 200);
    let _measuring = Measuring::start();
    let floor = sum(floor::empty().values()).each();
    println!(
        "By bpf_stats, less an empty program's {floor:.0} ns for each run: ns a close, median of \
         {rounds}"
    );
    println!(
        "  {:<10} {:<20} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "close", "rule", "tc egress", "tc ingress", "socket", "all", "to no rule"
    );
    let taken = interleaved(rounds, &CASES, |(close, rule, _)| run(close, rule, floor));
    let mut base = Vec::new();
    for ((close, rule, name), taken) in CASES.iter().zip(&taken) {
        let column = |of: &dyn Fn(&Programs) -> f64| Column {
            name: (*name).to_owned(),
            values: taken.iter().map(of).collect(),
        };
        let all = column(&|programs| programs.values().sum());
        let of = |program: &'static str| {
            column(&|programs| programs.get(program).copied().unwrap_or_default()).median()
        };
        if rule.is_none() {
            base.clone_from(&all.values);
        }
        let above = all.values.iter().zip(&base).map(|(all, base)| all - base).collect();
        let above = Column { name: String::new(), values: above }.median();
        println!(
            "  {:<10} {name:<20} {:>12.0} {:>12.0} {:>12.0} {:>12.0} {above:>12.0}",
            format!("{close:?}"),
            of("td_egress"),
            of("td_ingress"),
            of("td_sockets"),
            all.median(),
        );
    }
}

/// Nanoseconds a close, by program.
type Programs = BTreeMap<String, f64>;

fn run(close: Close, rule: Option<&str>, floor: f64) -> Programs {
    let topology = Topology::veth(Family::V4);
    let options = Options { enforce: true, ..Options::default() };
    let peers = Covered { addr: topology.client_addr, prefix: 32, port: None };
    let rule = rule.map(|text| {
        let wishes = words::parse(text).expect("words that can be read");
        (peers, wishes.traffic)
    });
    let _live = Live::with_rule(&topology.proxy, options, rule);
    let programs = held_by(std::process::id());
    let pairs = connections(&topology, topology.front_addr);
    let ended_by_peer = close == Close::Passive;
    if ended_by_peer {
        for (_, theirs) in &pairs {
            theirs.shutdown(Shutdown::Write).expect("their FIN");
        }
    }
    let start = Snapshot::of(&programs);
    let theirs = pairs.into_iter().map(|(ours, theirs)| {
        end(ours, close);
        theirs
    });
    // In step: a peer closes once it has seen the end.
    for mut theirs in theirs {
        let _reset = theirs.read_to_end(&mut Vec::new());
    }
    settle();
    a_close(&programs, &start, floor)
}

fn a_close(programs: &BTreeSet<u32>, start: &Snapshot, floor: f64) -> Programs {
    let ran = Snapshot::of(programs).since(start);
    let above = |runs: Runs| runs.nanoseconds as f64 - runs.count as f64 * floor;
    let each = |runs: Runs| above(runs) / f64::from(CONNECTIONS);
    ran.into_iter().map(|(name, runs)| (name, each(runs))).collect()
}

/// Stripped FINs have their RSTs, and stand-ins their answers.
fn settle() {
    std::thread::sleep(Duration::from_millis(300));
}

/// Ours and theirs of each connection, opened by theirs.
fn connections(topology: &Topology, addr: IpAddr) -> Vec<(TcpStream, TcpStream)> {
    let addr = SocketAddr::new(addr, 7000);
    let listener = topology.proxy.run(|| TcpListener::bind(addr)).expect("a port");
    (0..CONNECTIONS)
        .map(|_| {
            let theirs = topology.client.run(|| TcpStream::connect(addr)).expect("a connection");
            (listener.accept().expect("its other end").0, theirs)
        })
        .collect()
}

fn end(ours: TcpStream, close: Close) {
    match close {
        Close::Active | Close::Passive => {}
        Close::WithData => {
            SockRef::from(&ours).set_tcp_cork(true).expect("an option");
            (&ours).write_all(&[7; 100]).expect("a write");
        }
        Close::Abort => {
            Socket::from(ours).set_linger(Some(Duration::ZERO)).expect("an option");
        }
    }
}
