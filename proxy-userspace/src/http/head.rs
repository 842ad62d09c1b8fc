//! Message heads: httparse's fields, checked by the rules it leaves to its users.
//!
//! What two recipients could read differently is refused (RFC 9112, 11.2), in requests and in
//! responses alike.

use std::{mem::MaybeUninit, net::SocketAddr};

use httparse::{Header, ParserConfig, Status};
use memchr::{memchr, memchr_iter};

use super::{
    authority,
    framing::{Asked, Framing, Lengths, is_token},
    hooks::{Request, Response},
    refusal::Refusal,
};

/// The most fields that can be asked for.
pub(super) const MOST_FIELDS: usize = 256;

/// Room for a head's fields; given by the caller, so that it is on the stack and uninitialised.
pub type Room<'b, const N: usize> = [MaybeUninit<Header<'b>>; N];

/// Room for the most fields that can be asked for.
pub const fn room<'b, const N: usize>() -> Room<'b, N> {
    [const { MaybeUninit::uninit() }; N]
}

/// What a head says about its connection (RFC 9110, 7.6.1; RFC 9112, 9.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `close`.
    pub close: bool,
    /// `keep-alive`.
    pub keep_alive: bool,
    /// `upgrade`, with an Upgrade field.
    pub upgrade: bool,
    /// Other names are nominated: fields by those names stay on this hop.
    pub nominates: bool,
}

impl Options {
    /// Whether the sender keeps the connection open (RFC 9112, 9.3).
    pub fn persists(self, minor: u8) -> bool {
        !self.close && (minor > 0 || self.keep_alive)
    }
}

/// A checked request head.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Method, target, version, fields.
    pub view: Request<'a>,
    /// The head's length in bytes, empty lines before it included.
    pub len: usize,
    /// How its body is delimited.
    pub framing: Framing,
    /// What it says about its connection.
    pub options: Options,
    /// The start line, without CRLF.
    pub line: &'a [u8],
}

impl RequestHead<'_> {
    /// Whether its sender waits for a 100 before it sends the body (RFC 9110, 10.1.1).
    pub(super) fn expects_continue(&self) -> bool {
        let is_it = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
        self.view.minor > 0 && self.view.values("expect").any(is_it)
    }

    /// Whether it has a body where an old server would look for none, were its method this one.
    pub(super) fn has_odd_payload(&self, method: &str) -> bool {
        let expected = !matches!(method, "GET" | "HEAD" | "DELETE");
        self.view.minor == 0 && !expected && !self.framing.is_empty()
    }
}

/// A checked response head.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Status, version, fields.
    pub view: Response<'a>,
    /// The head's length in bytes.
    pub len: usize,
    /// How its body is delimited.
    pub framing: Framing,
    /// What it says about its connection.
    pub options: Options,
    /// Its status or the method forbids a body, and the fields of framing too (RFC 9110, 8.6; RFC 9112,
    /// 6.1).
    pub silent: bool,
    /// Declares a body all the same.
    pub odd: bool,
    /// The start line, without CRLF.
    pub line: &'a [u8],
}

/// Parses a request's head; none means that more bytes are needed.
// A part of the one caller that every request meets, whoever else calls it.
#[inline(always)]
pub fn request<'b: 'h, 'h>(
    bytes: &'b [u8],
    room: &'h mut [MaybeUninit<Header<'b>>],
    client: Option<SocketAddr>,
    local: Option<SocketAddr>,
) -> Result<Option<RequestHead<'h>>, Refusal> {
    let skipped = empty_lines(bytes)?;
    let bytes = &bytes[skipped..];
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut parsed = httparse::Request::new(&mut []);
    let status = ParserConfig::default()
        .parse_request_with_uninit_headers(&mut parsed, bytes, room)
        .map_err(refused)?;
    let Status::Complete(len) = status else {
        return line_ends(bytes).map(|()| None);
    };
    line_ends(&bytes[..len])?;
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::StartLine);
    };
    let fields: &'h [Header<'b>] = parsed.headers;
    let mut scan = Scan::default();
    for field in fields {
        scan.field(field, Kind::Request)?;
    }
    let options = scan.options();
    authority::check(method, target, minor, scan.hosts, scan.host)?;
    let framing = scan.lengths.request(minor)?;
    let view = Request { method, target, minor, fields, client, local };
    let line = start_line(bytes);
    Ok(Some(RequestHead { view, len: skipped + len, framing, options, line }))
}

/// A request's head as it was written for a server: rules may have left one that would be refused. `ends`
/// are the client's address and the one that it connected to.
pub(super) fn written<'b: 'h, 'h>(
    bytes: &'b [u8],
    room: &'h mut [MaybeUninit<Header<'b>>],
    (client, local): (Option<SocketAddr>, Option<SocketAddr>),
) -> Option<Request<'h>> {
    let mut parsed = httparse::Request::new(&mut []);
    ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, bytes, room).ok()?;
    let (method, target, minor) = (parsed.method?, parsed.path?, parsed.version?);
    Some(Request { method, target, minor, fields: parsed.headers, client, local })
}

