//! The same packets through the machine in user space and through the loaded programs leave the
//! same bytes behind: in every close that is reported, and in every entry of the flow table.
//!
//! Times are compared too. User space steps packet number n at the time n; a time that the kernel
//! noted becomes the number of the packet in whose run its clock stood there. The clock is read
//! before and after each run, so that no time belongs to two packets.

mod clock;
mod forms;
mod frames;
mod machine;
#[path = "../support/mod.rs"]
mod support;

use clock::Clock;
use forms::every_form;
use frames::{behind_ethernet, frames_of, is_taken};
use machine::Machine;

use proxy_common::abi::Counter;
use proxy_common::flow::{Flow, Mode};
use proxy_common::wire::Link;
use std::path::Path;
use support::clock::now_ns;
use support::fixtures::public;
use support::observed::value;
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
