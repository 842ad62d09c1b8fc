//! The same packets through the machine in user space and through the loaded programs leave the
//! same bytes behind: in every close that is reported, and in every entry of the flow table.
//!
//! Times are compared too. User space steps packet number n at the time n; a time that the kernel
//! noted becomes the number of the packet in whose run its clock stood there. The clock is read
//! before and after each run, so that no time belongs to two packets.

mod support;

use proxy_common::abi::Counter;
use proxy_common::flow::{Flow, Input, Mode, Outcome, begins_anew, step};
use proxy_common::key::FlowKey;
use proxy_common::segment::CONTROL;
use proxy_common::wire::{Link, Refusal, parse_slice};
use std::collections::HashMap;
use std::path::Path;
use support::fixtures::public;
use support::frames::ethernet;
use support::handmade::Words;
use support::observed::value;
use support::packets::{ACK, FIN, RST, SYN};
use teardown::kernel::{Bench, Hook, Options};

/// Where each frame is shown, one after the other: two hooks are what loopback has.
type Way = &'static [(Hook, Link)];

const WAYS: [Way; 5] = [
    &[(Hook::Ingress, Link::Ethernet)],
    &[(Hook::Egress, Link::Ethernet), (Hook::Ingress, Link::Ethernet)],
    &[(Hook::Xdp, Link::Ethernet)],
    &[(Hook::Egress, Link::Ip), (Hook::Ingress, Link::Ip)],
    &[(Hook::Xdp, Link::Ip)],
];

#[test]
fn captures_of_haproxy_leave_the_same_bytes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let frames = frames_of(&folder);
    assert!(frames.len() > 2000, "only {} frames", frames.len());
    for (way, mode) in all() {
        let closes = compare(way, mode, &frames);
        assert!(closes > 200, "only {closes} closes, {mode:?}");
    }
}

#[test]
fn captures_of_others_leave_the_same_bytes() {
    let Some(folder) = public() else { return };
    let frames = frames_of(&folder);
    for (way, mode) in all() {
        let closes = compare(way, mode, &frames);
        assert!(closes > 20, "only {closes} closes, {mode:?}");
    }
}

#[test]
fn frames_of_every_form_leave_the_same_bytes() {
    let frames = every_form();
    for (way, mode) in all() {
        let closes = compare(way, mode, &frames);
        assert!(closes >= 10, "only {closes} closes, {mode:?}");
    }
}

#[test]
fn broken_frames_leave_the_same_bytes() {
    let forms = every_form();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % below
    };
    let frames: Vec<Vec<u8>> = (0..4000)
        .map(|_| {
            let mut frame = forms[next(forms.len())].clone();
            for _ in 0..=next(3) {
                // In the headers, most of the time in what decides.
                let at = 12 + next(frame.len().min(110) - 12);
                frame[at] = if next(2) == 0 { next(256) as u8 } else { frame[at] ^ 1 << next(8) };
            }
            if next(8) == 0 {
                let keep = 20 + next(frame.len() - 20);
                frame.truncate(keep);
            }
            frame
        })
        .collect();
    for (way, mode) in all() {
        compare(way, mode, &frames);
    }
}

fn all() -> impl Iterator<Item = (Way, Mode)> {
    WAYS.into_iter().flat_map(|way| [(way, Mode::SPARSE), (way, Mode::FULL)])
}

/// Shows the frames to both, compares what they leave, and returns how many closes there were.
fn compare(way: Way, mode: Mode, frames: &[Vec<u8>]) -> usize {
    let options = Options { full_history: mode == Mode::FULL, ..Options::default() };
    let mut bench = Bench::load(&options).unwrap_or_else(|error| panic!("{error}"));
    let mut machine = Machine::new(mode);
    let mut clock = Clock(Vec::new());
    for frame in frames {
        for (hook, link) in way {
            let frame = if *link == Link::Ip { behind_ethernet(frame) } else { frame };
            if !is_taken(frame) {
                continue;
            }
            let before = now_ns();
            let verdict = bench.run(*hook, *link, frame).unwrap_or_else(|error| panic!("{error}"));
            clock.0.push((before, now_ns()));
            let next = if *hook == Hook::Xdp { 2 } else { u32::MAX };
            assert_eq!(verdict, next, "a program decided over a packet");
            machine.see(*hook, *link, frame, clock.0.len() as u64);
        }
    }
    let told = bench.closes();
    let what = format!("{way:?} {mode:?}");
    assert_eq!(told.len(), machine.closes.len(), "closes of {what}");
    for ((key, flow), (known, expected)) in told.iter().zip(&machine.closes) {
        assert_eq!(key, known, "{what}");
        same(&clock.numbered(flow), expected, &what);
    }
    let slots = bench.slots().expect("the table");
    assert_eq!(slots.len(), machine.flows.len(), "entries of {what}");
    for (key, slot) in &slots {
        let (reported, expected) = &machine.flows[key];
        assert_eq!(slot.reported != 0, *reported, "{what} {key:?}");
        same(&clock.numbered(&slot.flow), expected, &what);
    }
    let counters = bench.counters().expect("the counters");
    assert_eq!(value(&counters, Counter::LATE), machine.late, "{what}");
    assert_eq!(value(&counters, Counter::CLOSES), told.len() as u64, "{what}");
    if mode == Mode::FULL {
        // Else what is refused of data segments passes unread.
        let refused =
            [Counter::REFUSED_TRUNCATED, Counter::REFUSED_MALFORMED, Counter::REFUSED_FRAGMENT];
        assert_eq!(refused.map(|counter| value(&counters, counter)), machine.refused, "{what}");
    }
    told.len()
}

