//! `tcp-request` and `tcp-response` lines.

use super::{condition, edits, is_of_variables, unknown, warn_if_behind};
use crate::config::acl_words::{At, warn_if_absent};
use crate::config::args::Args;
use crate::config::capture::{self, Slots};
use crate::config::directives::Places;
use crate::config::format::Place;
use crate::config::model::Proxy;
use crate::http::rules::{Action, Parting, TcpAction, TcpRule};
use crate::http::variable::{Name, Scope};
use std::sync::Arc;

/// The lists that rules are in, and what each knows.
const LISTS: [(&str, &[&str]); 3] = [
    ("connection", &["accept", "reject", "silent-drop", "expect-proxy"]),
    ("session", &["accept", "reject", "silent-drop"]),
    ("content", &["accept", "reject", "silent-drop", "capture"]),
];

/// Reads a `tcp-request` line, its first word taken.
pub(in crate::config) fn tcp_request(args: &mut Args<'_>, to: &mut Proxy, place: Places) {
    let at = args.here();
    let Some(list) = args.need("tcp-request", "connection, session, content or inspect-delay")
    else {
        return;
    };
    if list == "inspect-delay" {
        let delay = args.time("tcp-request inspect-delay");
        to.tcp_request.delay = delay.or(to.tcp_request.delay);
        return args.end("tcp-request inspect-delay");
    }
    let Some((_, known)) = LISTS.iter().find(|known| known.0 == list) else {
        let names = ["connection", "session", "content", "inspect-delay"];
        let hint = crate::near::hint(list, names);
        args.wrong(format!(
            "'tcp-request' expects one of {}, not '{list}'{hint}",
            names.join(", ")
        ));
        return args.skip(args.line.words.len());
    };
    if place == Places::BACKEND && list != "content" {
        args.wrong(format!("'tcp-request {list}' cannot stand in a 'backend' section"));
        return args.skip(args.line.words.len());
    }
    let of = &to.tcp_request;
    let lengths = [
        ("tcp-request session", of.session.len()),
        ("tcp-request content", of.content.len()),
        ("http-request", to.http_request.len()),
        ("use_backend", to.use_backends.len()),
    ];
    let later = match list {
        "connection" => &lengths[..],
        "session" => &lengths[1..],
        _ => &lengths[2..],
    };
    let directive = format!("tcp-request {list}");
    let Some(rule) = rule(args, to, place, &directive, known) else {
        return args.skip(args.line.words.len());
    };
    warn_if_behind(args, &at, &directive, later);
    args.end(&directive);
    let of = &mut to.tcp_request;
    match list {
        "connection" => of.connection.push(rule),
        "session" => of.session.push(rule),
        _ => of.content.push(rule),
    }
}

/// Reads a `tcp-response` line, its first word taken.
pub(in crate::config) fn tcp_response(args: &mut Args<'_>, to: &mut Proxy) {
    const KNOWN: &[&str] = &["accept", "reject", "close"];
    match args.choice("tcp-response", &[("content", true), ("inspect-delay", false)]) {
        Some(true) => {
            let Some(rule) = answer_rule(args, to, KNOWN) else {
                return args.skip(args.line.words.len());
            };
            to.tcp_response.content.push(rule);
            args.end("tcp-response content");
        }
        Some(false) => {
            let delay = args.time("tcp-response inspect-delay");
            to.tcp_response.delay = delay.or(to.tcp_response.delay);
            args.end("tcp-response inspect-delay");
        }
        None => args.skip(args.line.words.len()),
    }
}

fn answer_rule(args: &mut Args<'_>, to: &Proxy, known: &[&str]) -> Option<TcpRule> {
    let directive = "tcp-response content";
    let at = args.here();
    let word = args.need(directive, "an action such as accept or close")?;
    let action = match word {
        "accept" => TcpAction::Accept,
        "reject" => TcpAction::Refuse(Parting::Closed),
        "close" => TcpAction::End,
        _ if is_of_variables(word) => of_variable(edits::variable(args, word, Place::Response)?)?,
        _ => {
            unknown(args, directive, word, &[known, &edits::VARIABLES].concat());
            return None;
        }
    };
    let condition = condition(args, &to.acls).ok()?;
    warn_if_absent(args, condition.as_ref(), at, At::Response);
    Some(TcpRule { action, condition })
}

fn of_variable(action: Action) -> Option<TcpAction> {
    match action {
        Action::Variable(name, expression) => Some(TcpAction::Variable(name, expression)),
        Action::VariableFormat(name, format) => Some(TcpAction::VariableFormat(name, format)),
        Action::Unset(name) => Some(TcpAction::Unset(name)),
        _ => None,
    }
}

fn rule(
    args: &mut Args<'_>,
    to: &mut Proxy,
    place: Places,
    directive: &str,
    known: &[&str],
) -> Option<TcpRule> {
    let at = args.here();
    let word = args.need(directive, "an action such as accept or reject")?;
    if !is_of_variables(word) && !known.contains(&word) {
        unknown(args, directive, word, &[known, &edits::VARIABLES].concat());
        return None;
    }
    let of_content = directive.ends_with("content");
    let action = match word {
        "accept" => TcpAction::Accept,
        "reject" => TcpAction::Refuse(Parting::Closed),
        "silent-drop" => TcpAction::Refuse(Parting::Silent),
        "expect-proxy" => {
            args.choice("expect-proxy", &[("layer4", ())])?;
            TcpAction::ExpectProxy
        }
        "capture" => {
            if place == Places::BACKEND {
                args.wrong("'tcp-request content capture' cannot stand in a 'backend' section");
                return None;
            }
            let slots = Slots::Own(&mut to.captures.request);
            let (at, sample) = capture::by_rule(args, Place::Request, slots)?;
            TcpAction::Capture(at, sample)
        }
        _ => variable(args, word, of_content)?,
    };
    let condition = condition(args, &to.acls).ok()?;
    let rules = if of_content { At::Request } else { At::Connection };
    warn_if_absent(args, condition.as_ref(), at, rules);
    Some(TcpRule { action, condition })
}

/// Reads an action on a variable.
fn variable(args: &mut Args<'_>, word: &str, of_content: bool) -> Option<TcpAction> {
    let at = args.last();
    let place = if of_content { Place::Request } else { Place::Connection };
    let action = edits::variable(args, word, place)?;
    let mut last = |name: &Arc<Name>| {
        if !of_content && name.scope != Scope::Session {
            args.findings.warn(
                at.clone(),
                format!(
                    "'{word}': before a connection's first request only 'sess.' variables last"
                ),
            );
        }
    };
    if let Action::Variable(name, _) | Action::VariableFormat(name, _) = &action {
        last(name);
    }
    of_variable(action)
}
