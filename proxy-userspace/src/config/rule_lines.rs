//! `acl`, `use_backend`, `http-request` and `http-response` lines.

mod redirect;

use super::acl_words::{condition, test, warn_if_never};
use super::args::Args;
use super::expression::format;
use super::model::{Acl, Proxy, UseBackend};
use crate::http::format::{Format, Part};
use crate::http::framing::frames;
use crate::http::reply;
use crate::http::rules::{HeadEdit, Reply, RequestAction, Rule};
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
    if let Some(test) = test(args, None) {
        to.acls.push(Acl { name, test });
    }
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
    const KNOWN: [&str; 7] =
        ["allow", "deny", "return", "redirect", "set-header", "add-header", "del-header"];
    const OTHERS: [&str; 44] = [
        "add-acl",
        "auth",
        "cache-use",
        "capture",
        "del-acl",
        "del-map",
        "disable-l7-retry",
        "do-resolve",
        "early-hint",
        "normalize-uri",
        "reject",
        "replace-header",
        "replace-path",
        "replace-pathq",
        "replace-uri",
        "replace-value",
        "sc-inc-gpc",
        "sc-inc-gpc0",
        "sc-inc-gpc1",
        "sc-set-gpt",
        "sc-set-gpt0",
        "send-spoe-group",
        "set-dst",
        "set-dst-port",
        "set-log-level",
        "set-map",
        "set-mark",
        "set-method",
        "set-nice",
        "set-path",
        "set-pathq",
        "set-priority-class",
        "set-query",
        "set-src",
        "set-src-port",
        "set-timeout",
        "set-tos",
        "set-uri",
        "set-var",
        "silent-drop",
        "strict-mode",
        "tarpit",
        "use-service",
        "wait-for-body",
    ];
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
        "set-header" | "add-header" | "del-header" => {
            head_edit(args, word, false).map(RequestAction::Edit)
        }
        _ => return unknown(args, "http-request", word, &KNOWN, &OTHERS),
    };
    let Some(action) = action else { return };
    let Ok(condition) = condition(args, &to.acls) else { return };
    warn_if_never(args, condition.as_ref(), at, false);
    to.http_request.push(Rule { action, condition });
}

/// Reads an `http-response` line, its first word taken.
pub(super) fn http_response(args: &mut Args<'_>, to: &mut Proxy) {
    const KNOWN: [&str; 3] = ["set-header", "add-header", "del-header"];
    const OTHERS: [&str; 19] = [
        "allow",
        "cache-store",
        "capture",
        "deny",
        "redirect",
        "replace-header",
        "replace-value",
        "return",
        "sc-inc-gpc0",
        "sc-set-gpt0",
        "set-log-level",
        "set-map",
        "set-mark",
        "set-nice",
        "set-status",
        "set-tos",
        "set-var",
        "silent-drop",
        "wait-for-body",
    ];
    let at = args.here();
    let Some(word) = args.need("http-response", "an action such as set-header") else { return };
    let action = match word {
        "set-header" | "add-header" | "del-header" => head_edit(args, word, true),
        _ => return unknown(args, "http-response", word, &KNOWN, &OTHERS),
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
    warn_if_never(args, condition.as_ref(), at, false);
    // HAProxy looks at these after the http-request rules.
    to.redirects.push(Rule { action: RequestAction::Redirect(action), condition });
}

fn unknown(args: &mut Args<'_>, directive: &str, word: &str, known: &[&str], others: &[&str]) {
    let name = word.split('(').next().unwrap_or(word);
    let message = if others.contains(&name) {
        format!("'{directive} {name}' is HAProxy's; teardown has not got it")
    } else {
        let hint = near::hint(word, known.iter().copied());
        format!("'{directive}' expects one of {}, not '{word}'{hint}", known.join(", "))
    };
    args.wrong(message);
}

fn head_edit(args: &mut Args<'_>, action: &str, of_response: bool) -> Option<HeadEdit> {
    let name = args.need(action, "a header's name")?;
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !name.bytes().all(is_token) {
        args.wrong(format!("'{name}' is not a header's name (RFC 9110, 5.1)"));
        return None;
    }
    warn_if_framing(args, name);
    let name = name.into();
    if action == "del-header" {
        if args.peek() == "-m" {
            args.wrong_here("'-m' of 'del-header' is HAProxy's; teardown has not got it");
            return None;
        }
        return Some(HeadEdit::Del(name));
    }
    let value = value(args, action, of_response)?;
    Some(if action == "set-header" {
        HeadEdit::Set(name, value)
    } else {
        HeadEdit::Add(name, value)
    })
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

/// Takes a format string, and refuses what a rule of this kind cannot know.
fn value(args: &mut Args<'_>, action: &str, of_response: bool) -> Option<Format> {
    let text = args.need(action, "a value")?;
    let read = format(text).and_then(|format| {
        if text.contains(['\r', '\n', '\0']) {
            return Err("a header's value has no line end and no NUL".to_owned());
        }
        let unknown = format.parts.iter().any(|part| match part {
            Part::Sample(sample) if of_response => sample.needs_request(),
            Part::Sample(sample) => sample.needs_response(),
            Part::Variable(variable) => of_response && variable.needs_request(),
            Part::Text(_) => false,
        });
        if unknown {
            let other = if of_response { "request" } else { "response" };
            return Err(format!("it takes something from the {other}, which is not known here"));
        }
        Ok(format)
    });
    match read {
        Ok(format) => Some(format),
        Err(why) => {
            args.wrong(format!("'{action}': {why}"));
            None
        }
    }
}

fn deny(args: &mut Args<'_>) -> Option<RequestAction> {
    let (reply, with) = response(args, "deny", 403)?;
    Some(match with {
        With::Status | With::Page => RequestAction::Deny(reply.status),
        With::Own => RequestAction::Return(reply),
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
            "status" | "deny_status" => {
                args.skip(1);
                reply.status = args.number("status", 200..=599)?;
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
                let value = value(args, "hdr", false)?;
                reply.fields.push((name, value));
            }
            "string" => {
                args.skip(1);
                reply.body = Format::text(args.need("string", "a text")?);
            }
            "lf-string" => {
                args.skip(1);
                reply.body = body_format(args, "lf-string", None)?;
            }
            word @ ("file" | "lf-file") => {
                args.skip(1);
                let path = args.need(word, "a file")?;
                match host::file(path.as_ref()) {
                    Ok(bytes) if word == "file" => reply.body = Format::text(bytes),
                    Ok(bytes) => {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        reply.body = body_format(args, word, Some(&text))?;
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
    if with == With::Page && !reply::statuses().any(|status| status == reply.status) {
        let list: Vec<_> = reply::statuses().map(|status| status.to_string()).collect();
        let list = list.join(", ");
        args.wrong(format!("'default-errorfiles' has a page of {list}, not of {}", reply.status));
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

fn body_format(args: &mut Args<'_>, word: &str, text: Option<&str>) -> Option<Format> {
    let text = match text {
        Some(text) => text,
        None => args.need(word, "a format string")?,
    };
    match format(text) {
        Ok(format) => Some(format),
        Err(why) => {
            args.wrong(format!("'{word}': {why}"));
            None
        }
    }
}