fn same(told: &Flow, expected: &Flow, what: &str) {
    let equal = bytemuck::bytes_of(told) == bytemuck::bytes_of(expected);
    assert!(equal, "{what}\nin the kernel {told:#?}\nin user space {expected:#?}");
}

/// When each packet was run.
struct Clock(Vec<(u64, u64)>);

impl Clock {
    /// The flow with the numbers of packets in place of times.
    fn numbered(&self, flow: &Flow) -> Flow {
        let mut flow = *flow;
        let mut times = vec![
            &mut flow.started_ns,
            &mut flow.last_ns,
            &mut flow.closed_ns,
            &mut flow.settled_ns,
        ];
        for end in &mut flow.ends {
            times.extend([&mut end.fin_ns, &mut end.rst_ns]);
        }
        for time in times.into_iter().filter(|time| **time != 0) {
            let number = self.0.partition_point(|(before, _)| *before <= *time);
            let (before, after) = self.0[number - 1];
            assert!((before..=after).contains(time), "{time} is the time of no packet");
            *time = number as u64;
        }
        flow
    }
}

fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What the programs do, without a kernel.
struct Machine {
    mode: Mode,
    flows: HashMap<FlowKey, (bool, Flow)>,
    closes: Vec<(FlowKey, Flow)>,
    late: u64,
    /// Truncated, malformed, fragments.
    refused: [u64; 3],
}

impl Machine {
    fn new(mode: Mode) -> Self {
        Self { mode, flows: HashMap::new(), closes: Vec::new(), late: 0, refused: [0; 3] }
    }

    fn see(&mut self, hook: Hook, link: Link, frame: &[u8], now: u64) {
        let packet = match parse_slice(frame, link, frame.len() as u32, hook.vantage()) {
            Ok(packet) => packet,
            Err(refusal) => {
                match refusal {
                    Refusal::Truncated => self.refused[0] += 1,
                    Refusal::Malformed => self.refused[1] += 1,
                    Refusal::Fragment => self.refused[2] += 1,
                    Refusal::NotIp | Refusal::NotTcp => {}
                }
                return;
            }
        };
        if !self.mode.is_full() && !packet.segment.has(CONTROL) {
            return;
        }
        let input = Input::Segment(&packet.segment);
        let (reported, flow) = self.flows.entry(packet.key).or_default();
        if begins_anew(flow, input) {
            if !*reported {
                self.closes.push((packet.key, *flow));
            }
            (*reported, *flow) = (false, Flow::new());
        }
        let outcome = step(flow, &packet.key, input, self.mode, now);
        self.late += u64::from(outcome.has(Outcome::LATE));
        if outcome.has(Outcome::CLOSED) {
            *reported = true;
            self.closes.push((packet.key, *flow));
        }
    }
}

/// Whether the kernel takes the frame on the bench: an Ethernet header and, where that speaks of
/// IP, the fixed part of an IP header.
fn is_taken(frame: &[u8]) -> bool {
    frame.len()
        >= match frame.get(12..14) {
            Some([0x08, 0x00]) => 14 + 20,
            Some([0x86, 0xdd]) => 14 + 40,
            _ => 15,
        }
}

/// The frame without its Ethernet header and tags, as a raw-IP device shows it.
fn behind_ethernet(frame: &[u8]) -> &[u8] {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81 | 0x91, 0] | [0x88, 0xa8])) {
        at += 4;
    }
    frame.get(at + 2..).unwrap_or_default()
}

/// The Ethernet frames of every classic pcap file in a folder, little endian or big.
fn frames_of(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pcap"));
    files.sort();
    let mut frames = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let little = bytes[0] != 0xa1;
        let word = |at: usize| {
            let word = bytes[at..at + 4].try_into().expect("four bytes");
            if little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) }
        };
        if word(20) & 0xffff != 1 {
            continue;
        }
        let mut at = 24;
        while at + 16 <= bytes.len() {
            let length = word(at + 8) as usize;
            let frame = &bytes[at + 16..at + 16 + length];
            // What the kernel takes on the bench: less than a page, with its own overhead.
            frames.push(frame[..length.min(2048)].to_vec());
            at += 16 + length;
        }
    }
    frames
}

