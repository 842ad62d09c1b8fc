//! What takes the place of the proxy's own error pages: `errorfile`, `errorloc`, `http-error`,
//! `errorfiles` and the sections `http-errors`.

use super::args::Args;
use super::error_pages::{file, status};
use super::model::{ErrorWord, HttpErrors};
use super::rule_lines::error_reply;
use crate::http::settings::ErrorPage;
use crate::near;

/// Reads an `errorfile` line, its first word taken.
pub(super) fn error_file(args: &mut Args<'_>) -> Option<(u16, ErrorPage)> {
    let code = status(args, "errorfile", "a status code and a file")?;
    Some((code, ErrorPage::File(file(args, "errorfile")?)))
}

/// Reads an `errorloc`, `errorloc302` or `errorloc303` line, its first word taken.
pub(super) fn error_location(args: &mut Args<'_>, word: &str, to: &mut Vec<ErrorWord>) {
    let Some(code) = status(args, word, "a status code and a location") else { return };
    let Some(location) = args.need(word, "a location") else { return };
    if location.bytes().any(|byte| byte.is_ascii_control()) {
        return args.wrong(format!("'{word}': a location has no control characters"));
    }
    let line = if word == "errorloc303" { "303 See Other" } else { "302 Found" };
    let page = format!(
        "HTTP/1.1 {line}\r\nCache-Control: no-cache\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n"
    );
    to.push(ErrorWord::Page(code, ErrorPage::File(page.into_bytes().into())));
}

/// Reads an `http-error` line, its first word taken.
pub(super) fn http_error(args: &mut Args<'_>, to: &mut Vec<ErrorWord>) {
    if let Some(word) = error_reply(args) {
        to.push(word);
    }
}

/// Reads an `errorfiles` line, its first word taken.
pub(super) fn error_files(args: &mut Args<'_>, to: &mut Vec<ErrorWord>) {
    let Some(name) = args.need("errorfiles", "the name of an 'http-errors' section") else {
        return;
    };
    let (name, at) = (name.to_owned(), args.last());
    let mut codes = Vec::new();
    while !args.peek().is_empty() {
        let Some(code) = status(args, "errorfiles", "status codes") else { return };
        codes.push(code);
    }
    to.push(ErrorWord::Section { name, at, codes });
}

/// Reads a line of an `http-errors` section.
pub(super) fn of_section(args: &mut Args<'_>, to: &mut HttpErrors) {
    let Some(word) = args.next() else { return };
    if word != "errorfile" {
        let hint = near::hint(word, ["errorfile"]);
        return args.wrong(format!("unknown keyword '{word}' in 'http-errors' section{hint}"));
    }
    to.pages.extend(error_file(args));
    args.end(word);
}
