//! What a check's answer must be: bytes over TCP; status, field or body over HTTP.

use super::connection::{Connection, plain};
use super::http::{Answer, parse};
use crate::http::health::outcome::{Outcome, Status};
use crate::http::health::script::{Expect, Pattern};
use std::io;

impl Connection<'_> {
    pub(super) async fn expect_tcp(&mut self, expect: &Expect, number: usize) -> Outcome {
        let mut over = false;
        loop {
            let there = expect.pattern.is_in(&self.received);
            if is_decided(expect, &self.received, there, over) {
                return match self.received.is_empty() {
                    true => {
                        let info = format!("TCPCHK got an empty response at step {number}");
                        Outcome::new(Status::L7Response, info)
                    }
                    false if there != expect.negate => Outcome::new(Status::L7Ok, ""),
                    false => Outcome::new(Status::L7Response, unmatched(expect, number)),
                };
            }
            match self.more().await {
                Ok(more) => over = !more,
                Err(error) => return self.broken(&error),
            }
        }
    }

    pub(super) async fn expect_http(&mut self, expect: &Expect, disable_on_404: bool) -> Outcome {
        let (answer, body_at) = loop {
            match parse(&self.received) {
                Ok(Some(answer)) => break answer,
                Ok(None) => match self.more().await {
                    Ok(true) => {}
                    Ok(false) => {
                        return Outcome::new(Status::L7Response, "");
                    }
                    Err(error) => return self.broken(&error),
                },
                Err(()) => return Outcome::new(Status::L7Response, ""),
            }
        };
        let code = answer.code;
        let with = |status, info: &str| Outcome { status, code, info: info.to_owned() };
        if disable_on_404 && code == 404 {
            return with(Status::L7OkConditional, "");
        }
        let found = match &expect.pattern {
            Pattern::Status(ranges) => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&code))
            }
            Pattern::StatusRegex(regex) => regex.is_match(code.to_string().as_bytes()),
            Pattern::Header { name, value, method, full } => {
                answer.has(name, value.as_deref(), *method, *full)
            }
            Pattern::Bytes(_) | Pattern::Regex(_) => {
                let found = match self.found_in_body(expect, &answer, body_at).await {
                    Ok(found) => found,
                    Err(error) => return self.broken(&error),
                };
                let info = match (found, expect.negate) {
                    (None, _) => "HTTP content check could not find a response body",
                    (Some(found), negate) if found != negate => return with(Status::L7Ok, ""),
                    (_, true) => "HTTP check matched unwanted content",
                    (_, false) => "HTTP content check did not match",
                };
                return Outcome::new(Status::L7Response, commented(info, expect));
            }
        };
        match found != expect.negate {
            true => with(Status::L7Ok, ""),
            false => with(Status::L7Status, &commented(&answer.reason, expect)),
        }
    }

    /// Whether what is looked for is in an answer's body; none where that is empty.
    async fn found_in_body(
        &mut self,
        expect: &Expect,
        answer: &Answer,
        body_at: usize,
    ) -> io::Result<Option<bool>> {
        let mut over = false;
        loop {
            let (body, whole) = answer.body(self.received.get(body_at..).unwrap_or_default());
            let there = expect.pattern.is_in(&body);
            if is_decided(expect, &body, there, whole || over) {
                return Ok((!body.is_empty()).then_some(there));
            }
            over = !self.more().await?;
        }
    }

    /// The connection failed after it was established.
    fn broken(&self, error: &io::Error) -> Outcome {
        Outcome::new(Status::SocketError, plain(error))
    }
}

/// Whether what came is enough to say if something is in it, where no more comes once it is `over`. That
/// it is not there may change with more, unless `min-recv` says how much that takes.
fn is_decided(expect: &Expect, came: &[u8], there: bool, over: bool) -> bool {
    let least = match &expect.pattern {
        Pattern::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    let least = least.max(expect.min_recv.map_or(0, |least| least as usize)).max(1);
    over || (came.len() >= least && (there || expect.min_recv.is_some()))
}

fn unmatched(expect: &Expect, number: usize) -> String {
    let content = match &expect.pattern {
        Pattern::Bytes(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        _ => "(regex)".to_owned(),
    };
    let default = if expect.negate {
        format!("TCPCHK matched unwanted content {content} at step {number}")
    } else {
        format!("TCPCHK did not match content {content} at step {number}")
    };
    commented(&default, expect)
}

/// What was found, with the comment of who expected something else.
fn commented(found: &str, expect: &Expect) -> String {
    match &expect.comment {
        Some(comment) => format!("{found} comment: {comment}"),
        None => found.to_owned(),
    }
}
