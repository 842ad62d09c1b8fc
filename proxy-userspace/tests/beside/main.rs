//! HAProxy beside the engine: the same configuration, the same requests, the same servers. Status
//! codes, headers, bodies and the fields of the log are compared; where the two differ on purpose,
//! the list says so.

#[path = "../support/mod.rs"]
mod support;

mod requests;
mod twins;

use requests::{Expect, requests};
use twins::Twins;

#[test]
fn both_answer_and_log_alike() {
    let twins = Twins::start();
    let requests = requests();
    assert_eq!(requests.len(), 142, "docs/haproxy.md says how many");
    let mut wrong = Vec::new();
    for case in &requests {
        let (theirs, ours) = twins.ask(case);
        let differs = theirs != ours;
        match case.expect {
            Expect::Same if differs => {
                wrong.push(format!("{}\n  HAProxy {theirs:?}\n  engine  {ours:?}", case.name));
            }
            Expect::Status(their_status, our_status) => {
                let got = (theirs.status(), ours.status());
                if got != (Some(their_status), Some(our_status)) {
                    wrong.push(format!(
                        "{}: expected {their_status} and {our_status}\n  HAProxy {theirs:?}\n  engine  {ours:?}",
                        case.name
                    ));
                }
            }
            Expect::SameButBody => {
                if (theirs.status(), &theirs.log) != (ours.status(), &ours.log) {
                    wrong.push(format!("{}\n  HAProxy {theirs:?}\n  engine  {ours:?}", case.name));
                }
            }
            Expect::Same => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        requests.len(),
        wrong.join("\n")
    );
}
