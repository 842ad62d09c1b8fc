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

use cases::cases;
use pair::Pair;

#[test]
fn both_answer_log_and_count_alike() {
    let mut pair = Pair::start();
    let cases = cases();
    let wrong: Vec<_> = cases.iter().filter_map(|case| pair.play(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
