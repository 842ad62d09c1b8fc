//! HAProxy beside teardown where something goes wrong: servers that cut, reset, are silent or refuse,
//! clients that leave, stall or half close. What the client got, the log's fields and the counters of
//! `show stat` are compared; where the two differ on purpose, the case says in what.

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod checks;
mod client;
mod origin;
mod pair;

use cases::{Case, cases};
use pair::Pair;

#[test]
fn both_answer_log_and_count_alike() {
    let mut pair = Pair::start();
    let cases = cases();
    assert_eq!(cases.len(), 203, "docs/haproxy.md says how many");
    let wrong: Vec<_> = cases.iter().filter_map(|case| pair.play(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// HAProxy gives such a connection up, or waits for the server until it is too late, by which event
/// it hears of first.
#[test]
fn a_client_that_leaves_without_a_word_is_not_connected_for() {
    let log = Pair::start().log_of_ours(&Case::new("tcp-mute", "FIN", 1, &[]));
    assert_eq!(log, ["tcp-mute tcp-mute/s0 n/-1  CC 1/0/0/0 0/0 "]);
}
