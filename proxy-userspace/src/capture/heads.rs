//! HTTP/1 heads in captured bytes: what the connection was asked and answered.
//!
//! Nothing is reassembled: a head is read where a segment begins with one, as far as the snap
//! length has kept it.

use proxy_common::segment::Segment;
use proxy_common::seq::{after, before};

/// Header fields that are looked at in one head.
const FIELDS: usize = 64;
/// Bytes of a request's target that are kept.
const TARGET: usize = 80;

/// The last request, and what was answered to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// Requests seen.
    pub requests: u32,
    /// Responses seen, interim ones (1xx) apart.
    pub responses: u32,
    /// The last request.
    pub request: Option<Request>,
    /// The last response since then.
    pub response: Option<Response>,
    /// The sequence number that the last response of all begins at.
    responded: Option<u32>,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Box<str>,
    /// The target, cut to a readable length.
    pub target: Box<str>,
    /// HTTP/1.0.
    pub is_1_0: bool,
    /// `Connection` says `close`.
    pub close: bool,
    /// `Connection` says `keep-alive`.
    pub keep_alive: bool,
    /// The sequence number that it begins at.
    pub seq: u32,
}

/// A response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// HTTP/1.0.
    pub is_1_0: bool,
    /// `Connection` says `close`.
    pub close: bool,
    /// `Connection` says `keep-alive`.
    pub keep_alive: bool,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// `Transfer-Encoding` is there.
    pub chunked: bool,
    /// The sequence number that it begins at.
    pub seq: u32,
    /// The sequence number behind the head, where it was captured to its end.
    pub body: Option<u32>,
}

impl Heads {
    /// Whether the last exchange has told that the connection ends with it (RFC 9112, 9.3).
    #[must_use]
    pub fn promise_close(&self) -> bool {
        let (Some(request), Some(response)) = (&self.request, &self.response) else { return false };
        response.close
            || request.close
            || (request.is_1_0 && !request.keep_alive)
            || (response.is_1_0 && !response.keep_alive)
    }

    /// Whether the last exchange has told that the connection does not end with it.
    #[must_use]
    pub fn promise_to_stay(&self) -> bool {
        let is_whole = self.response.as_ref().is_some_and(|response| response.body.is_some());
        is_whole && self.request.is_some() && !self.promise_close()
    }

    /// Whether a response has no body, whatever length it tells (RFC 9112, 6.3).
    fn is_bodyless(&self, response: &Response) -> bool {
        let asked = self.request.as_ref();
        matches!(response.status, 204 | 304)
            || asked.is_some_and(|request| &*request.method == "HEAD")
    }

    /// The sequence number behind the last response, where its head tells how long it is. Numbers go
    /// round: of what is longer than half of that, none tells whether it was sent.
    #[must_use]
    pub fn response_end(&self) -> Option<u32> {
        let response = self.response.as_ref()?;
        let body = response.body?;
        if self.is_bodyless(response) {
            return Some(body);
        }
        let length = response.length.filter(|_| !response.chunked)?;
        let length = u32::try_from(length).ok().filter(|&length| length < 1 << 31)?;
        Some(body.wrapping_add(length))
    }

    /// `GET /health: 200`, in one line. That there was no answer can be said only where the server
    /// was captured too.
    #[must_use]
    pub fn line(&self, is_captured: bool) -> Option<String> {
        let request =
            self.request.as_ref().map(|request| format!("{} {}", request.method, request.target));
        let response = self.response.as_ref().map(|response| response.status.to_string());
        match (request, response) {
            (None, None) => None,
            (Some(request), None) if is_captured => Some(format!("{request}: no answer")),
            (Some(request), None) => Some(request),
            (None, Some(status)) => Some(format!("answer {status}")),
            (Some(request), Some(status)) => Some(format!("{request}: {status}")),
        }
    }
}

/// A head in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A request's.
    Request(Request),
    /// A response's.
    Response(Response),
}

impl Head {
    /// The start line and what matters for the close, for the ladder.
    #[must_use]
    pub fn words(&self) -> String {
        let (start, close, length) = match self {
            Self::Request(request) => {
                let version = if request.is_1_0 { "1.0" } else { "1.1" };
                let start = format!("{} {} HTTP/{version}", request.method, request.target);
                (start, request.close, None)
            }
            Self::Response(response) => {
                let version = if response.is_1_0 { "1.0" } else { "1.1" };
                let start = format!("HTTP/{version} {}", response.status);
                (start, response.close, response.length)
            }
        };
        let mut words = start;
        if let Some(length) = length {
            words.push_str(&format!(", Content-Length: {length}"));
        }
        if close {
            words.push_str(", Connection: close");
        }
        words
    }
}

/// Reads the head that a segment's data begins with.
#[inline]
#[must_use]
pub fn read(segment: &Segment, payload: &[u8]) -> Option<Head> {
    match payload {
        [b'H', b'T', b'T', b'P', b'/', b'1', ..] => response(segment, payload).map(Head::Response),
        [b'A'..=b'Z', b'A'..=b'Z', ..] => request(segment, payload).map(Head::Request),
        _ => None,
    }
}

impl Heads {
    /// Whether what looks like a head is one: it may be the data of a body that is known to go on.
    #[must_use]
    pub fn is_head(&self, head: &Head) -> bool {
        let Head::Response(response) = head else { return true };
        let within =
            |last: &Response, end| after(response.seq, last.seq) && before(response.seq, end);
        !self
            .response
            .as_ref()
            .zip(self.response_end())
            .is_some_and(|(last, end)| within(last, end))
    }

