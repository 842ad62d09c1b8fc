//! Responses that the proxy makes itself: HAProxy's error pages, error files, and answers.

use std::io::Write as _;

use super::{
    framing::frames,
    hooks::Answer,
    rewrite::Say,
    sample::View,
    settings::{ErrorPage, ErrorPages},
};

/// What stands for a status that has no page.
const INTERNAL: (u16, &str, &str) =
    (500, "Internal Server Error", "An internal server error occurred.");

/// Status, reason, and the sentence of HAProxy 2.6's page.
const PAGES: [(u16, &str, &str); 19] = [
    (200, "OK", "Service ready."),
    (400, "Bad request", "Your browser sent an invalid request."),
    (401, "Unauthorized", "You need a valid user and password to access this content."),
    (403, "Forbidden", "Request forbidden by administrative rules."),
    (404, "Not Found", "The resource could not be found."),
    (
        405,
        "Method Not Allowed",
        "A request was made of a resource using a request method not supported by that resource",
    ),
    (407, "Unauthorized", "You need a valid user and password to access this content."),
    (408, "Request Time-out", "Your browser didn't send a complete request in time."),
    (410, "Gone", "The resource is no longer available and will not be available again."),
    (413, "Payload Too Large", "The request entity exceeds the maximum allowed."),
    (421, "Misdirected Request", "Request sent to a non-authoritative server."),
    (422, "Unprocessable Content", "The server cannot process the contained instructions."),
    (425, "Too Early", "Your browser sent early data."),
    (429, "Too Many Requests", "You have sent too many requests in a given amount of time."),
    INTERNAL,
    (
        501,
        "Not Implemented",
        ".The server does not support the functionality required to fulfill the request.",
    ),
    (502, "Bad Gateway", "The server returned an invalid or incomplete response."),
    (503, "Service Unavailable", "No server is available to handle this request."),
    (504, "Gateway Time-out", "The server didn't respond in time."),
];

/// The statuses that have a page, which an `errorfile` may replace.
pub(crate) fn statuses() -> impl Iterator<Item = u16> {
    PAGES.iter().map(|page| page.0)
}

/// The reason phrase of a status; where it is none of IANA's that of its class, as HAProxy's.
pub(crate) fn reason(status: u16) -> &'static str {
    let named = http::StatusCode::from_u16(status).ok();
    named.and_then(|status| status.canonical_reason()).unwrap_or(match status / 100 {
        1 => "Informational",
        2 => "Success",
        3 => "Redirection",
        4 => "Client Error",
        5 => "Server Error",
        _ => "Other",
    })
}

/// The status, the reason and the sentence of the page of `status`; as HAProxy does, those of 500
/// where it has none.
fn page_of(status: u16) -> (u16, &'static str, &'static str) {
    *PAGES.iter().find(|page| page.0 == status).unwrap_or(&INTERNAL)
}

/// The words of the page of `status`.
pub(crate) fn page(status: u16) -> String {
    let (status, reason, sentence) = page_of(status);
    format!("<html><body><h1>{status} {reason}</h1>\n{sentence}\n</body></html>\n")
}

/// Writes the error page of `status`, from the first of `pages` that has one of its own. One that
/// is to be made is made by what is known `now`; where nothing is, the built-in one takes its place.
pub(crate) fn error(
    out: &mut Vec<u8>,
    status: u16,
    pages: [Option<&ErrorPages>; 2],
    say: Say,
    now: Option<&View<'_>>,
) {
    match (pages.into_iter().flatten().find_map(|pages| pages.0.get(&status)), now) {
        (Some(ErrorPage::File(file)), _) => return from_file(out, file, say),
        (Some(ErrorPage::Reply(reply)), Some(now)) => return answer(out, &reply.answer(now), say),
        _ => {}
    }
    let (status, reason, _) = page_of(status);
    let body = page(status);
    let _ = write!(
        out,
        "HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\n\
         Content-Type: text/html\r\n{}\r\n{body}",
        body.len(),
        connection(say),
    );
}

/// Whether these bytes can be an `errorfile`: nothing, which is to close without a word, or a whole
/// response whose body is as long as it says.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_file(file: &[u8]) -> Result<(), &'static str> {
    if file.is_empty() {
        return Ok(());
    }
    let (status, head, body) = split(file)
        .ok_or("it is no HTTP/1 response: a status line, fields, an empty line, then the body")?;
    if status < 200 {
        return Err("its status is that of an interim response: write one from 200 on");
    }
    if is_bodiless(status) && !body.is_empty() {
        return Err("a response of status 204 or 304 has no body: leave that out");
    }
    let mut lengths = 0;
    for (name, value) in head.split(|&b| b == b'\n').filter_map(field) {
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err("its body cannot be in chunks: leave Transfer-Encoding out");
        }
        if !name.eq_ignore_ascii_case(b"content-length") {
            continue;
        }
        lengths += 1;
        if std::str::from_utf8(value).ok().and_then(|n| n.parse().ok()) != Some(body.len()) {
            return Err("its body is not as long as its Content-Length: leave that out");
        }
    }
    if lengths > 1 { Err("it has several Content-Length: leave them out") } else { Ok(()) }
}

/// Whether responses of this status end with their heads, and say nothing of a length (RFC 9110, 8.6).
fn is_bodiless(status: u16) -> bool {
    matches!(status, 204 | 304)
}

