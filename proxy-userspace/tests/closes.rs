//! The teardown machine against answers that others gave for real captures: Zeek's, tshark's, and
//! those written down when the HAProxy captures were made.
//!
//! Zeek's and tshark's captures are not part of the project. `TEARDOWN_CAPTURES` names the folder
//! that holds `public/` and `haproxy/`.

mod support;

use proxy_common::flow::{Flow, Input, Mode, begins_anew, expired, step};
use proxy_common::key::FlowKey;
use proxy_common::segment::{FIN, PAYLOAD_CUT, RST, SYN, Segment};
use proxy_common::verdict::{self, Close, Role, Signal, vocabulary};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::Path;
use support::fixtures::{captures, public, table};
use teardown::capture::{self, Options, Seen, Sink, input::Input as Source};

#[derive(Default)]
struct Segments(Vec<(u64, FlowKey, Segment)>);

impl Sink for Segments {
    fn segment(&mut self, seen: &Seen<'_>) -> ControlFlow<()> {
        let mut segment = seen.segment;
        if seen.payload.len() < segment.payload as usize {
            // Zeek finds gaps where the snap length cut the data off.
            segment.marks |= PAYLOAD_CUT;
        }
        self.0.push((seen.time_ns, seen.key, segment));
        ControlFlow::Continue(())
    }
}

fn segments(file: &Path, checksums: bool) -> Vec<(u64, FlowKey, Segment)> {
    let mut segments = Segments::default();
    let source = Source::open(file, None).expect("a capture");
    let options = Options { checksums, ..Options::default() };
    let account = capture::read(source, &options, &mut segments).expect("a capture");
    assert_eq!(account.damage, None, "{}", file.display());
    segments.0
}

/// Every connection of a capture, in the order of their first segments.
fn closes(segments: &[(u64, FlowKey, Segment)], mode: Mode, expiry: bool) -> Vec<Close> {
    let mut flows: Vec<(FlowKey, Flow)> = Vec::new();
    let mut open: HashMap<FlowKey, usize> = HashMap::new();
    for (now, key, segment) in segments {
        if !mode.is_full() && !segment.has(SYN | FIN | RST) {
            continue;
        }
        let at = open.get(key).copied().filter(|&at| {
            let flow = &flows[at].1;
            !(begins_anew(flow, Input::Segment(segment)) || (expiry && expired(flow, *now)))
        });
        let at = at.unwrap_or_else(|| {
            flows.push((*key, Flow::new()));
            open.insert(*key, flows.len() - 1);
            flows.len() - 1
        });
        step(&mut flows[at].1, key, Input::Segment(segment), mode, *now);
    }
    flows.iter().map(|(key, flow)| verdict::close(key, flow)).collect()
}

fn address(endpoint: &proxy_common::key::Endpoint) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(endpoint.addr)).to_canonical(), endpoint.port)
}

fn socket_address(addr: &str, port: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(addr.parse().ok()?, port.parse().ok()?))
}

/// Zeek's rows that differ, by file and originator's port, and why.
const ZEEK_DIFFERS: &[(&str, &str, &str)] = &[
    (
        "zeek__vntag_vlan_sandwich_clean.pcap",
        "443",
        "the TCP header is cut off: Zeek logs a connection without packets, here there is none",
    ),
    (
        "zeek__ftp__fake-long-commands.pcap",
        "58634",
        "Zeek's FTP analyser adds an X, as it gave up on a long command",
    ),
    (
        "zeek__globus-url-copy.pcap",
        "35391",
        "Zeek's GridFTP script stops looking at the data channel, and logs what it has by then",
    ),
];

#[test]
fn states_histories_bytes_and_durations_are_zeeks() {
    let Some(folder) = public() else { return };
    let drops_bad_checksums: HashMap<String, bool> = table(&folder.join("index.tsv"))
        .into_iter()
        .map(|row| (row[0].clone(), row[5].contains("dropped")))
        .collect();
    let (mut compared, mut different, mut strange) = (0, Vec::new(), Vec::new());
    for row in table(&folder.join("zeek-conn.tsv")) {
        let [file, orig, orig_port, resp, resp_port] = [0, 2, 3, 4, 5].map(|at| row[at].as_str());
        let segments = segments(&folder.join(file), drops_bad_checksums[file]);
        let found = closes(&segments, Mode::OFFLINE, true);
        let ends = socket_address(orig, orig_port).zip(socket_address(resp, resp_port));
        // Three rows tell the verdict without the ends.
        let close = found.iter().find(|close| ends.is_none_or(|ends| ends_of(close) == ends));
        compared += 1;
        if close.is_some_and(|close| is_as_zeek_says(close, &row)) {
            continue;
        }
        different.push((file.to_owned(), orig_port.to_owned()));
        if !ZEEK_DIFFERS.iter().any(|known| (known.0, known.1) == (file, orig_port)) {
            strange.push(format!("{row:?}\n{close:#?}"));
        }
    }
    assert!(strange.is_empty(), "{}", strange.join("\n"));
    assert_eq!(different.len(), ZEEK_DIFFERS.len(), "a difference is gone: {different:?}");
    assert!(compared >= 51, "only {compared} rows");
    println!("{compared} connections, {} of them differ as listed", different.len());
}

