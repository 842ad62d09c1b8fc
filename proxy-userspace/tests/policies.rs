//! docs/policies.md is true: its table is read, and every row decided.

use proxy_common::decide::{self, Action, Refusal, decide};
use teardown::policy::words;

const TEXT: &str = include_str!("../../docs/policies.md");

fn fact(word: &str) -> u32 {
    match word {
        "rst" => decide::IS_RST,
        "passive" => decide::PASSIVE,
        "full" => decide::FULL_CLOSE,
        "data" => decide::CARRIES_DATA,
        "unacked" => decide::UNACKED,
        "unsent" => decide::UNSENT,
        "unread" => decide::UNREAD,
        "socket" => decide::HAS_SOCKET,
        "ack" => decide::WITH_ACK,
        other => panic!("no such fact: {other}"),
    }
}

fn action(word: &str) -> Action {
    match word {
        "keep" => Action::KEEP,
        "reset" => Action::RESET,
        "wait" => Action::WAIT,
        "strip" => Action::STRIP,
        "finish" => Action::FINISH,
        "refuse" => Action::REFUSE,
        other => panic!("no such action: {other}"),
    }
}

fn refusal(words: &str) -> Refusal {
    if words.is_empty() {
        return Refusal::NONE;
    }
    let name = words.to_uppercase().replace(' ', "_");
    let found = Refusal::ALL.iter().find(|(_, known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no such refusal: {words}")).0
}

#[test]
fn every_row_of_the_table_is_decided_so() {
    let table = TEXT.split("| policy | facts | action | refusal |").nth(1).expect("the table");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 25, "{} rows", rows.len());
    for row in rows {
        let &[policy, facts, wanted, why] = row.as_slice() else { panic!("{row:?}") };
        let policy = if policy.is_empty() {
            proxy_common::policy::Policy::KEEP
        } else {
            words::parse(policy).unwrap_or_else(|error| panic!("{row:?}: {error}")).traffic
        };
        let facts = facts.split_whitespace().map(fact).fold(0, |all, one| all | one);
        let decision = decide(&policy, facts);
        assert_eq!(decision.action, action(wanted), "{row:?}");
        assert_eq!(decision.refusal, refusal(why), "{row:?}");
    }
}