/// Whole connections in every form that a packet may have, and what is no TCP at all.
fn every_form() -> Vec<Vec<u8>> {
    let v4 = ["192.0.2.1", "192.0.2.2"];
    let v6 = ["2001:db8::1", "2001:db8::2"];
    let mut frames = Vec::new();
    for (port, tags, extensions) in [
        (1000, &[][..], false),
        (1001, &[(0x8100, 5)][..], false),
        (1002, &[(0x88a8, 5), (0x8100, 6)][..], true),
        (1003, &[(0x8100, 1), (0x8100, 2), (0x8100, 3)][..], false),
    ] {
        for addresses in [v4, v6] {
            for packet in conversation(addresses, port, extensions) {
                frames.push(ethernet(tags, &packet));
            }
        }
    }
    for (port, change) in [
        (1004, ip_options as fn(Vec<u8>) -> Vec<u8>),
        (1005, tcp_options),
        (1006, fragments),
        (1007, no_length),
        (1008, chained),
        (1009, padded),
    ] {
        for addresses in [v4, v6] {
            for packet in conversation(addresses, port, false) {
                frames.push(ethernet(&[], &change(packet)));
            }
        }
    }
    // UDP, ARP, and less than any header.
    let mut udp = conversation(v4, 1010, false).remove(0);
    udp[9] = 17;
    frames.push(ethernet(&[], &udp));
    frames.push([&[2; 12][..], &[8, 6], &[0; 46]].concat());
    frames.push([&[2; 12][..], &[8, 0], &[0x45; 12]].concat());
    frames
}

/// Two connections on one tuple: one ends by FINs, the next by a RST; repeats and late ones.
fn conversation(addresses: [&str; 2], port: u16, extensions: bool) -> Vec<Vec<u8>> {
    let ends =
        [format!("{}:{port}", bracketed(addresses[0])), format!("{}:80", bracketed(addresses[1]))];
    let ends = ends.map(|end| end.parse().expect("an endpoint"));
    let say = |by: usize, seq: u32, ack: u32, flags: u8, data: &[u8]| {
        let words = Words { from: ends[by], to: ends[1 - by], seq, ack, flags, data, extensions };
        words.packet()
    };
    vec![
        say(0, 100, 0, SYN, b""),
        say(0, 100, 0, SYN, b""),
        say(1, 900, 101, SYN | ACK, b""),
        say(0, 101, 901, ACK, b""),
        say(0, 101, 901, ACK, b"a question"),
        say(0, 101, 901, ACK, b"a question"),
        say(1, 901, 111, ACK, b"an answer"),
        say(1, 910, 111, FIN | ACK, b""),
        say(0, 111, 911, FIN | ACK, b""),
        say(1, 911, 112, ACK, b""),
        say(0, 111, 911, FIN | ACK, b""),
        say(0, 0xffff_fff0, 0, SYN, b""),
        say(1, 5000, 0xffff_fff1, SYN | ACK, b""),
        say(0, 0xffff_fff1, 5001, ACK, b"numbers that pass 2^32"),
        say(0, 7, 5001, FIN | ACK, b"more"),
        say(1, 5001, 12, RST | ACK, b""),
        say(1, 5001, 12, RST | ACK, b""),
        say(0, 12, 5001, RST, b""),
    ]
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// IPv4 options before the TCP header (IPv6 has none).
fn ip_options(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] == 0x45 {
        packet[0] = 0x47;
        packet.splice(20..20, [7, 7, 4, 0, 0, 0, 0, 0]);
        packet[3] += 8;
    }
    packet
}

/// MSS, window scale, SACK and timestamps, behind no-ops.
fn tcp_options(mut packet: Vec<u8>) -> Vec<u8> {
    let v4 = packet[0] >> 4 == 4;
    let tcp = if v4 { 20 } else { 40 };
    let options = [1, 2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 9, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0];
    packet.splice(tcp + 20..tcp + 20, options);
    packet[tcp + 12] = 11 << 4;
    packet[if v4 { 3 } else { 5 }] += options.len() as u8;
    packet
}

/// The first fragment (IPv6 by its header), or a later one for segments without a SYN.
fn fragments(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        let first = packet[33] & SYN != 0;
        (packet[6], packet[7]) = if first { (0x20, 0) } else { (0, 3) };
    } else {
        let first = packet[53] & SYN != 0;
        packet[6] = 44;
        packet.splice(40..40, [6, 0, 0, if first { 1 } else { 24 }, 0, 0, 0, 9]);
        packet[5] += 8;
    }
    packet
}

/// Lengths of 0, as packets have that the network card will cut.
fn no_length(mut packet: Vec<u8>) -> Vec<u8> {
    let at = if packet[0] >> 4 == 4 { 2 } else { 4 };
    packet[at..at + 2].fill(0);
    packet
}

/// IPv6: hop-by-hop, routing, destination, authentication, mobility before TCP.
fn chained(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 6 {
        packet[6] = 0;
        let mut chain = vec![43, 0, 1, 4, 0, 0, 0, 0];
        chain.extend([60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        chain.extend([51, 0, 1, 4, 0, 0, 0, 0]);
        chain.extend([135, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        chain.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        packet[5] += chain.len() as u8;
        packet.splice(40..40, chain);
    }
    packet
}

/// Ethernet's padding behind the packet.
fn padded(mut packet: Vec<u8>) -> Vec<u8> {
    packet.extend([0; 12]);
    packet
}
