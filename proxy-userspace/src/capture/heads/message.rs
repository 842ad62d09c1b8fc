//! One HTTP/1 head in captured bytes.

/// Header fields that are looked at in one head.
pub(super) const FIELDS: usize = 64;
/// Bytes of a request's target that are kept.
const TARGET: usize = 80;

/// How long a body is, as the fields of its head tell (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes.
    Bytes(u64),
    /// The chunks tell.
    Chunked,
    /// It ends with the connection.
    ToTheEnd,
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
    /// How long its body is.
    pub(super) length: Length,
    /// The sequence number that it begins at.
    pub seq: u32,
    /// The sequence number behind the head, where it was captured to its end.
    pub body: Option<u32>,
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
    pub told: Option<u64>,
    /// How long its body is.
    pub(super) length: Length,
    /// The sequence number that it begins at.
    pub seq: u32,
    /// The sequence number behind the head, where it was captured to its end.
    pub body: Option<u32>,
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
                (start, response.close, response.told)
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

/// Reads the head that these bytes begin with, the first of which has this sequence number.
#[inline]
#[must_use]
pub(super) fn read(seq: u32, bytes: &[u8]) -> Option<Head> {
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', b'1', ..] => response(seq, bytes).map(Head::Response),
        [b'A'..=b'Z', b'A'..=b'Z' | b'-', ..] => request(seq, bytes).map(Head::Request),
        _ => None,
    }
}

fn request(seq: u32, bytes: &[u8]) -> Option<Request> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let result = parsed.parse(bytes);
    // tcpdump shows the first line alone; a snap length cuts where it likes.
    let body = match result {
        Ok(httparse::Status::Complete(head)) => Some(seq.wrapping_add(head as u32)),
        _ => None,
    };
    let (method, target, version) = match (result, parsed.method, parsed.path, parsed.version) {
        (Ok(_), Some(method), Some(target), Some(version)) => (method, target, version),
        (Ok(_), ..) => start_line(bytes)?,
        (Err(_), ..) => return None,
    };
    let Fields { close, keep_alive, told, coding } = Fields::of(parsed.headers);
    let mut target = target;
    if target.len() > TARGET {
        let end = (0..=TARGET).rev().find(|&end| target.is_char_boundary(end)).unwrap_or(0);
        target = &target[..end];
    }
    Some(Request {
        method: method.into(),
        target: target.into(),
        is_1_0: version == 0,
        close,
        keep_alive,
        length: coding.unwrap_or(Length::Bytes(told.unwrap_or(0))),
        seq,
        body,
    })
}

/// `GET / HTTP/1.0` without the line's end.
fn start_line(bytes: &[u8]) -> Option<(&str, &str, u8)> {
    let line = std::str::from_utf8(bytes).ok()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    match version.trim_end() {
        "HTTP/1.0" => Some((method, target, 0)),
        "HTTP/1.1" => Some((method, target, 1)),
        _ => None,
    }
}

fn response(seq: u32, bytes: &[u8]) -> Option<Response> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let result = parsed.parse(bytes).ok()?;
    let (status, version) = match (parsed.code, parsed.version) {
        (Some(status), Some(version)) => (status, version),
        _ => {
            let line = std::str::from_utf8(bytes.get(..12)?).ok()?;
            (line[9..].parse().ok()?, u8::from(&line[..8] == "HTTP/1.1"))
        }
    };
    let Fields { close, keep_alive, told, coding } = Fields::of(parsed.headers);
    let body = match result {
        httparse::Status::Complete(head) => Some(seq.wrapping_add(head as u32)),
        httparse::Status::Partial => None,
    };
    Some(Response {
        status,
        is_1_0: version == 0,
        close,
        keep_alive,
        told,
        length: coding.unwrap_or_else(|| told.map_or(Length::ToTheEnd, Length::Bytes)),
        seq,
        body,
    })
}

/// What is looked at of a head's fields.
#[derive(Default)]
struct Fields {
    /// `Connection` says `close`.
    close: bool,
    /// `Connection` says `keep-alive`.
    keep_alive: bool,
    /// The last `Content-Length`.
    told: Option<u64>,
    /// What the last `Transfer-Encoding` says.
    coding: Option<Length>,
}

impl Fields {
    fn of(fields: &[httparse::Header<'_>]) -> Self {
        let mut all = Self::default();
        for field in fields {
            let is_it = |name: &str| field.name.eq_ignore_ascii_case(name);
            let value = || std::str::from_utf8(field.value).ok();
            // Most have another length than these names.
            match field.name.len() {
                10 if is_it("connection") => {
                    for option in value().into_iter().flat_map(|value| value.split(',')) {
                        all.close |= option.trim().eq_ignore_ascii_case("close");
                        all.keep_alive |= option.trim().eq_ignore_ascii_case("keep-alive");
                    }
                }
                14 if is_it("content-length") => {
                    all.told = value().and_then(|value| value.trim().parse().ok());
                }
                17 if is_it("transfer-encoding") => all.coding = value().map(coding),
                _ => {}
            }
        }
        all
    }
}

/// What a `Transfer-Encoding` says.
fn coding(value: &str) -> Length {
    let last = value.rsplit(',').next().unwrap_or_default();
    if last.trim().eq_ignore_ascii_case("chunked") { Length::Chunked } else { Length::ToTheEnd }
}
