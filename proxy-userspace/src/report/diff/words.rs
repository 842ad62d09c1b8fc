//! What a difference comes to, in sentences: who closes otherwise than before, and what restores
//! it.

use super::{Group, Tally};
use crate::report::kind::Kind;
use crate::report::story::{sign, time};
use proxy_common::verdict::{Role, Signal};

/// A sentence about a difference, and the policy's words that bring the old behaviour back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The sentence.
    pub text: String,
    /// The words, where there are any.
    pub rule: Option<&'static str>,
}

/// The sentences for a group that changed, the most telling first.
#[must_use]
pub fn say(group: &Group) -> Vec<Said> {
    let (old, new) = (&group.old, &group.new);
    if old.connections == 0 || new.connections == 0 {
        let which = if old.connections == 0 { "new" } else { "old" };
        let text = format!("only the {which} capture has connections to it");
        return vec![Said { text, rule: None }];
    }
    let mut said = Vec::new();
    if let (Some(was), Some(is)) = (old.usual(), new.usual())
        && was != is
    {
        said.extend(usual(was, is, old, new));
    }
    said.extend(time_wait(old, new));
    said.extend(half_closed(old, new));
    if said.is_empty() {
        let text = "the usual close is the same, but its share is not".into();
        said.push(Said { text, rule: None });
    }
    said
}

fn who(role: Role) -> &'static str {
    match role {
        Role::Orig => "the client",
        Role::Resp => "the server",
    }
}

/// The usual close was another.
fn usual(was: Kind, is: Kind, old: &Tally, new: &Tally) -> Option<Said> {
    let counts = format!(
        "{} of {} before, {} of {} now",
        old.kinds[was.index()],
        old.connections,
        new.kinds[is.index()],
        new.connections
    );
    let (first_was, first_is) = (was.first?, is.first?);
    let (signal_was, signal_is) = (was.signal?, is.signal?);
    if first_was != first_is {
        let text = format!(
            "{} used to close first, with {}; now {} does, with {} ({counts})",
            who(first_was),
            sign(signal_was),
            who(first_is),
            sign(signal_is)
        );
        return Some(Said { text, rule: None });
    }
    if signal_was != signal_is {
        let text = format!(
            "{} closes first as before, but with {} instead of {} ({counts})",
            who(first_is),
            sign(signal_is),
            sign(signal_was)
        );
        let rule = match (first_is, signal_was, signal_is) {
            (Role::Orig, Signal::Fin, _) => Some("abort fin"),
            (Role::Orig, Signal::Rst | Signal::RstAck, Signal::Fin) => Some("active rst"),
            _ => None,
        };
        return Some(Said { text, rule });
    }
    let other = first_is.other();
    let answer = |signal: Option<Signal>| match signal {
        Some(signal) => format!("answers with {}", sign(signal)),
        None => "does not answer".into(),
    };
    let passive = first_is == Role::Resp && signal_is == Signal::Fin;
    let (name, rule) = match (was.answer, is.answer) {
        (Some(Signal::RstAck), Some(Signal::Fin)) if passive => {
            (": the change from HAProxy 1.4 to 1.5 in the passive close", Some("passive rst"))
        }
        (Some(Signal::Fin), Some(Signal::RstAck)) if passive => {
            (": the passive close of HAProxy 1.4", Some("passive fin"))
        }
        _ => ("", None),
    };
    let text = format!(
        "when {} closes first, with {}, {other} {} instead of {}{name} ({counts})",
        who(first_is),
        sign(signal_is),
        answer(is.answer),
        match was.answer {
            Some(signal) => format!("with {}", sign(signal)),
            None => "leaving it half closed".into(),
        },
        other = who(other),
    );
    Some(Said { text, rule })
}

/// TIME_WAIT went to another side.
fn time_wait(old: &Tally, new: &Tally) -> Option<Said> {
    let most = |tally: &Tally| {
        let counts = tally.time_wait();
        (0..3).max_by_key(|&place| (counts[place], 3 - place)).unwrap_or(2)
    };
    let (was, is) = (most(old), most(new));
    if was == is {
        return None;
    }
    const WHO: [&str; 3] = ["the client", "the server", "nobody"];
    let text = format!(
        "TIME_WAIT stays with {} now, {} of {} times; before, with {}, {} of {} times",
        WHO[is],
        new.time_wait()[is],
        new.connections,
        WHO[was],
        old.time_wait()[was],
        old.connections
    );
    Some(Said { text, rule: None })
}

/// Connections stay half closed for longer, or for less long.
fn half_closed(old: &Tally, new: &Tally) -> Option<Said> {
    let (was, is) = (old.half_closed_ns().unwrap_or(0), new.half_closed_ns().unwrap_or(0));
    let (less, more) = (was.min(is), was.max(is));
    if more < 1_000_000_000 || more < 2 * less {
        return None;
    }
    let text = format!("half closed for {} now, for {} before (median)", time(is), time(was));
    Some(Said { text, rule: (is > was).then_some("half-close 5s") })
}
