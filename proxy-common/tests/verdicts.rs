//! docs/verdicts.md, row by row through the machine.

mod script;

use proxy_common::flow::{EVICTED, EXPIRED, Mode, UNFINISHED};
use proxy_common::verdict::vocabulary::{DeepFlowCloseType, FlowEndReason};
use proxy_common::verdict::{self, vocabulary};
use script::script;

const DOCUMENT: &str = include_str!("../../docs/verdicts.md");

/// The rows of the table under `heading`.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = DOCUMENT.split_once(heading).expect("the heading");
    rest.lines()
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// Compares every row under `heading` with what the machine says; returns how many there were.
fn check(heading: &str, mode: Mode) -> usize {
    let rows = rows(heading);
    let mut wrong = Vec::new();
    for row in &rows {
        let [packets, told @ .., what] = row.as_slice() else { panic!("{row:?}: too short") };
        let played = script(packets.trim_matches('`')).play(mode);
        let close = played.closes.last().expect("a connection");
        let ours = [
            close.conn_state.as_str().to_owned(),
            close.history.as_str().to_owned(),
            close.first_closer.map_or("-", |role| role.as_str()).to_owned(),
            close.first_signal.map_or("-", |signal| signal.as_str()).to_owned(),
            close.answer.map_or("-", |signal| signal.as_str()).to_owned(),
            close.half_closed_ns.map_or("-".into(), |ns| format!("{}ms", ns / script::STEP_NS)),
        ];
        if told != ours {
            wrong.push(format!("{packets} ({what})\n  told {told:?}\n  ours {ours:?}"));
        }
        // Over or not, it is said once at most, and an open connection has no closer.
        assert!(played.times_closed() <= played.flows.len(), "{packets}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    rows.len()
}

#[test]
fn every_segment_looked_at() {
    assert!(check("## Every segment looked at", Mode::OFFLINE) >= 40);
}

#[test]
fn live() {
    assert!(check("## Live: control segments and sockets", Mode::SPARSE) >= 16);
}

#[test]
fn others_words() {
    let rows = rows("## The same close in others' words");
    for row in &rows {
        let packets = row[0].trim_matches('`');
        let close = *script(packets).play(Mode::FULL).closes.last().expect("a connection");
        let (ipfix, deepflow) = (FlowEndReason::of(&close), DeepFlowCloseType::of(&close));
        let ours = [
            close.conn_state.as_str().to_owned(),
            vocabulary::haproxy_termination(&close).to_owned(),
            format!("{} {}", ipfix.number(), ipfix.as_str()),
            vocabulary::tshark_completeness(&close).to_string(),
            format!("{} {}", deepflow.number(), deepflow.as_str()),
        ];
        assert_eq!(row[1..], ours, "{packets}");
    }
    assert!(rows.len() >= 15);
}

#[test]
fn a_connection_that_was_given_up_says_why() {
    let open = script(">S <SA >A").play(Mode::FULL);
    let reasons = [
        (UNFINISHED, FlowEndReason::ForcedEnd),
        (EXPIRED, FlowEndReason::IdleTimeout),
        (EVICTED, FlowEndReason::LackOfResources),
    ];
    for (mark, reason) in reasons {
        let mut flow = open.flows[0];
        flow.marks |= mark;
        let close = verdict::close(&script(">S").key, &flow);
        assert_eq!(FlowEndReason::of(&close), reason);
        assert!(!close.is_over());
    }
}

#[test]
fn sparse_says_the_same_as_full() {
    for row in rows("## Every segment looked at") {
        let packets = row[0].trim_matches('`');
        // Without data segments nobody knows of a challenge, and midstream the roles are a guess.
        let blind =
            packets.contains("R+") || packets.starts_with('(') || packets.contains("<A >F >R");
        if blind {
            continue;
        }
        let full = script(packets).play(Mode::FULL);
        let sparse = script(packets).play(Mode::SPARSE);
        let (full, sparse) = (full.closes.last(), sparse.closes.last());
        let (full, sparse) = full.zip(sparse).expect("a connection");
        assert_eq!(full.conn_state, sparse.conn_state, "{packets}");
        assert_eq!(full.first_closer, sparse.first_closer, "{packets}");
        assert_eq!(full.first_signal, sparse.first_signal, "{packets}");
        assert_eq!(full.answer, sparse.answer, "{packets}");
    }
}
