//! What reading captures costs: `cargo xtask bench explain`.
//!
//! A generated capture of a million connections, beside tcpdump and tshark on the same file, with
//! capinfos, which looks into no packet, as the limit. Everyone has a turn in each round.

mod generate;
mod turn;

use clap::Parser;
use generate::Files;
use turn::{Reader, Turn};

/// What reading captures costs, on this machine, beside those who read them too.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench explain --")]
struct Cli {
    /// Connections in the generated capture
    #[arg(long, default_value_t = 1_000_000)]
    connections: u32,
    /// Rounds, in each of which everyone has a turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Leave out tshark, which takes minutes and gigabytes
    #[arg(long)]
    no_tshark: bool,
    /// What `cargo bench` adds by itself
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let cli = Cli::parse();
    let files = generate::files(cli.connections);
    let readers: Vec<Reader> = Reader::ALL
        .into_iter()
        .filter(|reader| !cli.no_tshark || *reader != Reader::Tshark)
        .collect();
    println!(
        "{} connections, {} packets, {} MiB of pcap, {} lines of text",
        cli.connections,
        files.packets,
        files.bytes >> 20,
        files.packets
    );
    let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); readers.len()];
    for round in 0..cli.rounds {
        for (reader, turns) in readers.iter().zip(&mut turns) {
            // tshark's minutes tell enough the first time.
            if round == 0 || *reader != Reader::Tshark {
                turns.push(reader.read(&files));
            }
        }
    }
    print(&readers, &mut turns, &files);
    memory(&files);
}

fn print(readers: &[Reader], turns: &mut [Vec<Turn>], files: &Files) {
    println!(
        "\n{:<34} {:>9} {:>9} {:>14} {:>10}",
        "median of the rounds", "wall s", "CPU s", "packets/CPU s", "peak MiB"
    );
    for (reader, turns) in readers.iter().zip(turns) {
        turns.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
        let turn = &turns[turns.len() / 2];
        println!(
            "{:<34} {:>9.2} {:>9.2} {:>14.0} {:>10}",
            reader.name(),
            turn.wall,
            turn.cpu,
            files.packets as f64 / turn.cpu,
            turn.peak_kib >> 10
        );
    }
}

/// Memory must not grow with the file: the same stream at a tenth of the length.
fn memory(files: &Files) {
    let tenth = generate::files(files.connections / 10);
    for reader in [Reader::Pcap, Reader::Text] {
        let (short, long) = (reader.read(&tenth), reader.read(files));
        println!(
            "{}: peak {} MiB at a tenth of the length, {} MiB at all of it",
            reader.name(),
            short.peak_kib >> 10,
            long.peak_kib >> 10
        );
    }
}
