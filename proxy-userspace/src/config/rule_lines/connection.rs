//! `tcp-request` and `tcp-response` lines.

use super::{condition, edits, is_of_variables, unknown, warn_if_behind};
use crate::config::acl_words::{At, warn_if_absent};
use crate::config::args::Args;
use crate::config::capture::{self, Slots};
use crate::config::directives::Places;
use crate::config::format::Place;
use crate::config::model::Proxy;
use crate::http::rules::{Action, Parting, TcpAction, TcpRule};
use crate::http::variable::Scope;

/// A list that rules are in.
struct List {
    directive: &'static str,
    /// What rules have at hand.
    at: At,
    /// The actions, beside those on variables.
    known: &'static [&'static str],
    /// Two of them.
    examples: &'static str,
}

/// Those of `tcp-request`, in the order in which they are looked at.
const REQUEST: [List; 3] = [
    List {
        directive: "tcp-request connection",
        at: At::Connection,
        known: &["accept", "reject", "silent-drop", "expect-proxy"],
        examples: "accept or reject",
    },
    List {
        directive: "tcp-request session",
        at: At::Connection,
        known: &["accept", "reject", "silent-drop"],
        examples: "accept or reject",
    },
    List {
        directive: "tcp-request content",
        at: At::Request,
        known: &["accept", "reject", "silent-drop", "capture"],
        examples: "accept or reject",
    },
];

/// That of `tcp-response`.
const RESPONSE: List = List {
    directive: "tcp-response content",
    at: At::Response,
    known: &["accept", "reject", "close"],
    examples: "accept or close",
};

/// Reads a `tcp-request` line, its first word taken.
pub(in crate::config) fn tcp_request(args: &mut Args<'_>, to: &mut Proxy, place: Places) {
    const WORDS: [(&str, usize); 4] =
        [("connection", 0), ("session", 1), ("content", 2), ("inspect-delay", REQUEST.len())];
    let at = args.here();
    if args.peek().is_empty() {
        let _ = args.need("tcp-request", "connection, session, content or inspect-delay");
        return;
    }
    let Some(which) = args.choice("tcp-request", &WORDS) else {
        return args.skip(args.line.words.len());
    };
    let Some(list) = REQUEST.get(which) else {
        let delay = args.time("tcp-request inspect-delay");
        to.tcp_request.delay = delay.or(to.tcp_request.delay);
        return args.end("tcp-request inspect-delay");
    };
    if place == Places::BACKEND && list.at == At::Connection {
        args.wrong(format!("'{}' cannot stand in a 'backend' section", list.directive));
        return args.skip(args.line.words.len());
    }
    let Some(rule) = rule(args, to, place, list) else {
        return args.skip(args.line.words.len());
    };
    let of = &to.tcp_request;
    let later = [
        ("tcp-request session", of.session.len()),
        ("tcp-request content", of.content.len()),
        ("http-request", to.http_request.len()),
        ("use_backend", to.use_backends.len()),
    ];
    warn_if_behind(args, &at, list.directive, &later[which..]);
    args.end(list.directive);
    let of = &mut to.tcp_request;
    [&mut of.connection, &mut of.session, &mut of.content][which].push(rule);
}

/// Reads a `tcp-response` line, its first word taken.
pub(in crate::config) fn tcp_response(args: &mut Args<'_>, to: &mut Proxy, place: Places) {
    match args.choice("tcp-response", &[("content", true), ("inspect-delay", false)]) {
        Some(true) => {
            let Some(rule) = rule(args, to, place, &RESPONSE) else {
                return args.skip(args.line.words.len());
            };
            to.tcp_response.content.push(rule);
            args.end(RESPONSE.directive);
        }
        Some(false) => {
            let delay = args.time("tcp-response inspect-delay");
            to.tcp_response.delay = delay.or(to.tcp_response.delay);
            args.end("tcp-response inspect-delay");
        }
        None => args.skip(args.line.words.len()),
    }
}

fn rule(args: &mut Args<'_>, to: &mut Proxy, place: Places, list: &List) -> Option<TcpRule> {
    let at = args.here();
    let word = args.need(list.directive, &format!("an action such as {}", list.examples))?;
    if !is_of_variables(word) && !list.known.contains(&word) {
        unknown(args, list.directive, word, &[list.known, &edits::VARIABLES].concat());
        return None;
    }
    let action = match word {
        "accept" => TcpAction::Accept,
        "reject" => TcpAction::Refuse(Parting::Closed),
        "silent-drop" => TcpAction::Refuse(Parting::Silent),
        "close" => TcpAction::End,
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
        _ => variable(args, word, list.at)?,
    };
    let condition = condition(args, &to.acls).ok()?;
    warn_if_absent(args, condition.as_ref(), at, list.at);
    Some(TcpRule { action, condition })
}

/// Reads an action on a variable.
fn variable(args: &mut Args<'_>, word: &str, rules: At) -> Option<TcpAction> {
    let at = args.last();
    let place = match rules {
        At::Connection => Place::Connection,
        At::Request => Place::Request,
        At::Response => Place::Response,
    };
    let action = match edits::variable(args, word, place)? {
        Action::Variable(name, expression) => TcpAction::Variable(name, expression),
        Action::VariableFormat(name, format) => TcpAction::VariableFormat(name, format),
        Action::Unset(name) => TcpAction::Unset(name),
        _ => return None,
    };
    if let TcpAction::Variable(name, _) | TcpAction::VariableFormat(name, _) = &action
        && rules == At::Connection
        && name.scope != Scope::Session
    {
        args.findings.warn(
            at,
            format!("'{word}': before a connection's first request only 'sess.' variables last"),
        );
    }
    Some(action)
}
