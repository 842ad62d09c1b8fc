//! `acl`, `use_backend`, `http-request`, `http-response`, `http-after-response`, `tcp-request` and
//! `tcp-response` lines.

mod connection;
mod edits;
mod redirect;
mod replies;

use super::acl_words::{condition, never, test, warn_if_never};
use super::args::Args;
use super::capture::{self, Slots};
use super::directives::{self, Places};
use super::format::{self, Place};
use super::model::{Acl, Proxy, UseBackend, UseServer};
use super::token::Position;
use crate::http::cookie::{Persist, PersistRule};
use crate::http::format::Format;
use crate::http::framing::{frames, is_token};
use crate::http::rules::{Action, Parting, Rule};
use crate::http::sample::Message;
use crate::near;
pub(super) use connection::{tcp_request, tcp_response};
use redirect::redirect;
pub(super) use replies::error_reply;
use replies::{deny, respond};

/// `set-log-level`, by syslog's numbers; none is no line.
const LOG_LEVELS: [(&str, Option<u8>); 9] = [
    ("emerg", Some(0)),
    ("alert", Some(1)),
    ("crit", Some(2)),
    ("err", Some(3)),
    ("warning", Some(4)),
    ("notice", Some(5)),
    ("info", Some(6)),
    ("debug", Some(7)),
    ("silent", None),
];

/// Reads an `acl` line, its first word taken.
pub(super) fn acl(args: &mut Args<'_>, to: &mut Proxy) {
    let Some(name) = args.need("acl", "a name and a test") else { return };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if let Some(bad) = name.chars().find(|c| !fits(*c)) {
        return args.wrong(format!(
            "an acl's name has letters, digits, '-', '_', '.' and ':', not '{bad}'"
        ));
    }
    if name == "or" {
        return args.wrong("an acl named 'or' could never be used: 'or' stands between conditions");
    }
    let name = name.to_owned();
    // What is wrong with a test is said once, here, and not where its name is used.
    let test = test(args, None).unwrap_or_else(never);
    to.acls.push(Acl { name, test });
}

/// Reads a `use_backend` line, its first word taken.
pub(super) fn use_backend(args: &mut Args<'_>, to: &mut Proxy) {
    let Some(name) = args.need("use_backend", "a backend's name") else { return };
    let at = args.last();
    if name.contains('%') {
        return args
            .wrong("a backend's name from a format string is HAProxy's; teardown has not got it");
    }
    let name = name.to_owned();
    match condition(args, &to.acls) {
        Ok(condition) => {
            warn_if_never(args, condition.as_ref(), at.clone(), false);
            to.use_backends.push(UseBackend { name, at, condition });
        }
        // For the names alone, the rule counts even if its condition is not understood.
        Err(()) if args.lenient => {
            to.use_backends.push(UseBackend { name, at, condition: None });
        }
        Err(()) => {}
    }
}

/// Reads a `use-server` line, its first word taken.
pub(super) fn use_server(args: &mut Args<'_>, to: &mut Proxy) {
    let Some(name) = args.need("use-server", "a server's name and a condition") else { return };
    let at = args.last();
    if name.contains('%') {
        return args
            .wrong("a server's name from a format string is HAProxy's; teardown has not got it");
    }
    if !matches!(args.peek(), "if" | "unless") {
        return args.wrong_here("'use-server' expects 'if' or 'unless' and a condition");
    }
    let name = name.to_owned();
    let Ok(condition) = condition(args, &to.acls) else { return };
    warn_if_never(args, condition.as_ref(), at.clone(), false);
    to.use_servers.push(UseServer { name, at, condition });
}

/// Reads an `http-request` line, its first word taken.
pub(super) fn http_request(args: &mut Args<'_>, to: &mut Proxy, place: Places) {
    const DECIDE: [&str; 7] =
        ["allow", "deny", "return", "redirect", "tarpit", "reject", "silent-drop"];
    const OTHERS: [&str; 2] = ["set-log-level", "capture"];
    let known = [DECIDE.as_slice(), &edits::FIELDS, &edits::LINE, &OTHERS].concat();
    let later = [("use_backend", to.use_backends.len()), ("redirect", to.redirects.len())];
    let at = args.here();
    let slots = match place {
        Places::BACKEND => Slots::Declared,
        _ => Slots::Any(&mut to.captures.request),
    };
    if let Some(rule) = rule(args, &to.acls, "http-request", Place::Request, &known, slots) {
        warn_if_behind(args, &at, "http-request", &later);
        to.http_request.push(rule);
    }
}

