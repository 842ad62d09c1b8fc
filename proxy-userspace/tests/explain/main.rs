//! `teardown explain` and `diff` as they are run: the same answer from a capture and from every text of it.

mod again;
mod blocks;
mod diff;
mod heads;
mod losses;
mod several;
mod sides;
mod stories;

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn teardown(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_teardown"))
        .args(arguments)
        .env("TZ", "UTC")
        .env_remove("LC_ALL")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // Apart, as the answer may fill its pipe before the input is read; who stops early is free to.
    let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("the writer ends");
    output
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn closes(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn fixtures() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(fixture(""))
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .collect();
    files.sort();
    assert!(files.len() > 50, "the fixtures are there");
    files
}

fn tcpdump(path: &Path, options: &[&str]) -> String {
    let output =
        Command::new("tcpdump").env("TZ", "UTC").args(options).arg("-r").arg(path).output();
    let output = output.expect("tcpdump is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("ASCII")
}

/// What tcpdump prints of one connection, a packet every millisecond: `> [S], seq 100` is the
/// client's, `<` the server's, and `seq 1:11` has ten bytes of data.
fn wire(packets: &[&str]) -> String {
    const ENDS: [&str; 2] = ["192.0.2.1.4000", "192.0.2.2.80"];
    let line = |(ms, packet): (usize, &&str)| {
        let (way, rest) = packet.split_once(' ').expect("a way and a packet");
        let [from, to] = if way == ">" { ENDS } else { [ENDS[1], ENDS[0]] };
        let numbers = rest.split_once("seq ").and_then(|(_, seq)| seq.split_once(':'));
        let length = numbers.map_or(0, |(first, end)| {
            let end: u32 =
                end.split(',').next().and_then(|end| end.parse().ok()).expect("a number");
            end - first.parse::<u32>().expect("a number")
        });
        let time = format!("10:00:{:02}.{:03}000", ms / 1000, ms % 1000);
        format!("{time} IP {from} > {to}: Flags {rest}, win 500, length {length}\n")
    };
    packets.iter().enumerate().map(line).collect()
}

/// `IP > Flags [S], …`, as the thread's people posted it.
fn without_addresses(text: &str) -> String {
    let strip = |line: &str| {
        let (before, rest) = line.split_once(" IP ").expect("a packet");
        let (_, flags) = rest.split_once(": Flags").expect("flags");
        format!("{before} IP > Flags{flags}\n")
    };
    text.lines().map(strip).collect()
}

/// The records without the date, which the text of `-n` has not, and, where the text has none,
/// without the addresses.
fn comparable(closes: &[Value], addresses: bool) -> Vec<Value> {
    let mut closes = closes.to_vec();
    for close in &mut closes {
        let time = close["ts"].as_str().expect("a time")[11..].to_owned();
        close["ts"] = time.into();
        if !addresses {
            close["orig"] = Value::Null;
            close["resp"] = Value::Null;
        }
    }
    closes
}

#[test]
fn one_answer_from_the_capture_and_from_every_text_of_it() {
    let mut compared = 0;
    for path in fixtures() {
        let name = path.display().to_string();
        let expected = closes(&teardown(&["explain", "--json", &name], b""));
        assert!(!expected.is_empty(), "{name}");
        let stored = [path.with_extension("n.txt"), path.with_extension("txt")];
        let stored = stored.iter().filter_map(|path| std::fs::read_to_string(path).ok());
        let made = [&["-n"][..], &["-n", "-S"], &["-n", "-tttt", "-v"]].map(|o| tcpdump(&path, o));
        for text in stored.chain(made) {
            let found = closes(&teardown(&["explain", "--json", "-"], text.as_bytes()));
            assert_eq!(comparable(&found, true), comparable(&expected, true), "{name}");
            compared += 1;
        }
        for options in [&["-n"][..], &["-n", "-S"]] {
            let text = without_addresses(&tcpdump(&path, options));
            let found = closes(&teardown(&["explain", "--json", "-"], text.as_bytes()));
            assert_eq!(comparable(&found, false), comparable(&expected, false), "{name}");
            compared += 1;
        }
    }
    assert!(compared > 5 * 50, "{compared}");
}

#[test]
fn what_nothing_tells_apart_is_not_guessed() {
    // Connections that stay half closed side by side, without addresses and without timestamps.
    let path = fixture("1.4.22__thread-config__dodgy__httpchk.back.pcap");
    let text = without_addresses(&tcpdump(&path, &["-n"]));
    let mut bare = String::new();
    for line in text.lines() {
        let (before, options) = line.split_once(", options [").unwrap_or((line, ""));
        let length = options.rsplit_once(']').map_or("", |(_, length)| length);
        bare.push_str(&format!("{before}{length}\n"));
    }
    let output = teardown(&["explain", "-"], bare.as_bytes());
    let said = text_of(&output);
    assert!(said.contains("may belong to more than one connection"), "{said}");
    assert!(said.contains("are not judged"), "{said}");
    // Those that are judged are judged as they were.
    let found = closes(&teardown(&["explain", "--json", "-"], bare.as_bytes()));
    let name = path.display().to_string();
    let expected = comparable(&closes(&teardown(&["explain", "--json", &name], b"")), false);
    for close in comparable(&found, false) {
        assert!(expected.contains(&close), "guessed: {close}");
    }
}

fn text_of(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn damage_is_told_with_its_offset() {
    let whole = std::fs::read(fixture("1.4.22__http-server-close__good-pf_c10.back.pcap")).unwrap();
    let cut = &whole[..whole.len() - 3];
    let output = teardown(&["explain", "--json", "-"], cut);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("damaged at byte"), "{said}");
    assert_eq!(text_of(&output).lines().count(), 1, "what can be read is shown");
    for foreign in [&b"State Recv-Q Send-Q Local Peer\n"[..], b"\x7fELF\0\0\0", b"", b"hello\n"] {
        let output = teardown(&["explain", "-"], foreign);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(foreign));
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn compression_makes_no_difference() {
    let path = fixture("1.4.22__thread-config__imm__production.back.pcap");
    let expected = text(&teardown(&["explain", "--json", &path.display().to_string()], b""));
    for tool in ["gzip", "zstd"] {
        let output = Command::new(tool).arg("-c").arg(&path).output();
        let Ok(output) = output else {
            println!("{tool} is not installed here");
            continue;
        };
        assert!(output.status.success());
        assert_eq!(
            text(&teardown(&["explain", "--json", "-"], &output.stdout)),
            expected,
            "{tool}"
        );
        // Two members, or two frames, are one stream.
        let (head, tail) =
            std::fs::read(&path).map(|all| (all[..900].to_vec(), all[900..].to_vec())).unwrap();
        let compressed = [head, tail].map(|part| {
            let mut child = Command::new(tool)
                .arg("-c")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("it runs");
            child.stdin.take().expect("piped").write_all(&part).expect("it reads");
            child.wait_with_output().expect("it ends").stdout
        });
        let both = compressed.concat();
        assert_eq!(text(&teardown(&["explain", "--json", "-"], &both)), expected, "{tool}, twice");
        let output = teardown(&["explain", "--json", "-"], &both[..both.len() - 20]);
        assert_eq!(output.status.code(), Some(1), "{tool}, cut");
    }
}
