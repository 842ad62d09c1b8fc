//! The words of rules that change a head.

use super::{field_name, filled, value};
use crate::config::args::Args;
use crate::config::arguments::variable as variable_name;
use crate::config::format::{Place, sample};
use crate::http::acl::TextMatch;
use crate::http::format::{Format, Part as Piece};
use crate::http::framing::Asked;
use crate::http::regex::Regex;
use crate::http::reply;
use crate::http::rules::{Action, HeadEdit, LineEdit, Names, Part, Replace, Template, is_method};
use std::sync::Arc;

/// Actions on fields.
pub(super) const FIELDS: [&str; 5] =
    ["set-header", "add-header", "del-header", "replace-header", "replace-value"];

/// How `del-header` looks for names.
const NAME_MATCHES: [(&str, Option<TextMatch>); 5] = [
    ("str", Some(TextMatch::Exact)),
    ("beg", Some(TextMatch::Begin)),
    ("end", Some(TextMatch::End)),
    ("sub", Some(TextMatch::Contains)),
    ("reg", None),
];

/// Actions on the request line.
pub(super) const LINE: [&str; 8] = [
    "set-method",
    "set-path",
    "set-pathq",
    "set-query",
    "set-uri",
    "replace-path",
    "replace-pathq",
    "replace-uri",
];

/// Actions on variables, whose name stands behind them in parentheses.
pub(super) const VARIABLES: [&str; 3] = ["set-var", "set-var-fmt", "unset-var"];

/// Reads what follows an action on fields.
pub(super) fn fields(args: &mut Args<'_>, action: &str, place: Place) -> Option<HeadEdit> {
    let name = field_name(args, action)?.into();
    Some(match action {
        "set-header" => HeadEdit::Set(name, value(args, action, place)?),
        "add-header" => HeadEdit::Add(name, value(args, action, place)?),
        _ => {
            let whole = action == "replace-header";
            HeadEdit::Replace { name, whole, replace: Box::new(replace(args, action, place)?) }
        }
    })
}

/// Reads what follows `del-header`: a name, or what names match.
pub(super) fn del(args: &mut Args<'_>) -> Option<Action> {
    if args.line.word(args.taken() + 1) != "-m" {
        let name = field_name(args, "del-header")?;
        return Some(Action::Edit(HeadEdit::Del(name.into())));
    }
    let text = args.need("del-header", "what names match")?;
    args.skip(1);
    Some(Action::Remove(match args.choice("-m", &NAME_MATCHES)? {
        Some(how) => Names::Text(how, text.to_ascii_lowercase()),
        None => Names::Regex(Regex::new(text, false).map_err(|why| args.wrong(why)).ok()?),
    }))
}

/// Reads what follows an action on the request line.
pub(super) fn line(args: &mut Args<'_>, action: &str) -> Option<LineEdit> {
    let part = match action.split_once('-').map_or("", |(_, part)| part) {
        "path" => Part::Path,
        "pathq" => Part::PathAndQuery,
        "query" => Part::Query,
        "uri" => Part::Uri,
        _ => return method(args).map(LineEdit::Method),
    };
    if action.starts_with("replace") {
        return Some(LineEdit::Replace(part, replace(args, action, Place::Request)?));
    }
    let text = args.need(action, "a format string")?;
    Some(LineEdit::Set(part, filled(args, action, text, Place::Request)?))
}

/// Reads a method, which may be known before any request is.
fn method(args: &mut Args<'_>) -> Option<Format> {
    let text = args.need("set-method", "a method")?;
    let format = filled(args, "set-method", text, Place::Request)?;
    if let [Piece::Text(text)] = format.parts.as_slice() {
        let text = std::str::from_utf8(text).unwrap_or_default();
        if !is_method(text) {
            args.wrong(format!("'{text}' is not a method's name (RFC 9110, 9.1)"));
            return None;
        }
        if Asked::of(text) != Asked::Other {
            args.wrong(format!(
                "'set-method {text}' would change where the response ends; teardown has not got it"
            ));
            return None;
        }
    }
    Some(format)
}

/// Reads a regular expression, and what takes the place of what it finds.
fn replace(args: &mut Args<'_>, action: &str, place: Place) -> Option<Replace> {
    let pattern = args.need(action, "a regular expression and what to put there")?;
    let regex = Regex::new(pattern, false).map_err(|why| args.wrong(why)).ok()?;
    let text = args.need(action, "what to put there, such as \\1 for the first group")?;
    let with = Template::new(filled(args, action, text, place)?);
    let with = with.map_err(|why| args.wrong(format!("'{action}': {why}"))).ok()?;
    Some(Replace { regex, with })
}

/// Reads a status, and the reason for it.
pub(super) fn status(args: &mut Args<'_>) -> Option<Action> {
    let status = args.number("set-status", 200..=999)?;
    if matches!(status, 204 | 304) {
        args.wrong(format!(
            "'set-status {status}' would change where the response ends; teardown has not got it"
        ));
        return None;
    }
    let reason = if args.eat("reason") {
        let text = args.need("reason", "a text")?;
        if text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            args.wrong("a reason has no control characters (RFC 9112, 4)");
            return None;
        }
        text
    } else {
        reply::reason(status)
    };
    Some(Action::Status(status, reason.into()))
}

/// Reads an action on a variable, and what the variable gets.
pub(super) fn variable(args: &mut Args<'_>, word: &str, place: Place) -> Option<Action> {
    let (action, rest) = word.split_once('(').unwrap_or((word, ""));
    let Some(name) = rest.strip_suffix(')') else {
        args.wrong(format!("'{action}' expects a variable's name: {action}(txn.NAME)"));
        return None;
    };
    if name.contains(',') {
        args.wrong(format!("conditions in '{action}' are HAProxy's; teardown has not got them"));
        return None;
    }
    let name = variable_name(name).map_err(|why| args.wrong(format!("'{action}': {why}"))).ok()?;
    let name = Arc::new(name);
    Some(match action {
        "unset-var" => Action::Unset(name),
        "set-var" => {
            let text = args.need(action, "an expression such as path or hdr(host),lower")?;
            let read = sample(text, place);
            let read = read.map_err(|why| args.wrong(format!("'{action}': {why}"))).ok()?;
            Action::Variable(name, read)
        }
        _ => {
            let text = args.need(action, "a format string")?;
            Action::VariableFormat(name, filled(args, action, text, place)?)
        }
    })
}