/// Reads an `http-response` line, its first word taken.
pub(super) fn http_response(args: &mut Args<'_>, to: &mut Proxy) {
    const DECIDE: [&str; 5] = ["allow", "deny", "return", "redirect", "silent-drop"];
    const OTHERS: [&str; 3] = ["set-log-level", "set-status", "capture"];
    let known = [DECIDE.as_slice(), &edits::FIELDS, &OTHERS].concat();
    let slots = Slots::Declared;
    let rule = rule(args, &to.acls, "http-response", Place::Response, &known, slots);
    to.http_response.extend(rule);
}

/// Reads an `http-after-response` line, its first word taken.
pub(super) fn http_after_response(args: &mut Args<'_>, to: &mut Proxy) {
    let known = [["allow", "set-status"].as_slice(), &edits::FIELDS].concat();
    let slots = Slots::Declared;
    let rule = rule(args, &to.acls, "http-after-response", Place::Response, &known, slots);
    to.http_after_response.extend(rule);
}

/// Reads a rule: an action, one of those that are known or one on a variable, and its condition.
fn rule(
    args: &mut Args<'_>,
    acls: &[Acl],
    directive: &str,
    place: Place,
    known: &[&str],
    slots: Slots<'_>,
) -> Option<Rule> {
    let at = args.here();
    let word = args.need(directive, "an action such as set-header")?;
    if !is_of_variables(word) && !known.contains(&word) {
        unknown(args, directive, word, &[known, &edits::VARIABLES].concat());
        return None;
    }
    let action = action(args, word, place, slots)?;
    let condition = condition(args, acls).ok()?;
    warn_if_never(args, condition.as_ref(), at, place == Place::Response);
    Some(Rule { action, condition })
}

/// Whether it is an action on a variable, such as `set-var(txn.a)`.
fn is_of_variables(word: &str) -> bool {
    edits::VARIABLES.contains(&word.split('(').next().unwrap_or(word))
}

/// Reads what follows an action.
fn action(args: &mut Args<'_>, word: &str, place: Place, slots: Slots<'_>) -> Option<Action> {
    match word {
        "allow" => Some(Action::Allow),
        "deny" => deny(args, word, if place == Place::Request { 403 } else { 502 }, place),
        "tarpit" => deny(args, word, 500, place).map(|then| Action::Tarpit(Box::new(then))),
        "reject" => Some(Action::Reject(Parting::Closed)),
        "silent-drop" => Some(Action::Reject(Parting::Silent)),
        "return" => respond(args, place),
        "redirect" => redirect(args, place).map(Action::Redirect),
        "capture" => {
            let of = if place == Place::Request { Message::Request } else { Message::Response };
            let (at, sample) = capture::by_rule(args, place, slots)?;
            Some(Action::Capture(of, at, sample))
        }
        "set-log-level" => args.choice(word, &LOG_LEVELS).map(Action::Level),
        "set-status" => edits::status(args),
        "del-header" => edits::del(args),
        _ if edits::LINE.contains(&word) => edits::line(args, word).map(Action::Line),
        _ if is_of_variables(word) => edits::variable(args, word, place),
        _ => edits::fields(args, word, place).map(Action::Edit),
    }
}

/// Reads a `monitor` line, its first word taken.
pub(super) fn monitor(args: &mut Args<'_>, to: &mut Proxy) {
    let at = args.here();
    if args.choice("monitor", &[("fail", ())]).is_none() {
        return;
    }
    match condition(args, &to.acls) {
        Ok(Some(condition)) => {
            warn_if_never(args, Some(&condition), at, false);
            to.monitor_fails.push(condition);
        }
        Ok(None) => args.wrong_here("'monitor fail' expects 'if' or 'unless' and a condition"),
        Err(()) => {}
    }
}

