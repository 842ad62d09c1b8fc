//! Reading takes memory for the connections that are open at a time, however long the capture is.

#[path = "../benches/explain/generate.rs"]
#[allow(dead_code, reason = "the files on disk are the benchmark's")]
mod generate;

use std::io::{BufWriter, Read};
use std::process::{Command, Stdio};

/// Connections that begin in a second of the capture's time.
const RATE: u64 = 2_000;

/// The most memory that `teardown explain ARGS -` held at a time, in KiB.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it, and tells what it used")]
fn peak(arguments: &[&str], connections: u32) -> i64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_teardown"))
        .arg("explain")
        .args(arguments)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || {
        generate::write(BufWriter::with_capacity(1 << 18, stdin), connections, RATE);
    });
    let mut shown = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut shown).expect("text");
    writer.join().expect("all is read");
    let lines = shown.lines().filter(|line| !line.starts_with('#')).count();
    match arguments {
        [] => assert!(shown.contains(&format!("{connections} connections")), "{shown}"),
        _ => assert_eq!(lines, connections as usize),
    }
    let mut status = 0;
    // SAFETY: all zeros is a value of this struct of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let pid = child.id().cast_signed();
    // SAFETY: both pointers are to live variables of the right types, and the child is ours.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!((waited, status), (pid, 0));
    usage.ru_maxrss
}

#[test]
fn four_times_the_length_takes_no_more_memory() {
    // Closed connections stay for five seconds: both captures are longer than that.
    let short = u32::try_from(RATE * 8).expect("a number");
    let forms: [&[&str]; 4] =
        [&[], &["--json"], &["--format-out", "zeek"], &["--format-out", "eve"]];
    for form in forms {
        let (once, four_times) = (peak(form, short), peak(form, 4 * short));
        println!("{form:?}: {once} KiB, {four_times} KiB at four times the length");
        assert!(four_times < once + once / 10, "{form:?}: {once} KiB, then {four_times} KiB");
    }
}
