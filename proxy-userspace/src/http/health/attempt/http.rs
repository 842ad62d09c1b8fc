//! An HTTP check's request as bytes, and the head of its answer.

use crate::http::chunked::{Chunked, Piece};
use crate::http::health::script::{HttpSend, TextMatch};
use std::borrow::Cow;

/// The request's bytes. Field names are in lower case, and HTTP/1.1 is told that the connection
/// ends, as HAProxy 2.6 does.
pub(super) fn head(request: &HttpSend) -> Vec<u8> {
    let HttpSend { method, target, version, headers, body } = request;
    let method = method.as_deref().unwrap_or("OPTIONS");
    let target = target.as_deref().unwrap_or("/");
    let version = version.as_deref().unwrap_or("HTTP/1.0");
    let mut text = format!("{method} {target} {version}\r\n");
    let mut says_connection = false;
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if matches!(name.as_str(), "content-length" | "transfer-encoding") {
            continue;
        }
        says_connection |= name == "connection";
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    // Where a body is usual, its absence has to be said (RFC 9110, 8.6).
    if body.is_some() || !matches!(method, "OPTIONS" | "GET" | "HEAD" | "DELETE") {
        let length = body.as_ref().map_or(0, Vec::len);
        text.push_str(&format!("content-length: {length}\r\n"));
    }
    if !says_connection && version.eq_ignore_ascii_case("HTTP/1.1") {
        text.push_str("connection: close\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body.as_deref().unwrap_or_default());
    bytes
}

/// What an answer's head says.
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) reason: String,
    length: Option<usize>,
    chunked: bool,
    fields: Vec<(String, Vec<u8>)>,
}

impl Answer {
    /// The body in what came after the head, its chunks undone, and whether no more can come.
    pub(super) fn body<'b>(&self, bytes: &'b [u8]) -> (Cow<'b, [u8]>, bool) {
        if !self.chunked {
            return (bytes.into(), self.length.is_some_and(|length| bytes.len() >= length));
        }
        let (mut body, mut chunks, mut at) = (Vec::new(), Chunked::default(), 0);
        while at < bytes.len() && !chunks.is_over() {
            match chunks.next(&bytes[at..]) {
                Ok(Piece::Data(count)) => {
                    body.extend_from_slice(&bytes[at..at + count]);
                    at += count;
                }
                Ok(Piece::Framing(count) | Piece::End(count)) => at += count,
                // What follows is no body any more.
                Err(_) => return (body.into(), true),
            }
        }
        (body.into(), chunks.is_over())
    }

    pub(super) fn has(
        &self,
        name: &str,
        value: Option<&str>,
        method: TextMatch,
        full: bool,
    ) -> bool {
        let Some(want) = value.map(str::as_bytes) else {
            return self.fields.iter().any(|field| field.0.eq_ignore_ascii_case(name));
        };
        let fits = |text: &[u8]| match method {
            TextMatch::Exact => text == want,
            TextMatch::Begin => text.starts_with(want),
            TextMatch::End => text.ends_with(want),
            TextMatch::Contains => memchr::memmem::find(text, want).is_some(),
        };
        let values = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        values.map(|field| field.1.as_slice()).any(|line| {
            if full { fits(line) } else { line.split(|&b| b == b',').any(|v| fits(v.trim_ascii())) }
        })
    }
}

/// The head, and where the body begins; none while it is not yet whole, and an error where it is
/// none.
pub(super) fn parse(received: &[u8]) -> Result<Option<(Answer, usize)>, ()> {
    let mut fields = [httparse::EMPTY_HEADER; 101];
    let mut response = httparse::Response::new(&mut fields);
    let body_at = match response.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(()),
    };
    let fields: Vec<(String, Vec<u8>)> =
        response.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
    let chunked = fields.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("transfer-encoding")
            && value.trim_ascii().eq_ignore_ascii_case(b"chunked")
    });
    let length = fields.iter().find(|f| f.0.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|f| std::str::from_utf8(&f.1).ok()?.trim().parse().ok());
    Ok(Some((
        Answer {
            code: response.code.unwrap_or_default(),
            reason: response.reason.unwrap_or_default().to_owned(),
            length,
            chunked,
            fields,
        },
        body_at,
    )))
}