    /// Takes a head into the account, unless it stood before: the last one, or an older one, again.
    pub fn note(&mut self, head: &Head) {
        match head {
            Head::Request(request)
                if self.request.as_ref().is_none_or(|last| after(request.seq, last.seq)) =>
            {
                self.requests += 1;
                self.request = Some(request.clone());
                self.response = None;
            }
            Head::Response(response)
                if response.status >= 200
                    && self.responded.is_none_or(|last| after(response.seq, last)) =>
            {
                self.responses += 1;
                self.responded = Some(response.seq);
                self.response = Some(response.clone());
            }
            _ => {}
        }
    }
}

fn request(segment: &Segment, payload: &[u8]) -> Option<Request> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let result = parsed.parse(payload);
    // tcpdump shows the first line alone; a snap length cuts where it likes.
    let (method, target, version) = match (result, parsed.method, parsed.path, parsed.version) {
        (Ok(_), Some(method), Some(target), Some(version)) => (method, target, version),
        (Ok(_), ..) => start_line(payload)?,
        (Err(_), ..) => return None,
    };
    let connection = connection(parsed.headers);
    let mut target = target;
    if target.len() > TARGET {
        let end = (0..=TARGET).rev().find(|&end| target.is_char_boundary(end)).unwrap_or(0);
        target = &target[..end];
    }
    Some(Request {
        method: method.into(),
        target: target.into(),
        is_1_0: version == 0,
        close: connection.0,
        keep_alive: connection.1,
        seq: segment.seq,
    })
}

/// `GET / HTTP/1.0` without the line's end.
fn start_line(payload: &[u8]) -> Option<(&str, &str, u8)> {
    let line = std::str::from_utf8(payload).ok()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    match version.trim_end() {
        "HTTP/1.0" => Some((method, target, 0)),
        "HTTP/1.1" => Some((method, target, 1)),
        _ => None,
    }
}

fn response(segment: &Segment, payload: &[u8]) -> Option<Response> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let result = parsed.parse(payload).ok()?;
    let (status, version) = match (parsed.code, parsed.version) {
        (Some(status), Some(version)) => (status, version),
        _ => {
            let line = std::str::from_utf8(payload.get(..12)?).ok()?;
            (line[9..].parse().ok()?, u8::from(&line[..8] == "HTTP/1.1"))
        }
    };
    let (close, keep_alive) = connection(parsed.headers);
    let field =
        |name: &str| parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let length: Option<u64> = field("content-length")
        .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok());
    let body = match result {
        httparse::Status::Complete(head) => Some(segment.seq.wrapping_add(head as u32)),
        httparse::Status::Partial => None,
    };
    Some(Response {
        status,
        is_1_0: version == 0,
        close,
        keep_alive,
        length,
        chunked: field("transfer-encoding").is_some(),
        seq: segment.seq,
        body,
    })
}

/// Whether `Connection` says `close` and `keep-alive`.
fn connection(fields: &[httparse::Header<'_>]) -> (bool, bool) {
    let says = |wanted: &str| {
        fields
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case("connection"))
            .filter_map(|field| std::str::from_utf8(field.value).ok())
            .flat_map(|value| value.split(','))
            .any(|option| option.trim().eq_ignore_ascii_case(wanted))
    };
    (says("close"), says("keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn heads(payloads: &[&str]) -> Heads {
        let mut heads = Heads::default();
        let mut segment = Segment { seq: 1000, ..Segment::zeroed() };
        for payload in payloads {
            if let Some(head) = read(&segment, payload.as_bytes()) {
                heads.note(&head);
            }
            segment.seq += 1000;
        }
        heads
    }

    #[test]
    fn the_threads_exchange() {
        let heads = heads(&[
            "GET / HTTP/1.0\r\nAccept: */*\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 365\r\nConnection: close\r\n\r\nbody",
        ]);
        assert_eq!(heads.line(true).as_deref(), Some("GET /: 200"));
        assert!(heads.promise_close());
        assert_eq!(heads.response_end(), Some(2000 + 59 + 365));
        assert_eq!(heads.response.unwrap().length, Some(365));
    }

    #[test]
    fn a_length_is_not_always_that_of_a_body() {
        let end = |request: &str, response: &str| heads(&[request, response]).response_end();
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 365\r\n\r\n";
        assert_eq!(end("GET / HTTP/1.1\r\n\r\n", head), Some(2000 + 40 + 365));
        assert_eq!(end("HEAD / HTTP/1.1\r\n\r\n", head), Some(2000 + 40));
        let unmodified = head.replace("200 OK", "304 OK");
        assert_eq!(end("GET / HTTP/1.1\r\n\r\n", &unmodified), Some(2000 + 40));
        let chunked = head.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(end("GET / HTTP/1.1\r\n\r\n", &chunked), None);
    }

    #[test]
    fn a_first_line_is_enough() {
        let heads = heads(&["POST /a HTTP/1.1", "HTTP/1.1 404 Not Found"]);
        assert_eq!(heads.line(true).as_deref(), Some("POST /a: 404"));
        assert!(!heads.promise_close());
    }

    #[test]
    fn keep_alive_is_no_promise() {
        let heads = heads(&[
            "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ]);
        assert_eq!((heads.requests, heads.responses), (1, 1));
        assert!(!heads.promise_close());
    }

    #[test]
    fn other_bytes_are_no_heads() {
        for payload in ["\x16\x03\x01", "SSH-2.0-x", "HELO there\r\n", "", "H", "HTTP/1"] {
            assert_eq!(heads(&[payload]), Heads::default(), "{payload}");
        }
    }
}
