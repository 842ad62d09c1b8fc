//! The words of rules that answer: `deny`, `tarpit` and `return`.

use super::{field_name, filled, value};
use crate::config::args::Args;
use crate::config::error_pages;
use crate::config::format::Place;
use crate::config::model::ErrorWord;
use crate::host;
use crate::http::format::Format;
use crate::http::reply;
use crate::http::reply_template::Reply;
use crate::http::rules::Action;
use crate::http::settings::ErrorPage;
use std::sync::Arc;

/// Reads what follows `deny` and `tarpit`.
pub(super) fn deny(args: &mut Args<'_>, action: &str, status: u16, place: Place) -> Option<Action> {
    // As HAProxy has it, this stands first, and alone it is an error page.
    let status =
        if args.eat("deny_status") { args.number("deny_status", 200..=599)? } else { status };
    if matches!(args.peek(), "" | "if" | "unless") {
        return check_page(args, status).map(|()| Action::Deny(status));
    }
    let (reply, with) = response(args, action, status, place)?;
    Some(match with {
        With::Page => Action::Deny(reply.status),
        With::Own => Action::Refuse(reply),
        With::File(file) => Action::File { status: reply.status, file, refuses: true },
    })
}

/// Reads what follows `return`.
pub(super) fn respond(args: &mut Args<'_>, place: Place) -> Option<Action> {
    let (reply, with) = response(args, "return", 200, place)?;
    Some(match with {
        With::Page => Action::Page(reply.status),
        With::Own => Action::Return(reply),
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
    check_page(args, reply.status)?;
    Some(match with {
        With::Page => ErrorWord::BuiltIn(reply.status),
        With::File(file) => ErrorWord::Page(reply.status, ErrorPage::File(file)),
        With::Own => ErrorWord::Page(reply.status, ErrorPage::Reply(Arc::new(reply))),
    })
}

/// What a `return` or `deny` answers with.
#[derive(Clone, PartialEq, Eq)]
enum With {
    /// The error page of its status: `default-errorfiles`.
    Page,
    /// Fields and a body of its own, or neither.
    Own,
    /// A whole response: `errorfile`.
    File(Arc<[u8]>),
}

/// The words that say what is sent; only one of them can.
const CONTENTS: [&str; 7] =
    ["default-errorfiles", "errorfile", "errorfiles", "file", "lf-file", "lf-string", "string"];

/// Reads the words of these actions.
fn response(args: &mut Args<'_>, action: &str, status: u16, place: Place) -> Option<(Reply, With)> {
    let mut reply = Reply { status, ..Reply::default() };
    let (mut with, mut content) = (With::Own, None);
    let (mut type_at, mut fields_at) = (None, None);
    while CONTENTS.contains(&args.peek())
        || ["status", "content-type", "hdr"].contains(&args.peek())
    {
        let word = args.next()?;
        if CONTENTS.contains(&word)
            && let Some(first) = content.replace(word)
        {
            args.wrong(format!("'{word}' cannot stand beside '{first}': both say what is sent"));
            return None;
        }
        match word {
            "status" => reply.status = args.number(word, 200..=599)?,
            "content-type" => {
                type_at = Some(args.last());
                reply.content_type = Some(content_type(args)?);
            }
            "hdr" => {
                fields_at = Some(args.last());
                let name = field_name(args, word)?.to_owned();
                reply.fields.push((name, value(args, word, place)?));
            }
            "default-errorfiles" => with = With::Page,
            "errorfile" => with = With::File(error_pages::file(args, word)?),
            "errorfiles" => {
                args.wrong(format!("'{word}' of '{action}' is HAProxy's; teardown has not got it"));
                return None;
            }
            _ => reply.body = body(args, word, place)?,
        }
    }
    let has_body = !reply.body.parts.is_empty();
    if with == With::Page {
        check_page(args, reply.status)?;
    }
    if has_body && matches!(reply.status, 204 | 304) {
        args.wrong_here(format!("'{action}' with status {} has no body", reply.status));
        return None;
    }
    if has_body && reply.content_type.is_none() {
        args.wrong_here(format!("'{action}' with a body expects its 'content-type' too"));
        return None;
    }
    if let Some(at) = type_at.filter(|_| !has_body) {
        args.findings.warn(at, "this 'content-type' changes nothing: there is no body for it");
        reply.content_type = None;
    }
    if let Some(at) = fields_at.filter(|_| with != With::Own) {
        args.findings.warn(at, "this 'hdr' changes nothing: an error page is sent as it is");
    }
    Some((reply, with))
}

fn content_type(args: &mut Args<'_>) -> Option<String> {
    let kind = args.need("content-type", "a type")?;
    if kind.bytes().any(|byte| byte.is_ascii_control()) {
        args.wrong("a 'content-type' has no control characters");
        return None;
    }
    Some(kind.to_owned())
}

/// Takes what `word` says that the body is.
fn body(args: &mut Args<'_>, word: &str, place: Place) -> Option<Format> {
    if word == "string" {
        return args.need(word, "a text").map(Format::text);
    }
    if word == "lf-string" {
        let text = args.need(word, "a format string")?;
        return filled(args, word, text, place);
    }
    let path = args.need(word, "a file")?;
    match host::file(path.as_ref()) {
        Ok(bytes) if word == "file" => Some(Format::text(bytes)),
        Ok(bytes) => filled(args, word, &String::from_utf8_lossy(&bytes), place),
        Err(why) => {
            args.wrong(format!("'{word}': cannot read {path}: {why}"));
            None
        }
    }
}

/// Says so if a status has no error page.
fn check_page(args: &mut Args<'_>, status: u16) -> Option<()> {
    if reply::statuses().any(|known| known == status) {
        return Some(());
    }
    let list = error_pages::statuses();
    args.wrong(format!("there are error pages of {list}, not of {status}"));
    None
}
