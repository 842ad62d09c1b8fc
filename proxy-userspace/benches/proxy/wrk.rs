//! wrk(1), its figures, and the CPU time of the proxy that it asked.

use crate::frame::cpu;
use crate::scene::Scene;
use crate::shapes::Shape;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// What a turn came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// CPU time of the proxy, µs a request.
    pub(crate) cpu: f64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Half of the responses took less than this, in ms.
    pub(crate) p50: f64,
    /// 99 % took less than this, in ms.
    pub(crate) p99: f64,
}

/// Asks the proxy that runs as `pid` for as long as `time`.
pub(crate) fn run(scene: &Scene, pid: u32, shape: Shape, time: Duration, connections: u32) -> Turn {
    let proxy = if shape.server_closes() { scene.closes } else { scene.keeps };
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency"]).arg(format!("-c{connections}"));
    command.arg(format!("-d{}", time.as_secs()));
    if shape.client_closes() {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(format!("http://{proxy}/{}", shape.length()));
    let before = of_all(pid);
    let text = scene.topology.client.output(&mut command);
    let used = of_all(pid) - before;
    let wrong = ["Non-2xx", "Socket errors"].iter().any(|words| text.contains(words));
    assert!(!wrong, "requests failed:\n{text}");
    let requests: f64 = before_words(&text, "requests in");
    assert!(requests > 0.0, "nothing was answered:\n{text}");
    Turn {
        cpu: used.as_secs_f64() * 1e6 / requests,
        rate: after_words(&text, "Requests/sec:").parse().expect("a rate"),
        p50: milliseconds(after_words(&text, " 50%")),
        p99: milliseconds(after_words(&text, " 99%")),
    }
}

/// CPU time of a process and its children: nginx works in those.
fn of_all(pid: u32) -> Duration {
    family(pid).into_iter().map(cpu::of).sum()
}

/// A process and its children.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children =
        tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).flat_map(
            |list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>(),
        );
    std::iter::once(pid).chain(children).collect()
}

fn before_words(text: &str, words: &str) -> f64 {
    let line = text.lines().find(|line| line.contains(words));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("wrk says no {words:?}:\n{text}"))
}

fn after_words<'t>(text: &'t str, words: &str) -> &'t str {
    let found = text.split_once(words).and_then(|(_, rest)| rest.split_whitespace().next());
    found.unwrap_or_else(|| panic!("wrk says no {words:?}:\n{text}"))
}

/// `842.00us`, `1.23ms`, `2.00s`.
fn milliseconds(text: &str) -> f64 {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let found = units
        .iter()
        .find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor));
    found.unwrap_or_else(|| panic!("wrk says {text:?} for a time"))
}
