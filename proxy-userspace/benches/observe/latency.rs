//! From the wire to the screen: how long after its end a close can be read from `teardown watch`.

use crate::frame::beside::Scene;
use crate::observers::teardown;
use crate::support::process::Process;
use jiff::Timestamp;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The words before and behind the time in a line of JSON.
const TS: &str = "\"ts\":\"";

/// Runs bounded load and prints the waits' percentiles.
pub(crate) fn measure(scene: &Scene, time: Duration, rate: u32) {
    let words = teardown(&["watch", "--json"]);
    let mut command = Command::new(&words[0]);
    let mut watch =
        Process::start(&scene.topology.proxy, command.args(&words[1..]).stdout(Stdio::piped()));
    let output = BufReader::new(watch.stdout());
    watch.wait_for_words("watching");
    let reading = std::thread::spawn(move || {
        // Lines as they come, with the time at which each could be read; parsed afterwards.
        output.lines().map_while(Result::ok).map(|line| (Timestamp::now(), line)).collect()
    });
    let load = scene.load(time, Some(rate));
    drop(watch);
    let lines: Vec<(Timestamp, String)> = reading.join().expect("the reader");
    let mut waits: Vec<f64> = lines.iter().map(|(read, line)| wait(*read, line)).collect();
    waits.sort_by(f64::total_cmp);
    println!(
        "\nFrom the wire to a reader of `teardown watch --json`, at {:.0} connections a second: \
         {} closes",
        load.a_second(),
        waits.len()
    );
    for (name, share) in [("half", 0.5), ("99 %", 0.99), ("99.9 %", 0.999), ("all", 1.0)] {
        let index = ((waits.len() as f64 * share).ceil() as usize).clamp(1, waits.len()) - 1;
        println!("  {name:>6} within {:>8.3} ms", waits[index]);
    }
}

/// Milliseconds between the close's own time and its being read.
fn wait(read: Timestamp, line: &str) -> f64 {
    let rest = &line[line.find(TS).expect("every close has its time") + TS.len()..];
    let ts: Timestamp = rest[..rest.find('"').expect("its end")].parse().expect("RFC 3339");
    read.duration_since(ts).as_secs_f64() * 1e3
}
