//! The same capture as a file and as every text that tcpdump makes of it gives the same segments.

mod around;
mod pasted;

use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::segment::Segment;
use std::collections::HashMap;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use teardown::capture::text::names::{Name, Places};
use teardown::capture::{self, Account, Options, Seen, Sink, input::Input};

/// What a reader tells.
#[derive(Default)]
struct Collected {
    segments: Vec<(u64, FlowKey, Segment)>,
    places: Places,
    names: HashMap<[u8; 16], String>,
    doubtful: Vec<FlowKey>,
}

impl Sink for Collected {
    fn segment(&mut self, seen: &Seen<'_>) -> ControlFlow<()> {
        self.segments.push((seen.time_ns, seen.key, seen.segment));
        ControlFlow::Continue(())
    }

    fn name(&mut self, name: Name<'_>) -> Endpoint {
        let (endpoint, name) = self.places.endpoint(name);
        self.names.insert(endpoint.addr, name);
        endpoint
    }

    fn doubt(&mut self, key: &FlowKey) -> bool {
        let new = !self.doubtful.contains(key);
        if new {
            self.doubtful.push(*key);
        }
        new
    }
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .collect();
    files.sort();
    assert!(files.len() > 50, "the fixtures are there");
    files
}

fn read_file(path: &Path) -> (Collected, Account) {
    let mut collected = Collected::default();
    let input = Input::open(path, None).unwrap();
    let account = capture::read(input, &Options::default(), &mut collected).unwrap();
    (collected, account)
}

fn read_text(text: Vec<u8>) -> (Collected, Account) {
    let mut collected = Collected::default();
    let input = Input::new("text".into(), std::io::Cursor::new(text), 0, None).unwrap();
    let account = capture::read(input, &Options::default(), &mut collected).unwrap();
    (collected, account)
}

