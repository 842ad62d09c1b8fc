//! Persistence by cookie, and captures, beside HAProxy: the same configuration, the same requests, the
//! same servers. What the servers saw, what the client got and what was logged must be the same to the
//! byte, dates and times apart.

#[path = "../support/mod.rs"]
mod support;

mod captures;
mod cookies;
mod mixtures;
mod pair;
mod unusual;

use pair::{Case, Pair};

/// Both do the same with each case.
fn compare(configuration: &str, cases: Vec<Case>) {
    let pair = Pair::start(configuration);
    let mut wrong = Vec::new();
    for case in &cases {
        let (theirs, ours) = pair.ask(case);
        if theirs != ours {
            wrong.push(format!("{}\n  HAProxy {theirs:#?}\n  ours    {ours:#?}", case.name()));
        }
    }
    let (count, all) = (wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{count} of {all} differ:\n{}", wrong.join("\n"));
}