fn ends_of(close: &Close) -> (SocketAddr, SocketAddr) {
    (address(&close.orig.endpoint), address(&close.resp.endpoint))
}

fn is_as_zeek_says(close: &Close, row: &[String]) -> bool {
    let [duration, orig_bytes, resp_bytes] = [7, 8, 9].map(|at| row[at].as_str());
    let [orig_packets, resp_packets] = [13, 15].map(|at| row[at].as_str());
    let is = |told: &str, ours: Option<u64>| told == "-" || told.parse().ok() == ours;
    let seconds = close.duration_ns as f64 / 1e9;
    close.conn_state.as_str() == row[10]
        && close.history.as_str() == row[12]
        && is(orig_bytes, close.orig.bytes)
        && is(resp_bytes, close.resp.bytes)
        && is(orig_packets, close.orig.segments)
        && is(resp_packets, close.resp.segments)
        && duration.parse::<f64>().map_or(duration == "-", |told| (told - seconds).abs() < 2e-6)
}

/// tshark's rows whose completeness differs, by file and first port, and why.
const TSHARK_DIFFERS: &[(&str, &str, &str)] = &[
    ("zeek__ftp__ipv6.pcap", "49186", FTP_DATA),
    ("zeek__ftp__ipv6.pcap", "49187", FTP_DATA),
    ("zeek__ftp__ipv6.pcap", "49188", FTP_DATA),
    ("zeek__ftp__bigtransfer.pcap", "59763", FTP_DATA),
    ("zeek__ftp__bigtransfer.pcap", "59764", FTP_DATA),
    ("zeek__tcp__syn-then-stuff-then-rst.pcap", "13131", "a FIN without ACK is none for tshark"),
];
const FTP_DATA: &str = "tshark's FTP dissector knows the data channel before its SYN, and then \
                        does not count the SYN";

#[test]
fn control_segments_and_completeness_are_tsharks() {
    let Some(folder) = public() else { return };
    let (mut compared, mut different, mut strange) = (0, 0, Vec::new());
    for row in table(&folder.join("tshark.tsv")) {
        let file = row[0].as_str();
        let ends = socket_address(&row[2], &row[3]).zip(socket_address(&row[4], &row[5]));
        let (a, b) = ends.expect("two ends");
        let segments: Vec<_> = segments(&folder.join(file), false)
            .into_iter()
            .filter(|(_, key, _)| {
                let ends = key.ends.map(|end| address(&end));
                ends == [a, b] || ends == [b, a]
            })
            .collect();
        let told = [6, 7, 8, 9, 10].map(|at| row[at].parse::<usize>().expect("a number"));
        let found = closes(&segments, Mode::OFFLINE, false);
        let sum = |at: usize| {
            let of = |close: &Close| usize::from(close.orig.control[at] + close.resp.control[at]);
            found.iter().map(of).sum::<usize>()
        };
        // tshark's last value is the one that stood before the last packet.
        let before = closes(&segments[..segments.len().saturating_sub(1)], Mode::OFFLINE, false);
        let completeness = before.last().map_or(0, vocabulary::tshark_completeness);
        let ours = [segments.len(), sum(0), sum(1), sum(2), usize::from(completeness)];
        compared += 1;
        let listed = TSHARK_DIFFERS.iter().any(|known| (known.0, known.1) == (file, &row[3]));
        let alike = if listed { ours[..4] == told[..4] } else { ours == told };
        different += usize::from(ours != told);
        if !alike {
            strange.push(format!("{row:?}\n    {ours:?} {found:#?}"));
        }
    }
    assert!(strange.is_empty(), "{} of {compared}:\n{}", strange.len(), strange.join("\n"));
    assert_eq!(different, TSHARK_DIFFERS.len(), "a difference is gone");
    assert!(compared >= 87, "only {compared} rows");
}