/// Reads a `redirect` line: as `http-request redirect`.
pub(super) fn redirect_line(args: &mut Args<'_>, to: &mut Proxy) {
    let at = args.here();
    let Some(action) = redirect(args, Place::Request) else { return };
    let Ok(condition) = condition(args, &to.acls) else { return };
    warn_if_behind(args, &at, "redirect", &[("use_backend", to.use_backends.len())]);
    warn_if_never(args, condition.as_ref(), at, false);
    // HAProxy looks at these after the http-request rules.
    to.redirects.push(Rule { action: Action::Redirect(action), condition });
}

/// Reads a `force-persist` or `ignore-persist` line, its first word taken.
pub(super) fn persist(args: &mut Args<'_>, to: &mut Proxy, word: &str, persist: Persist) {
    let at = args.here();
    if !matches!(args.peek(), "if" | "unless") {
        args.wrong_here(format!("'{word}' expects 'if' or 'unless' and a condition"));
        return args.skip(args.line.words.len());
    }
    let Ok(Some(condition)) = condition(args, &to.acls) else { return };
    warn_if_never(args, Some(&condition), at, false);
    to.persist_rules.push(PersistRule { persist, condition });
}

/// Says that a rule comes before those of another kind, whose lines stand above it.
fn warn_if_behind(args: &mut Args<'_>, at: &Position, rule: &str, later: &[(&str, usize)]) {
    if let Some((other, _)) = later.iter().find(|(_, lines)| *lines > 0) {
        let message =
            format!("'{rule}' stands behind a '{other}', and comes before it all the same");
        args.findings.warn(at.clone(), message);
    }
}

fn unknown(args: &mut Args<'_>, directive: &str, word: &str, known: &[&str]) {
    // `set-var(NAME)`, `lua.NAME`, `track-sc0`: what follows is the user's.
    let name = word.split('(').next().unwrap_or(word);
    let family = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_theirs = name.starts_with("lua.")
        || directives::ACTION_OTHERS.iter().any(|other| [name, family].contains(other));
    let message = if is_theirs {
        format!("'{directive} {name}' is HAProxy's; teardown has not got it")
    } else {
        let hint = near::hint(word, known.iter().copied());
        format!("'{directive}' expects one of {}, not '{word}'{hint}", known.join(", "))
    };
    args.wrong(message);
}

/// Takes the name of a field that a rule changes.
pub(super) fn field_name<'a>(args: &mut Args<'a>, action: &str) -> Option<&'a str> {
    let name = any_field_name(args, action)?;
    warn_if_framing(args, name);
    Some(name)
}

/// Takes a field's name.
pub(super) fn any_field_name<'a>(args: &mut Args<'a>, action: &str) -> Option<&'a str> {
    let name = args.need(action, "a header's name")?;
    if name.is_empty() || !name.bytes().all(is_token) {
        args.wrong(format!("'{name}' is not a header's name (RFC 9110, 5.1)"));
        return None;
    }
    Some(name)
}

/// Says that a rule on this field, the word just taken, changes nothing.
fn warn_if_framing(args: &mut Args<'_>, name: &str) {
    if frames(name) {
        let at = args.last();
        let message = format!(
            "'{name}' says where a message ends: it stays what it has to be, whatever a rule says"
        );
        args.findings.warn(at, message);
    }
}

/// Takes a format string for a field's value.
fn value(args: &mut Args<'_>, action: &str, place: Place) -> Option<Format> {
    let text = args.need(action, "a value")?;
    if text.contains(['\r', '\n', '\0']) {
        args.wrong(format!("'{action}': a header's value has no line end and no NUL"));
        return None;
    }
    filled(args, action, text, place)
}

/// Reads a format string.
fn filled(args: &mut Args<'_>, action: &str, text: &str, place: Place) -> Option<Format> {
    let read = format::format(text, place);
    read.map_err(|why| args.wrong(format!("'{action}': {why}"))).ok()
}