fn tcpdump(path: &Path, options: &[&str]) -> Vec<u8> {
    let output =
        Command::new("tcpdump").env("TZ", "UTC").args(options).arg("-r").arg(path).output();
    let output = output.expect("tcpdump is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Segments without what the text cannot hold: the numbers of bare acknowledgments that repeat
/// one below the last (keep-alive probes), and the marks.
fn comparable(segments: &[(u64, FlowKey, Segment)], times: bool) -> Vec<(u64, FlowKey, Segment)> {
    let first = segments.first().map_or(0, |(time, ..)| *time);
    segments
        .iter()
        .map(|&(time, key, mut segment)| {
            segment.marks = 0;
            (if times { time - first } else { 0 }, key, segment)
        })
        .collect()
}

#[test]
fn every_form_of_the_text_gives_the_files_segments() {
    let forms: [&[&str]; 14] = [
        &["-n"],
        &["-n", "-S"],
        &["-n", "-t"],
        &["-n", "-tt"],
        &["-n", "-ttt"],
        &["-n", "-tttt"],
        &["-n", "-ttttt"],
        &["-n", "-v"],
        &["-n", "-vv", "-e", "-S"],
        &["-n", "-e"],
        &["-n", "-X"],
        &["-n", "-#", "-XX", "-e"],
        &["-n", "-A"],
        &["-n", "--nano"],
    ];
    for path in fixtures() {
        let (expected, _) = read_file(&path);
        for form in forms {
            let (found, account) = read_text(tcpdump(&path, form));
            let times = form != ["-n", "-t"];
            assert_eq!(account.segments as usize, expected.segments.len(), "{path:?} {form:?}");
            for (index, (found, expected)) in comparable(&found.segments, times)
                .iter()
                .zip(comparable(&expected.segments, times))
                .enumerate()
            {
                assert_eq!(*found, expected, "{path:?} {form:?} segment {}", index + 1);
            }
        }
    }
}

#[test]
fn what_tools_put_before_lines_and_make_of_signs_changes_nothing() {
    for path in fixtures() {
        for form in [&["-n"][..], &["-n", "-tttt"], &["-n", "-tt"], &["-n", "-v"]] {
            let text = String::from_utf8(tcpdump(&path, form)).unwrap();
            let (expected, _) = read_text(text.clone().into_bytes());
            let before = |what: &str| text.lines().map(|line| format!("{what}{line}\n")).collect();
            let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let texts: [String; 6] = [
                before("[lb-1] "),
                before("/tmp/a-1.txt:"),
                before("- "),
                before("12: "),
                format!("\u{feff}{text}"),
                html,
            ];
            for text in texts {
                let (found, account) = read_text(text.clone().into_bytes());
                assert_eq!(found.segments, expected.segments, "{path:?} {form:?}\n{text}");
                assert_eq!(account.notes, [""; 0], "{path:?} {form:?}");
            }
        }
    }
}

#[test]
fn a_selection_that_begins_within_a_line_loses_that_lines_time_alone() {
    for path in fixtures() {
        for (form, width) in [(&["-n"][..], 15), (&["-n", "-tttt"], 26), (&["-n", "-tt"], 17)] {
            let text = tcpdump(&path, form);
            let (expected, _) = read_text(text.clone());
            for cut in 1..=width {
                let (found, account) = read_text(text[cut..].to_vec());
                assert_eq!(account.segments as usize, expected.segments.len(), "{path:?} {cut}");
                assert_eq!(found.segments[1..], expected.segments[1..], "{path:?} {cut}");
                // It has the time of the next packet instead.
                let time = found.segments[0].0;
                assert_eq!(time, expected.segments[1].0, "{path:?} {form:?} {cut}");
            }
        }
    }
}

#[test]
fn data_that_begins_with_a_time_moves_no_clock() {
    let packet = |time: &str, rest: &str| {
        format!("{time} IP 192.0.2.1.40000 > 192.0.2.2.80: Flags {rest}, win 500, length 0\n")
    };
    let times = |between: &str| {
        let text = [
            packet("09:20:00.004000", "[S], seq 1"),
            format!("{between}\n"),
            packet("09:20:00.005000", "[S], seq 1"),
        ];
        let (found, _) = read_text(text.concat().into_bytes());
        found.segments.iter().map(|(time, ..)| *time).collect::<Vec<_>>()
    };
    for data in ["23:59:59 batch finished", "99999.99 EUR total", "00:00:01,000 --> 00:00:04"] {
        assert_eq!(times(data), times("end"), "{data}");
    }
}

#[test]
fn lines_with_flags_that_cannot_be_read_are_told_of() {
    let text = "09:20:00.004 IP 192.0.2.1.40000 to 192.0.2.2.80: Flags [S], seq 1, length 0\n";
    let (found, account) = read_text(text.into());
    assert!(found.segments.is_empty());
    let [note] = &account.notes[..] else { panic!("{:?}", account.notes) };
    assert!(note.starts_with("1 line(s) with TCP flags could not be read"), "{note}");
}

/// A line in the form that tcpdump had before 4.0 (print-tcp.c of 3.9.8): bare flags, numbers with
/// the length behind them, options in angle brackets.
fn classic(line: &str) -> String {
    let (before, rest) = line.split_once(": Flags [").unwrap();
    let (flags, rest) = rest.split_once(']').unwrap();
    let field = |name: &str| {
        let (_, rest) = rest.split_once(name)?;
        Some(rest.split([',', ' ']).next().unwrap())
    };
    let length = field(", length ").unwrap();
    let letters: String = flags.chars().filter(|flag| *flag != '.').collect();
    let mut out = format!("{before}: {}", if letters.is_empty() { "." } else { &letters });
    if let Some(seq) = field(", seq ") {
        let (start, end) = seq.split_once(':').unwrap_or((seq, seq));
        out += &format!(" {start}:{end}({length})");
    }
    if let Some(ack) = field(", ack ") {
        out += &format!(" ack {ack}");
    }
    out += &format!(" win {}", field(", win ").unwrap());
    if let Some((_, options)) = rest.split_once(", options [") {
        let options = options.split(']').next().unwrap();
        out += &format!(" <{}>", options.replace("TS val", "timestamp").replace(" ecr", ""));
    }
    out
}

#[test]
fn the_text_of_tcpdump_before_4_gives_the_files_segments() {
    for path in fixtures() {
        let (expected, _) = read_file(&path);
        for form in [&["-n"][..], &["-n", "-S"], &["-n", "-tttt"], &["-n", "-e"]] {
            let text = String::from_utf8(tcpdump(&path, form)).unwrap();
            for (around, ends) in [("", ""), ("> ", " (DF)"), ("", " (DF) (ttl 64, id 8717)")] {
                let lines = text.lines().map(|line| format!("{around}{}{ends}\n", classic(line)));
                let (found, account) = read_text(lines.collect::<String>().into_bytes());
                assert_eq!(account.segments as usize, expected.segments.len(), "{path:?} {form:?}");
                let (found, expected) =
                    (comparable(&found.segments, true), comparable(&expected.segments, true));
                assert_eq!(found, expected, "{path:?} {form:?}");
            }
        }
    }
}

/// The text as the thread's people would post it: `IP > Flags [S], …`.
fn without_addresses(text: &[u8]) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let strip = |line: &str| {
        let (before, rest) = line.split_once(" IP ").unwrap();
        let (_, flags) = rest.split_once(": Flags").unwrap();
        format!("{before} IP > Flags{flags}\n")
    };
    text.lines().map(strip).collect()
}

/// The segments of each connection in the order of the capture, the ends' names left out.
fn conversations(segments: &[(u64, FlowKey, Segment)]) -> Vec<Vec<(u64, bool, Segment)>> {
    let mut order: Vec<FlowKey> = Vec::new();
    let mut found: HashMap<FlowKey, Vec<(u64, bool, Segment)>> = HashMap::new();
    for &(time, key, mut segment) in segments {
        let list = found.entry(key).or_default();
        if list.is_empty() {
            order.push(key);
        }
        // Who sent the first segment, rather than which end sorts first.
        let first = list.first().map_or(segment.sender, |(.., first)| first.sender);
        let from_first = list.is_empty() || segment.sender == first;
        segment.marks = 0;
        list.push((time, from_first, segment));
    }
    let blank = |segments: &Vec<(u64, bool, Segment)>| {
        let sender = segments[0].2.sender;
        segments
            .iter()
            .map(|&(time, own, segment)| (time, own, Segment { sender, ..segment }))
            .collect()
    };
    order.iter().map(|key| blank(&found[key])).collect()
}

#[test]
fn removed_addresses_are_made_good() {
    for path in fixtures() {
        for form in [&["-n"][..], &["-n", "-S"]] {
            let text = tcpdump(&path, form);
            let (expected, _) = read_text(text.clone());
            let (found, account) = read_text(without_addresses(&text).into_bytes());
            assert_eq!(found.doubtful, [], "{path:?} {form:?} {:?}", account.notes);
            let (expected, found) =
                (conversations(&expected.segments), conversations(&found.segments));
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                // The blanked sender differs with the side that sorts first.
                let strip = |list: &[(u64, bool, Segment)]| -> Vec<_> {
                    list.iter()
                        .map(|&(t, own, s)| (t, own, s.flags, s.seq, s.ack, s.payload))
                        .collect()
                };
                assert_eq!(
                    strip(found),
                    strip(expected),
                    "{path:?} {form:?} connection {}",
                    index + 1
                );
            }
            assert_eq!(found.len(), expected.len(), "{path:?} {form:?}");
        }
    }
}