/// Parses a response's head; none means that more bytes are needed.
// A part of its callers, as `request` is.
#[inline(always)]
pub fn response<'b: 'h, 'h>(
    bytes: &'b [u8],
    room: &'h mut [MaybeUninit<Header<'b>>],
    asked: Asked,
    client: Option<SocketAddr>,
) -> Result<Option<ResponseHead<'h>>, Refusal> {
    let mut parsed = httparse::Response::new(&mut []);
    let status = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, room)
        .map_err(refused)?;
    let Status::Complete(len) = status else {
        return line_ends(bytes).map(|()| None);
    };
    line_ends(&bytes[..len])?;
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(Refusal::StartLine);
    };
    // httparse skips empty lines, which no response begins with.
    if !bytes.starts_with(b"HTTP/") {
        return Err(Refusal::StartLine);
    }
    // From 600 on they mean nothing, and some servers send them: who gets one takes it for a 5xx.
    if status < 100 {
        return Err(Refusal::Status);
    }
    let fields: &'h [Header<'b>] = parsed.headers;
    let mut scan = Scan::default();
    for field in fields {
        scan.field(field, Kind::Response)?;
    }
    let options = scan.options();
    let framing = scan.lengths.response(minor, status, asked)?;
    let silent = status < 200 || status == 204 || (asked == Asked::Connect && status < 300);
    let declared = scan.lengths.declared().is_some_and(|n| n > 0) || scan.lengths.is_coded();
    let view = Response { status, minor, fields, client, local: None };
    let line = start_line(bytes);
    Ok(Some(ResponseHead { view, len, framing, options, silent, odd: silent && declared, line }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Response,
}

/// What one pass over the fields collects.
#[derive(Default)]
struct Scan<'a> {
    lengths: Lengths,
    hosts: usize,
    host: &'a [u8],
    options: Options,
    upgrade: bool,
    h2c: bool,
}

impl<'a> Scan<'a> {
    fn field(&mut self, field: &Header<'a>, kind: Kind) -> Result<(), Refusal> {
        let name = field.name;
        match name.len() {
            4 if kind == Kind::Request && name.eq_ignore_ascii_case("host") => {
                self.hosts += 1;
                self.host = field.value;
            }
            7 if name.eq_ignore_ascii_case("upgrade") => {
                if !field.value.iter().all(|&b| is_token(b) || b"/, \t".contains(&b)) {
                    return Err(Refusal::Upgrade);
                }
                let protocols = field.value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
                for protocol in protocols.filter(|protocol| !protocol.is_empty()) {
                    self.upgrade = true;
                    self.h2c |= protocol.eq_ignore_ascii_case(b"h2c");
                }
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                self.connection(field.value)?;
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                self.lengths.content_length(field.value)?;
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.lengths.transfer_encoding(field.value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.options.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.options.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.options.upgrade = true;
            } else if !option.is_empty() {
                let bound: [&[u8]; 3] = [b"host", b"content-length", b"transfer-encoding"];
                if bound.iter().any(|name| option.eq_ignore_ascii_case(name)) {
                    return Err(Refusal::Nominated);
                }
                self.options.nominates = true;
            }
        }
        Ok(())
    }

    fn options(&self) -> Options {
        // h2c needs HTTP2-Settings, which stays on its hop (RFC 7540, 3.2.1): a server that chose it
        // would be past every rule.
        Options { upgrade: self.options.upgrade && self.upgrade && !self.h2c, ..self.options }
    }
}

/// Whether a Connection field of `fields` nominates `name`.
pub fn nominated(fields: &[Header<'_>], name: &str) -> bool {
    fields.iter().filter(|field| field.name.eq_ignore_ascii_case("connection")).any(|field| {
        let mut options = field.value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
        options.any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// The length of the empty lines before a request (RFC 9112, 2.2 asks to ignore them).
fn empty_lines(bytes: &[u8]) -> Result<usize, Refusal> {
    let lines = bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count();
    match bytes[lines * 2..] {
        [b'\n', ..] | [b'\r', _, ..] => Err(Refusal::LineEnd),
        [b'\r'] => Ok(bytes.len()),
        _ => Ok(lines * 2),
    }
}

/// Whether every LF follows a CR; httparse takes a bare one as a line's end.
fn line_ends(bytes: &[u8]) -> Result<(), Refusal> {
    let bare = |lf: usize| lf == 0 || bytes[lf - 1] != b'\r';
    if memchr_iter(b'\n', bytes).any(bare) { Err(Refusal::LineEnd) } else { Ok(()) }
}

fn start_line(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr(b'\r', bytes).unwrap_or(bytes.len())]
}

fn refused(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::HeaderName => Refusal::FieldName,
        httparse::Error::HeaderValue => Refusal::FieldValue,
        httparse::Error::NewLine => Refusal::LineEnd,
        httparse::Error::Status => Refusal::Status,
        httparse::Error::Token => Refusal::StartLine,
        httparse::Error::TooManyHeaders => Refusal::FieldCount,
        httparse::Error::Version => Refusal::Version,
    }
}

#[cfg(test)]
mod tests;