/// The proxy's addresses in the captures of HAProxy.
const PROXY: [&str; 2] = ["10.9.1.2", "10.9.2.2"];

#[test]
fn haproxys_closes_are_as_written_down() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")];
    folders.extend(captures().map(|folder| folder.join("haproxy")));
    for folder in folders {
        let rows = table(&folder.join("index.tsv"));
        assert!(rows.len() >= 50, "only {} rows", rows.len());
        for row in rows {
            let segments = segments(&folder.join(&row[0]), false);
            for mode in [Mode::OFFLINE, Mode::SPARSE] {
                let mut found = closes(&segments, mode, false);
                found.retain(|close| close.first_closer.is_some());
                compare_with_index(&row, &found, mode);
            }
        }
    }
}

/// Columns: file, who closes first, with what, the sequences, how long half closed.
fn compare_with_index(row: &[String], found: &[Close], mode: Mode) {
    let file = &row[0];
    for (sequence, close) in row[3].split(" | ").zip(found) {
        let steps: Vec<&str> = sequence.split(' ').collect();
        let ours = sequence_of(close);
        // After both ends closed, live mode looks no further.
        let until = if mode.lingers() { steps.len() } else { ours.len().min(steps.len()) };
        assert!(!ours.is_empty() && ours.len() >= until, "{file}: {steps:?} {ours:?}");
        for (told, ours) in steps.iter().take(until).zip(&ours) {
            let (what, at) = told.split_once('@').expect("when");
            let what = what.split('+').filter(|part| !part.ends_with('B') && *part != "PSH");
            let what: Vec<&str> = what.collect();
            assert_eq!(what.join("+"), ours.0, "{file}: {steps:?}\n{close:#?}");
            let at: f64 = at.parse().expect("seconds");
            assert!((at - ours.1).abs() < 0.0011, "{file}: {steps:?} {ours:?}");
        }
        let first = close.first_closer.zip(close.first_signal).expect("a first close");
        let signal = match first.1 {
            Signal::Fin => "FIN+ACK",
            Signal::Rst => "RST",
            Signal::RstAck => "RST+ACK",
            Signal::Timeout => "nothing",
        };
        assert_eq!(format!("{}:{signal}", letter(close, first.0)), ours[0].0, "{file}");
    }
    // `Px4,Sx6`: how many closes began with whom, in the whole file.
    let told: usize = row[1]
        .split(',')
        .map(|part| part.split_once('x').map_or(1, |(_, n)| n.parse().expect("a count")))
        .sum();
    assert_eq!(told, found.len(), "{file}");
    for part in row[1].split(',') {
        let (who, count) = part.split_once('x').unwrap_or((part, "1"));
        let ours = found.iter().filter(|close| {
            letter(close, close.first_closer.expect("somebody")).to_string() == who
        });
        assert_eq!(ours.count().to_string(), count, "{file}: {part}");
    }
    for (close, told) in found.iter().zip(row[4].split(',')) {
        let Ok(told) = told.parse::<f64>() else { continue };
        let ours = close.half_closed_ns.map_or(0.0, |ns| ns as f64 / 1e9);
        assert!((told - ours).abs() < 0.0011, "{file}: {told} {close:#?}");
    }
}

fn letter(close: &Close, role: Role) -> char {
    let is_proxy =
        |role| PROXY.contains(&address(&close.end(role).endpoint).ip().to_string().as_str());
    match (is_proxy(role), role) {
        (true, _) => 'P',
        (false, Role::Orig) => 'C',
        (false, Role::Resp) => 'S',
    }
}

/// What each end closed with, in the index's words, and when: seconds since the SYN.
fn sequence_of(close: &Close) -> Vec<(String, f64)> {
    let mut steps = Vec::new();
    for role in [Role::Orig, Role::Resp] {
        let end = close.end(role);
        let who = letter(close, role);
        let rst = if end.rst_with_ack { "RST+ACK" } else { "RST" };
        steps.extend(end.fin_ns.map(|at| (at, format!("{who}:FIN+ACK"))));
        steps.extend(end.rst_ns.map(|at| (at, format!("{who}:{rst}"))));
    }
    steps.sort();
    let since = |at: u64| at.saturating_sub(close.started_ns) as f64 / 1e9;
    steps.into_iter().map(|(at, what)| (what, since(at))).collect()
}