#[test]
fn how_a_text_comes_through_a_pipe_changes_nothing() {
    // Even times that fall but once, at the end: the times are those since the line before.
    let mut deltas = String::from(" 00:00:00.000000");
    for time in ["00:00:00.001000"; 20].into_iter().chain(["00:00:03.000000", "00:00:00.001000"]) {
        deltas +=
            &format!(" IP 10.0.0.1.4 > 10.0.0.2.80: Flags [.], ack 1, win 5, length 0\n {time}");
    }
    deltas += " IP 10.0.0.1.4 > 10.0.0.2.80: Flags [.], ack 1, win 5, length 0\n";
    let (whole, _) = read_text(deltas.clone().into());
    assert_eq!(whole.segments.last().map(|(time, ..)| *time), Some(3_021_000_000));
    let lines: Vec<Vec<u8>> = deltas.split_inclusive('\n').map(|line| line.into()).collect();
    let pipe =
        lines.into_iter().fold(Box::new(std::io::empty()) as Box<dyn Read>, |before, line| {
            Box::new(before.chain(std::io::Cursor::new(line)))
        });
    let input = Input::new("pipe".into(), pipe, 0, None).unwrap();
    let mut piped = Collected::default();
    capture::read(input, &Options::default(), &mut piped).unwrap();
    assert_eq!(piped.segments, whole.segments);
}
