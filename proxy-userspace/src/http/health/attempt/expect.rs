//! What a check's answer must be: bytes over TCP; status, field or body over HTTP.

use super::connection::{Connection, plain};
use super::http::parse;
use crate::http::health::outcome::{Outcome, Status};
use crate::http::health::script::{Expect, Pattern};
use std::io;

impl Connection<'_> {
    pub(super) async fn expect_tcp(&mut self, expect: &Expect, number: usize) -> Outcome {
        let pattern = &expect.pattern;
        let least = expect.min_recv.map(|least| least as usize);
        loop {
            let there = pattern.is_in(&self.received);
            let enough = least.is_some_and(|least| self.received.len() >= least);
            if there || (enough && !self.received.is_empty()) {
                if there != expect.negate {
                    return Outcome::new(Status::L7Ok, "");
                }
                return Outcome::new(Status::L7Response, unmatched(expect, number));
            }
            match self.more().await {
                Ok(true) => {}
                Ok(false) if expect.negate && !self.received.is_empty() => {
                    return Outcome::new(Status::L7Ok, "");
                }
                Ok(false) if self.received.is_empty() => {
                    let info = format!("TCPCHK got an empty response at step {number}");
                    return Outcome::new(Status::L7Response, info);
                }
                Ok(false) => {
                    return Outcome::new(Status::L7Response, unmatched(expect, number));
                }
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
        let matched = match &expect.pattern {
            Pattern::Status(_) | Pattern::StatusRegex(_) => {
                let hit = match &expect.pattern {
                    Pattern::Status(ranges) => {
                        ranges.iter().any(|&(low, high)| (low..=high).contains(&code))
                    }
                    Pattern::StatusRegex(regex) => regex.is_match(code.to_string().as_bytes()),
                    _ => false,
                };
                if hit == expect.negate {
                    return with(Status::L7Status, &commented(&answer.reason, expect));
                }
                true
            }
            Pattern::Header { name, value, method, full } => {
                if answer.has(name, value.as_deref(), *method, *full) == expect.negate {
                    return with(Status::L7Status, &commented(&answer.reason, expect));
                }
                true
            }
            Pattern::Bytes(_) | Pattern::Regex(_) => loop {
                let (body, whole) = answer.body(self.received.get(body_at..).unwrap_or_default());
                let there = expect.pattern.is_in(&body);
                if there || whole {
                    break there != expect.negate;
                }
                match self.more().await {
                    Ok(true) => {}
                    Ok(false) => break expect.negate,
                    Err(error) => return self.broken(&error),
                }
            },
        };
        if matched {
            return with(Status::L7Ok, "");
        }
        let info = match expect.negate {
            true => "HTTP check matched unwanted content",
            false => "HTTP content check did not match",
        };
        Outcome::new(Status::L7Response, commented(info, expect))
    }

    /// The connection failed after it was established.
    fn broken(&self, error: &io::Error) -> Outcome {
        Outcome::new(Status::SocketError, plain(error))
    }
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
