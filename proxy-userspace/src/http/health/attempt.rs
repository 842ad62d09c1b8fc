//! One health check: connect, send, expect, close.

mod connection;
mod expect;
mod http;
#[cfg(test)]
mod tests;

use super::outcome::{Outcome, Status};
use super::script::{CheckKind, Connect, Expect, Pattern, Step};
use super::{Plan, Surroundings};
use connection::{Connection, connect};
use http::head;
use tokio::time::timeout_at;

/// Makes one check.
pub(super) async fn attempt(plan: &Plan, around: &Surroundings) -> Outcome {
    let script = &plan.script;
    let steps: Vec<Step> = match script.kind {
        CheckKind::Connect => Vec::new(),
        CheckKind::Tcp => script.tcp_steps.clone(),
        CheckKind::Http => http_steps(plan),
    };
    let scripted = script.kind == CheckKind::Tcp;
    let first = steps.iter().find(|step| !matches!(step, Step::Comment(_)));
    let implied = Connect { is_default: true, ..Connect::default() };
    let mut connection = match first {
        Some(Step::Connect(_)) => None,
        _ => match connect(plan, around, &implied).await {
            Ok(connection) => Some(connection),
            Err(outcome) if scripted => {
                return at(outcome, " at initial connection step of tcp-check");
            }
            Err(outcome) => return outcome,
        },
    };
    let mut last = Outcome::new(Status::L4Ok, "");
    // It takes a server that is up out of the balance; one that is down stays down.
    let disable_on_404 = script.disable_on_404 && around.server.is_up();
    for (index, step) in steps.iter().enumerate() {
        if let Step::Connect(to) = step {
            drop(connection.take());
            match connect(plan, around, to).await {
                Ok(new) => connection = Some(new),
                Err(outcome) if scripted => return at(outcome, &place(&steps, index)),
                Err(outcome) => return outcome,
            }
            continue;
        }
        if matches!(step, Step::Comment(_)) {
            continue;
        }
        let Some(on) = &mut connection else { break };
        let outcome = match timeout_at(on.deadline, on.step(step, index + 1, disable_on_404)).await
        {
            Ok(outcome) => outcome,
            Err(_) if scripted => Outcome::new(Status::L7Timeout, place(&steps, index)),
            Err(_) => Outcome::new(Status::L7Timeout, ""),
        };
        if !outcome.status.is_good() {
            return outcome;
        }
        last = outcome;
    }
    if let Some(on) = &mut connection {
        on.see_end();
    }
    if scripted && last.status == Status::L7Ok {
        last.info = "(tcp-check)".into();
    }
    last
}

/// The request of `option httpchk`, which follows a first connect, and the `http-check` lines; the
/// last expectation may be left unsaid.
fn http_steps(plan: &Plan) -> Vec<Step> {
    let script = &plan.script;
    let mut steps = script.http_steps.clone();
    let at = steps.iter().position(|step| !matches!(step, Step::Connect(_) | Step::Comment(_)));
    steps.insert(at.unwrap_or(steps.len()), Step::HttpSend(script.request.clone()));
    let last_send = steps.iter().rposition(|step| matches!(step, Step::HttpSend(_)));
    if !steps[last_send.unwrap_or(0)..].iter().any(|step| matches!(step, Step::Expect(_))) {
        steps.push(Step::Expect(Expect {
            negate: false,
            pattern: Pattern::Status(vec![(200, 399)]),
            min_recv: None,
            comment: None,
        }));
    }
    steps
}

/// What was found, and where.
fn at(mut outcome: Outcome, place: &str) -> Outcome {
    outcome.info.push_str(place);
    outcome
}

/// Where a script has failed, in HAProxy's words.
fn place(steps: &[Step], index: usize) -> String {
    let own = match &steps[index] {
        Step::Connect(to) => to.comment.as_ref(),
        Step::Expect(expect) => expect.comment.as_ref(),
        _ => None,
    };
    let before = steps[..index].iter().rev().find_map(|step| match step {
        Step::Comment(text) => Some(text),
        _ => None,
    });
    let comment = own.or(before).map(|text| format!(" comment: '{text}'")).unwrap_or_default();
    format!(" at step {} of tcp-check ({}){comment}", index + 1, name(&steps[index]))
}

/// A step in HAProxy's words.
fn name(step: &Step) -> String {
    match step {
        Step::Comment(_) => "comment".into(),
        Step::Connect(Connect { port: Some(port), .. }) => format!("connect port {port}"),
        Step::Connect(_) => "connect".into(),
        Step::HttpSend(_) | Step::Send(_) => "send".into(),
        Step::Expect(expect) => match &expect.pattern {
            Pattern::Bytes(bytes) => format!("expect string '{}'", String::from_utf8_lossy(bytes)),
            Pattern::Regex(_) => "expect regex".into(),
            _ => "expect".into(),
        },
    }
}

impl Connection<'_> {
    /// Does one step that is no connect.
    async fn step(&mut self, step: &Step, number: usize, disable_on_404: bool) -> Outcome {
        match step {
            Step::Connect(_) | Step::Comment(_) => Outcome::new(Status::L4Ok, ""),
            Step::Send(bytes) => self.send(bytes, number).await,
            Step::HttpSend(request) => self.send(&head(request), number).await,
            Step::Expect(expect) if self.http => self.expect_http(expect, disable_on_404).await,
            Step::Expect(expect) => self.expect_tcp(expect, number).await,
        }
    }
}
