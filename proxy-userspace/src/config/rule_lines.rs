//! `acl`, `use_backend`, `http-request` and `http-response` lines.

mod edits;
mod redirect;

use super::acl_words::{condition, never, test, warn_if_never};
use super::args::Args;
use super::directives;
use super::format::{self, Place};
use super::model::{Acl, Proxy, UseBackend};
use super::token::Position;
use crate::http::format::Format;
use crate::http::framing::frames;
use crate::http::reply;
use crate::http::rules::{Reply, RequestAction, Rule};
use crate::{host, near};
use redirect::redirect;

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

/// Reads an `http-request` line, its first word taken.
pub(super) fn http_request(args: &mut Args<'_>, to: &mut Proxy) {
    let at = args.here();
    let Some(word) = args.need("http-request", "an action such as deny") else { return };
    let action = match word {
        "allow" => Some(RequestAction::Allow),
        "deny" => deny(args),
        "return" => response(args, "return", 200).map(|(reply, with)| match with {
            With::Page => RequestAction::Page(reply.status),
            With::Status | With::Own => RequestAction::Return(reply),
        }),
        "redirect" => redirect(args).map(RequestAction::Redirect),
        _ if edits::FIELDS.contains(&word) => {
            edits::fields(args, word, Place::Request).map(RequestAction::Edit)
        }
        _ if edits::LINE.contains(&word) => edits::line(args, word).map(RequestAction::Line),
        _ => {
            let known = ["allow", "deny", "return", "redirect"];
            let known = [known.as_slice(), &edits::FIELDS, &edits::LINE].concat();
            return unknown(args, "http-request", word, &known);
        }
    };
    let Some(action) = action else { return };
    let Ok(condition) = condition(args, &to.acls) else { return };
    let later = [("use_backend", to.use_backends.len()), ("redirect", to.redirects.len())];
    warn_if_behind(args, &at, "http-request", &later);
    warn_if_never(args, condition.as_ref(), at, false);
    to.http_request.push(Rule { action, condition });
}

/// Reads an `http-response` line, its first word taken.
pub(super) fn http_response(args: &mut Args<'_>, to: &mut Proxy) {
    let at = args.here();
    let Some(word) = args.need("http-response", "an action such as set-header") else { return };
    let action = match word {
        _ if edits::FIELDS.contains(&word) => edits::fields(args, word, Place::Response),
        _ => return unknown(args, "http-response", word, &edits::FIELDS),
    };
    let Some(action) = action else { return };
    let Ok(condition) = condition(args, &to.acls) else { return };
    warn_if_never(args, condition.as_ref(), at, true);
    to.http_response.push(Rule { action, condition });
}

/// Reads a `redirect` line: as `http-request redirect`.
pub(super) fn redirect_line(args: &mut Args<'_>, to: &mut Proxy) {
    let at = args.here();
    let Some(action) = redirect(args) else { return };
    let Ok(condition) = condition(args, &to.acls) else { return };
    warn_if_behind(args, &at, "redirect", &[("use_backend", to.use_backends.len())]);
    warn_if_never(args, condition.as_ref(), at, false);
    // HAProxy looks at these after the http-request rules.
    to.redirects.push(Rule { action: RequestAction::Redirect(action), condition });
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

fn deny(args: &mut Args<'_>) -> Option<RequestAction> {
    let (reply, with) = response(args, "deny", 403)?;
    Some(match with {
        With::Status | With::Page => RequestAction::Deny(reply.status),
        With::Own => RequestAction::Refuse(reply),
    })
}

/// What a `return` or `deny` says of its response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    /// At most its status, which for `deny` means the error page.
    Status,
    /// `default-errorfiles`: the error page of its status.
    Page,
    /// Fields or a body.
    Own,
}

/// Reads the words of `return` and `deny`.
fn response(args: &mut Args<'_>, action: &str, status: u16) -> Option<(Reply, With)> {
    let mut reply = Reply { status, ..Reply::default() };
    let mut with = With::Status;
    loop {
        match args.peek() {
            word @ ("status" | "deny_status") => {
                args.skip(1);
                reply.status = args.number("status", 200..=599)?;
                // As HAProxy has it: only 'deny_status' stands for an error page.
                if word == "status" && action == "deny" && with == With::Status {
                    with = With::Own;
                }
                continue;
            }
            "default-errorfiles" => {
                args.skip(1);
                with = With::Page;
                continue;
            }
            "content-type" => {
                args.skip(1);
                reply.content_type = Some(args.need("content-type", "a type")?.to_owned());
            }
            "hdr" => {
                args.skip(1);
                let name = args.need("hdr", "a header's name and value")?.to_owned();
                warn_if_framing(args, &name);
                let value = value(args, "hdr", Place::Request)?;
                reply.fields.push((name, value));
            }
            "string" => {
                args.skip(1);
                reply.body = Format::text(args.need("string", "a text")?);
            }
            "lf-string" => {
                args.skip(1);
                let text = args.need("lf-string", "a format string")?;
                reply.body = filled(args, "lf-string", text, Place::Request)?;
            }
            word @ ("file" | "lf-file") => {
                args.skip(1);
                let path = args.need(word, "a file")?;
                match host::file(path.as_ref()) {
                    Ok(bytes) if word == "file" => reply.body = Format::text(bytes),
                    Ok(bytes) => {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        reply.body = filled(args, word, &text, Place::Request)?;
                    }
                    Err(why) => {
                        args.wrong(format!("'{word}': cannot read {path}: {why}"));
                        return None;
                    }
                }
            }
            word @ ("errorfile" | "errorfiles") => {
                args.skip(1);
                args.wrong(format!("'{word}' of '{action}' is HAProxy's; teardown has not got it"));
                return None;
            }
            _ => break,
        }
        if with == With::Status {
            with = With::Own;
        }
    }
    let has_page = || reply::statuses().any(|status| status == reply.status);
    if (with == With::Page || (with == With::Status && action == "deny")) && !has_page() {
        let list: Vec<_> = reply::statuses().map(|status| status.to_string()).collect();
        let list = list.join(", ");
        args.wrong(format!("there are error pages of {list}, not of {}", reply.status));
        return None;
    }
    if with == With::Own && matches!(reply.status, 204 | 304) && !reply.body.parts.is_empty() {
        args.wrong_here(format!("'{action}' with status {} has no body", reply.status));
        return None;
    }
    if reply.body.parts.is_empty() {
        reply.content_type = None;
    } else if reply.content_type.is_none() {
        args.wrong_here(format!("'{action}' with a body expects its 'content-type' too"));
        return None;
    }
    Some((reply, with))
}
