//! The words of rules that answer: `deny`, `tarpit` and `return`.

use super::{field_name, filled, value};
use crate::config::args::Args;
use crate::config::error_pages;
use crate::config::format::Place;
use crate::config::model::ErrorWord;
use crate::host;
use crate::http::format::Format;
use crate::http::reply;
use crate::http::rules::{Action, Reply};
use crate::http::settings::ErrorPage;
use std::sync::Arc;

/// Reads what follows `deny` and `tarpit`.
pub(super) fn deny(args: &mut Args<'_>, action: &str, status: u16, place: Place) -> Option<Action> {
    let (reply, with) = response(args, action, status, place)?;
    Some(match with {
        With::Status | With::Page => Action::Deny(reply.status),
        With::Own => Action::Refuse(reply),
        With::File(file) => Action::File { status: reply.status, file, refuses: true },
    })
}

/// Reads what follows `return`.
pub(super) fn respond(args: &mut Args<'_>, place: Place) -> Option<Action> {
    let (reply, with) = response(args, "return", 200, place)?;
    Some(match with {
        With::Page => Action::Page(reply.status),
        With::Status | With::Own => Action::Return(reply),
        With::File(file) => Action::File { status: reply.status, file, refuses: false },
    })
}

/// Reads what follows `http-error`.
pub(in crate::config) fn error_reply(args: &mut Args<'_>) -> Option<ErrorWord> {
    if args.peek() != "status" {
        args.wrong_here("'http-error' expects 'status', a status code, and what to answer");
        return None;
    }
    let word = args.line.words.get(args.taken() + 2).map_or("", |word| word.text.as_str());
    if word == "errorfiles" {
        args.skip(1);
        let code = error_pages::status(args, "status", "a status code")?;
        args.skip(1);
        let name = args.need(word, "the name of an 'http-errors' section")?.to_owned();
        return Some(ErrorWord::Section { name, at: args.last(), codes: vec![code] });
    }
    let (reply, with) = response(args, "http-error", 0, Place::Request)?;
    Some(match with {
        With::Page => ErrorWord::BuiltIn(reply.status),
        With::File(file) => ErrorWord::Page(reply.status, ErrorPage::File(file)),
        With::Status | With::Own => {
            ErrorWord::Page(reply.status, ErrorPage::Reply(Arc::new(reply)))
        }
    })
}

/// What a `return` or `deny` says of its response.
#[derive(Clone, PartialEq, Eq)]
enum With {
    /// At most its status, which but for `return` means the error page.
    Status,
    /// `default-errorfiles`: the error page of its status.
    Page,
    /// Fields or a body.
    Own,
    /// `errorfile`: a whole response.
    File(Arc<[u8]>),
}

/// Reads the words of these actions.
fn response(args: &mut Args<'_>, action: &str, status: u16, place: Place) -> Option<(Reply, With)> {
    let mut reply = Reply { status, ..Reply::default() };
    let mut with = With::Status;
    loop {
        match args.peek() {
            word @ ("status" | "deny_status") => {
                args.skip(1);
                reply.status = args.number("status", 200..=599)?;
                // As HAProxy has it: only 'deny_status' stands for an error page.
                if word == "status" && action != "return" && with == With::Status {
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
                let kind = args.need("content-type", "a type")?;
                if kind.bytes().any(|byte| byte.is_ascii_control()) {
                    args.wrong("a 'content-type' has no control characters");
                    return None;
                }
                reply.content_type = Some(kind.to_owned());
            }
            "hdr" => {
                args.skip(1);
                let name = field_name(args, "hdr")?.to_owned();
                let value = value(args, "hdr", place)?;
                reply.fields.push((name, value));
            }
            "string" => {
                args.skip(1);
                reply.body = Format::text(args.need("string", "a text")?);
            }
            "lf-string" => {
                args.skip(1);
                let text = args.need("lf-string", "a format string")?;
                reply.body = filled(args, "lf-string", text, place)?;
            }
            word @ ("file" | "lf-file") => {
                args.skip(1);
                let path = args.need(word, "a file")?;
                match host::file(path.as_ref()) {
                    Ok(bytes) if word == "file" => reply.body = Format::text(bytes),
                    Ok(bytes) => {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        reply.body = filled(args, word, &text, place)?;
                    }
                    Err(why) => {
                        args.wrong(format!("'{word}': cannot read {path}: {why}"));
                        return None;
                    }
                }
            }
            "errorfile" => {
                args.skip(1);
                with = With::File(error_pages::file(args, "errorfile")?);
                continue;
            }
            word @ "errorfiles" => {
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
    let is_page = match action {
        "return" => with == With::Page,
        "http-error" => true,
        _ => matches!(with, With::Status | With::Page),
    };
    if is_page && !has_page() {
        let list = error_pages::statuses();
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