/// An `errorfile`'s status, its head up to its empty line, and its body; none if it has no whole head.
/// Line ends may be bare LF.
fn split(file: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let mut fields = [httparse::EMPTY_HEADER; 101];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = response.parse(file) else { return None };
    let (head, body) = file.split_at(length);
    Some((response.code?, head, body))
}

/// Name and value of a field's line.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&b| b == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

/// Writes an `errorfile`: its own head with this connection's Connection field. An empty one, as of
/// `/dev/null`, is nothing.
pub(crate) fn from_file(out: &mut Vec<u8>, file: &[u8], say: Say) {
    let Some((status, head, body)) = split(file) else { return };
    let mut length = is_bodiless(status);
    let lines = head.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in lines.filter(|line| !line.is_empty()) {
        let name = field(line).map_or(line, |field| field.0);
        if name.eq_ignore_ascii_case(b"connection") {
            continue;
        }
        let line = match line.strip_prefix(b"HTTP/1.0 ") {
            Some(rest) => {
                out.extend_from_slice(b"HTTP/1.1 ");
                rest
            }
            None => line,
        };
        length |= name.eq_ignore_ascii_case(b"content-length");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    if !length {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    out.extend_from_slice(connection(say).as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

/// Writes an answer of the rules.
pub(crate) fn answer(out: &mut Vec<u8>, answer: &Answer, say: Say) {
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    if !is_bodiless(answer.status) {
        let _ = write!(out, "Content-Length: {}\r\n", answer.body.len());
    }
    if let Some(kind) = &answer.content_type {
        let _ = write!(out, "Content-Type: {kind}\r\n");
    }
    for (name, value) in &answer.fields {
        if frames(name) || name.eq_ignore_ascii_case("connection") {
            continue;
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(connection(say).as_bytes());
    out.extend_from_slice(b"\r\n");
    if !is_bodiless(answer.status) {
        out.extend_from_slice(&answer.body);
    }
}

/// Cuts a response off after its head, for HEAD.
pub(crate) fn head_only(out: &mut Vec<u8>) {
    if let Some(end) = out.windows(4).position(|window| window == b"\r\n\r\n") {
        out.truncate(end + 4);
    }
}

fn connection(say: Say) -> &'static str {
    match say {
        Say::Close => "Connection: close\r\n",
        Say::KeepAlive => "Connection: keep-alive\r\n",
        Say::Nothing | Say::Upgrade | Say::AsReceived => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, sync::Arc};

    fn text(status: u16, pages: &ErrorPages, say: Say) -> String {
        let mut out = Vec::new();
        error(&mut out, status, [None, Some(pages)], say, None);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn pages_are_haproxys() {
        let page = text(503, &ErrorPages::default(), Say::Nothing);
        assert!(page.starts_with("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 107\r\n"));
        assert!(page.ends_with(
            "\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\n\
             No server is available to handle this request.\n</body></html>\n"
        ));
        assert!(text(400, &ErrorPages::default(), Say::Close).contains("Connection: close\r\n"));
        assert!(
            text(407, &ErrorPages::default(), Say::Close).contains("<h1>407 Unauthorized</h1>")
        );
    }

    #[test]
    fn a_file_takes_the_pages_place() {
        let file: Arc<[u8]> = b"HTTP/1.0 503 Busy\nConnection: close\nX: y\n\nwait\n"[..].into();
        let pages = ErrorPages(BTreeMap::from([(503, ErrorPage::File(file))]));
        let page = text(503, &pages, Say::Nothing);
        assert_eq!(page, "HTTP/1.1 503 Busy\r\nX: y\r\nContent-Length: 5\r\n\r\nwait\n");
    }

    #[test]
    fn a_file_is_a_whole_response_or_nothing() {
        let good = ["", "HTTP/1.0 503 X\n\nbody", "HTTP/1.1 503 X\r\nContent-Length: 2\r\n\n\nab"];
        let rest = ["HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 204 X\n\n"];
        for file in [good[0], good[1], rest[0], rest[1]] {
            assert_eq!(check_file(file.as_bytes()), Ok(()), "{file:?}");
        }
        for (file, why) in [
            ("just text", "it is no"),
            ("HTTP/1.0 503 X\r\nFoo: bar\r\n", "it is no"),
            (good[2], "its body is not"),
            ("HTTP/1.0 503 X\nContent-Length: 100\n\nabc", "its body is not"),
            ("HTTP/1.1 503 X\nContent-Length: 3\nContent-Length: 3\n\nabc", "it has several"),
            ("HTTP/1.1 304 X\n\nHTTP/1.1 200 X\n\n", "a response of status"),
            ("HTTP/1.1 103 X\n\n", "its status is"),
            ("HTTP/1.1 503 X\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n", "its body cannot"),
        ] {
            let said = check_file(file.as_bytes()).expect_err(file);
            assert!(said.starts_with(why), "{file:?}: {said}");
        }
        let pages = ErrorPages(BTreeMap::from([(503, ErrorPage::File(Arc::from(&b""[..])))]));
        assert_eq!(text(503, &pages, Say::Close), "");
    }

    #[test]
    fn answers_frame_themselves() {
        let mut out = Vec::new();
        let made = Answer {
            status: 200,
            content_type: Some("text/plain".into()),
            body: b"hi".to_vec(),
            ..Answer::default()
        };
        answer(&mut out, &made, Say::Close);
        let text = String::from_utf8(out.clone()).expect("text");
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\
             Connection: close\r\n\r\nhi"
        );
        head_only(&mut out);
        assert!(out.ends_with(b"close\r\n\r\n"));
    }
}
