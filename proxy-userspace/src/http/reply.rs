//! Responses that the proxy makes itself: HAProxy's error pages, error files, and answers.

use std::io::Write as _;

use super::{framing::frames, hooks::Answer, rewrite::Say, settings::ErrorPages};

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
    (500, "Internal Server Error", "An internal server error occurred."),
    (
        501,
        "Not Implemented",
        ".The server does not support the functionality required to fulfill the request.",
    ),
    (502, "Bad Gateway", "The server returned an invalid or incomplete response."),
    (503, "Service Unavailable", "No server is available to handle this request."),
    (504, "Gateway Time-out", "The server didn't respond in time."),
];

/// The reason phrase of a status that has no page.
fn reason(status: u16) -> &'static str {
    let named = http::StatusCode::from_u16(status).ok();
    named.and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}

/// Writes the error page of `status`, from the first of `pages` that has one of its own.
/// `body` says whether the body is sent: it is not for HEAD.
pub(crate) fn error(out: &mut Vec<u8>, status: u16, pages: [Option<&ErrorPages>; 2], say: Say) {
    let own = pages.into_iter().flatten().find_map(|pages| pages.0.get(&status));
    if let Some(file) = own {
        return from_file(out, file, say);
    }
    let page = PAGES.iter().find(|page| page.0 == status);
    // As HAProxy does for a status it has no page for.
    let (status, reason, sentence) = *page.unwrap_or(&PAGES[14]);
    // The file of HAProxy calls 407's page by 401's words, and 401's title in both.
    let title = if status == 407 { 401 } else { status };
    let body = format!("<html><body><h1>{title} {reason}</h1>\n{sentence}\n</body></html>\n");
    let _ = write!(
        out,
        "HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\n\
         Content-Type: text/html\r\n{}\r\n{body}",
        body.len(),
        connection(say),
    );
}

/// Writes an `errorfile`: its own head with this connection's Connection field. Line ends may be
/// bare LF in the file.
fn from_file(out: &mut Vec<u8>, file: &[u8], say: Say) {
    let find = |end: &[u8]| file.windows(end.len()).position(|window| window == end);
    let (head, body) = match (find(b"\r\n\r\n"), find(b"\n\n")) {
        (Some(crlf), lf) if lf.is_none_or(|lf| crlf < lf) => (&file[..crlf], &file[crlf + 4..]),
        (_, Some(lf)) => (&file[..lf], &file[lf + 2..]),
        _ => (file, &b""[..]),
    };
    let mut length = false;
    for line in head.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let name = line.split(|&b| b == b':').next().unwrap_or(line);
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
    if !matches!(answer.status, 204 | 304) {
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
    if !matches!(answer.status, 204 | 304) {
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
        error(&mut out, status, [None, Some(pages)], say);
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
    }

    #[test]
    fn a_file_takes_the_pages_place() {
        let file: Arc<[u8]> = b"HTTP/1.0 503 Busy\nConnection: close\nX: y\n\nwait\n"[..].into();
        let pages = ErrorPages(BTreeMap::from([(503, file)]));
        let page = text(503, &pages, Say::Nothing);
        assert_eq!(page, "HTTP/1.1 503 Busy\r\nX: y\r\nContent-Length: 5\r\n\r\nwait\n");
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
