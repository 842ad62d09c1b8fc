//! One health check: connect, send, expect, close.

use super::script::{CheckKind, Connect, Expect, HttpSend, Pattern, Step, TextMatch};
use super::{Plan, Surroundings, Target};
use crate::http::closes::{Class, Cookie, Doing, Upstream};
use crate::http::settings::ServerAddress;
use socket2::SockRef;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

/// The most bytes of an answer that are looked at (`tune.bufsize`).
const MOST: usize = 16_384;

/// What a check found; HAProxy's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `UNK`: not yet checked.
    Unknown,
    /// `SOCKERR`: the check could not be made.
    SocketError,
    /// `L4OK`.
    L4Ok,
    /// `L4TOUT`.
    L4Timeout,
    /// `L4CON`.
    L4Connection,
    /// `L7OK`.
    L7Ok,
    /// `L7OKC`: a 404 with `disable-on-404`.
    L7OkConditional,
    /// `L7TOUT`.
    L7Timeout,
    /// `L7RSP`.
    L7Response,
    /// `L7STS`.
    L7Status,
}

impl Status {
    /// Whether the server passed.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::L4Ok | Self::L7Ok | Self::L7OkConditional)
    }

    /// As in the statistics' column `check_status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNK",
            Self::SocketError => "SOCKERR",
            Self::L4Ok => "L4OK",
            Self::L4Timeout => "L4TOUT",
            Self::L4Connection => "L4CON",
            Self::L7Ok => "L7OK",
            Self::L7OkConditional => "L7OKC",
            Self::L7Timeout => "L7TOUT",
            Self::L7Response => "L7RSP",
            Self::L7Status => "L7STS",
        }
    }

    /// As in logs.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::SocketError => "Socket error",
            Self::L4Ok => "Layer4 check passed",
            Self::L4Timeout => "Layer4 timeout",
            Self::L4Connection => "Layer4 connection problem",
            Self::L7Ok => "Layer7 check passed",
            Self::L7OkConditional => "Layer7 check conditionally passed",
            Self::L7Timeout => "Layer7 timeout",
            Self::L7Response => "Layer7 invalid response",
            Self::L7Status => "Layer7 wrong status",
        }
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it found.
    pub status: Status,
    /// The answer's status code; 0 without one.
    pub code: u16,
    /// What else is to say.
    pub info: String,
}

impl Outcome {
    fn new(status: Status, info: impl Into<String>) -> Self {
        Self { status, code: 0, info: info.into() }
    }
}

/// Makes one check.
pub(super) async fn attempt(plan: &Plan, around: &Surroundings) -> Outcome {
    let script = &plan.script;
    let steps: Vec<Step> = match script.kind {
        CheckKind::Connect => Vec::new(),
        CheckKind::Tcp => script.tcp_steps.clone(),
        CheckKind::Http => http_steps(plan),
    };
    let mut connection = match steps.first() {
        Some(Step::Connect(_)) => None,
        _ => match connect(plan, around, &Connect::default()).await {
            Ok(connection) => Some(connection),
            Err(outcome) => return outcome,
        },
    };
    let mut last = Outcome::new(Status::L4Ok, "");
    // `timeout check` is for what follows a connect; without it, the interval is for the whole.
    let patience = plan.check_timeout.unwrap_or(plan.interval);
    for (index, step) in steps.iter().enumerate() {
        if let Step::Connect(to) = step {
            drop(connection.take());
            match connect(plan, around, to).await {
                Ok(new) => connection = Some(new),
                Err(outcome) => return outcome,
            }
            continue;
        }
        let Some(on) = &mut connection else { break };
        let outcome = match timeout(patience, on.step(step, index + 1, script.disable_on_404)).await
        {
            Ok(outcome) => outcome,
            Err(_) => Outcome::new(
                Status::L7Timeout,
                match script.kind {
                    CheckKind::Http => String::new(),
                    _ => format!(" at step {} of tcp-check ({})", index + 1, name(step)),
                },
            ),
        };
        if !outcome.status.is_good() {
            return outcome;
        }
        last = outcome;
    }
    if let Some(on) = &mut connection {
        on.see_end();
    }
    last
}

/// The `http-check` lines, or what `option httpchk` alone means; the last expectation may be left
/// unsaid.
fn http_steps(plan: &Plan) -> Vec<Step> {
    let script = &plan.script;
    let mut steps = script.http_steps.clone();
    if !steps.iter().any(|step| matches!(step, Step::HttpSend(_))) {
        let at = steps.iter().position(|step| !matches!(step, Step::Connect(_)));
        steps.insert(at.unwrap_or(steps.len()), Step::HttpSend(script.request.clone()));
    }
    let last_send = steps.iter().rposition(|step| matches!(step, Step::HttpSend(_)));
    if !steps[last_send.unwrap_or(0)..].iter().any(|step| matches!(step, Step::Expect(_))) {
        steps.push(Step::Expect(Expect {
            negate: false,
            pattern: Pattern::Status(vec![(200, 399)]),
            min_recv: None,
            comment: None,
        }));
    }
    steps
}

fn name(step: &Step) -> &'static str {
    match step {
        Step::Connect(_) => "connect",
        Step::HttpSend(_) | Step::Send(_) => "send",
        Step::Expect(_) => "expect",
    }
}

async fn connect<'a>(
    plan: &Plan,
    around: &'a Surroundings,
    to: &Connect,
) -> Result<Connection<'a>, Outcome> {
    let patience = plan.connect_timeout.map_or(plan.interval, |limit| limit.min(plan.interval));
    let upstream = Upstream { backend: &around.backend, server: &around.server };
    let mut cookie = Cookie::default();
    let socket = match target(plan, around, to) {
        Target::Inet(address) => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            match socket {
                Ok(socket) => {
                    cookie = around.closes.opened(socket.as_fd(), upstream, Class::Check);
                    within(patience, socket.connect(address)).await.map(Socket::Tcp)
                }
                Err(error) => Err(error),
            }
        }
        Target::Unix(path) => within(patience, UnixStream::connect(path)).await.map(Socket::Unix),
    };
    match socket {
        Ok(socket) => Ok(Connection {
            socket: Some(socket),
            cookie,
            around,
            http: plan.script.kind == CheckKind::Http,
            linger: to.linger,
            ended: false,
            received: Vec::new(),
        }),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(Outcome::new(Status::L4Timeout, ""))
        }
        Err(error) if is_ours(&error) => Err(Outcome::new(Status::SocketError, plain(&error))),
        Err(error) => Err(Outcome::new(Status::L4Connection, plain(&error))),
    }
}

/// Whether the fault is this process's or host's, not the server's.
fn is_ours(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

async fn within<T>(
    patience: Duration,
    connecting: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(patience, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The system's words for an error, without Rust's "(os error 111)".
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn target(plan: &Plan, around: &Surroundings, to: &Connect) -> Target {
    let own = match (plan.address, around.server.address()) {
        (Some(address), _) | (None, ServerAddress::Inet(address)) => address,
        (None, ServerAddress::Unix(path)) => return Target::Unix(path),
    };
    let ip = to.host.unwrap_or_else(|| own.ip());
    let port = to.port.or(plan.port).unwrap_or_else(|| own.port());
    Target::Inet(SocketAddr::new(ip, port))
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => read(stream, buffer).await,
            Self::Unix(stream) => read(stream, buffer).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => write(stream, bytes).await,
            Self::Unix(stream) => write(stream, bytes).await,
        }
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    stream.read(buffer).await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await
}

/// A check's connection. Dropping it closes it as HAProxy closes a check's: with RST, unless the
/// server's FIN has been seen or `linger` was asked for.
struct Connection<'a> {
    socket: Option<Socket>,
    cookie: Cookie,
    around: &'a Surroundings,
    /// `string` means the body, not everything that came.
    http: bool,
    linger: bool,
    /// The server's FIN has been seen.
    ended: bool,
    received: Vec<u8>,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        let reset = !self.linger && !self.ended;
        if reset {
            // Where that fails the close is a FIN: nothing is lost.
            let _ = SockRef::from(&socket.as_fd()).set_linger(Some(Duration::ZERO));
        }
        let upstream = Upstream { backend: &self.around.backend, server: &self.around.server };
        let class = Class::Check;
        let nothing = Doing { http: self.http, ..Doing::default() };
        let socket = (socket.as_fd(), self.cookie);
        self.around.closes.stated(socket, Some(upstream), class, reset, &nothing);
    }
}

impl Connection<'_> {
    async fn step(&mut self, step: &Step, number: usize, disable_on_404: bool) -> Outcome {
        match step {
            Step::Connect(_) => Outcome::new(Status::L4Ok, ""),
            Step::Send(bytes) => self.send(bytes, number).await,
            Step::HttpSend(request) => self.send(&head(request), number).await,
            Step::Expect(expect) if self.http => self.expect_http(expect, disable_on_404).await,
            Step::Expect(expect) => self.expect_tcp(expect, number).await,
        }
    }

    async fn send(&mut self, bytes: &[u8], number: usize) -> Outcome {
        self.received.clear();
        let Some(socket) = &mut self.socket else { return Outcome::new(Status::SocketError, "") };
        match socket.write(bytes).await {
            Ok(()) => Outcome::new(Status::L7Ok, ""),
            Err(error) => {
                let info = format!("{} at step {number} (send)", plain(&error));
                Outcome::new(Status::L4Connection, info)
            }
        }
    }

    /// Reads once more; false at the end, or where more would be too much.
    async fn more(&mut self) -> io::Result<bool> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        if self.ended || self.received.len() >= MOST {
            return Ok(false);
        }
        let mut buffer = [0; 4_096];
        let count = socket.read(&mut buffer).await?;
        self.ended = count == 0;
        self.received.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    /// Whether the server's FIN is already there: then the close is no reset.
    fn see_end(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; 4_096];
        while !self.ended {
            match socket.try_read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    async fn expect_tcp(&mut self, expect: &Expect, number: usize) -> Outcome {
        let Pattern::Bytes(pattern) = &expect.pattern else {
            return Outcome::new(Status::L7Response, "");
        };
        let least = expect.min_recv.map(|least| least as usize);
        loop {
            let there = memchr::memmem::find(&self.received, pattern).is_some();
            let enough = least.is_some_and(|least| self.received.len() >= least);
            if there || (enough && !self.received.is_empty()) {
                if there != expect.negate {
                    return Outcome::new(Status::L7Ok, "");
                }
                return Outcome::new(Status::L7Response, unmatched(expect, pattern, number));
            }
            match self.more().await {
                Ok(true) => {}
                Ok(false) if expect.negate && !self.received.is_empty() => {
                    return Outcome::new(Status::L7Ok, "");
                }
                Ok(false) if self.received.is_empty() => {
                    let info = format!("connection closed at step {number} of tcp-check (expect)");
                    return Outcome::new(Status::L7Response, info);
                }
                Ok(false) => {
                    return Outcome::new(Status::L7Response, unmatched(expect, pattern, number));
                }
                Err(error) => return self.broken(&error),
            }
        }
    }

    fn broken(&self, error: &io::Error) -> Outcome {
        Outcome::new(Status::L7Response, plain(error))
    }

    async fn expect_http(&mut self, expect: &Expect, disable_on_404: bool) -> Outcome {
        let (answer, body_at) = loop {
            match parse(&self.received) {
                Ok(Some(answer)) => break answer,
                Ok(None) => match self.more().await {
                    Ok(true) => {}
                    Ok(false) => {
                        let empty = self.received.is_empty();
                        let info = if empty { "Connection closed" } else { "invalid response" };
                        return Outcome::new(Status::L7Response, info);
                    }
                    Err(error) => return self.broken(&error),
                },
                Err(()) => return Outcome::new(Status::L7Response, "invalid response"),
            }
        };
        let code = answer.code;
        let with = |status, info: &str| Outcome { status, code, info: info.to_owned() };
        if disable_on_404 && code == 404 {
            return with(Status::L7OkConditional, "Not Found");
        }
        let matched = match &expect.pattern {
            Pattern::Status(ranges) => {
                let hit = ranges.iter().any(|&(low, high)| (low..=high).contains(&code));
                if hit == expect.negate {
                    let info = expect.comment.as_deref().unwrap_or(&answer.reason);
                    return with(Status::L7Status, info);
                }
                true
            }
            Pattern::Header { name, value, method, full } => {
                answer.has(name, value.as_deref(), *method, *full) != expect.negate
            }
            Pattern::Bytes(pattern) => loop {
                let body = self.received.get(body_at..).unwrap_or_default();
                let whole = answer.length.is_some_and(|length| body.len() >= length);
                let there = memchr::memmem::find(body, pattern).is_some();
                if there || whole {
                    break there != expect.negate;
                }
                match self.more().await {
                    Ok(true) => {}
                    Ok(false) => break expect.negate,
                    Err(error) => return self.broken(&error),
                }
            },
        };
        if matched {
            return with(Status::L7Ok, "");
        }
        let info = expect.comment.as_deref().unwrap_or(match expect.pattern {
            Pattern::Header { .. } => "HTTP header check did not match",
            _ => "HTTP content check did not match",
        });
        Outcome::new(Status::L7Response, info)
    }
}

fn unmatched(expect: &Expect, pattern: &[u8], number: usize) -> String {
    let text = String::from_utf8_lossy(pattern);
    let default = if expect.negate {
        format!("TCPCHK matched unwanted content '{text}' at step {number}")
    } else {
        format!("TCPCHK did not match content '{text}' at step {number}")
    };
    match &expect.comment {
        Some(comment) => format!("{default} comment: '{comment}'"),
        None => default,
    }
}

/// The request's bytes. Field names are in lower case, and HTTP/1.1 is told that the connection
/// ends, as HAProxy 2.6 does.
fn head(request: &HttpSend) -> Vec<u8> {
    let HttpSend { method, target, version, headers, body } = request;
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
    if let Some(body) = body {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
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
struct Answer {
    code: u16,
    reason: String,
    length: Option<usize>,
    fields: Vec<(String, Vec<u8>)>,
}

impl Answer {
    fn has(&self, name: &str, value: Option<&str>, method: TextMatch, full: bool) -> bool {
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

/// The head, and where the body begins; none while it is not yet whole.
fn parse(received: &[u8]) -> Result<Option<(Answer, usize)>, ()> {
    let mut fields = [httparse::EMPTY_HEADER; 101];
    let mut response = httparse::Response::new(&mut fields);
    let body_at = match response.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(()),
    };
    let fields: Vec<(String, Vec<u8>)> =
        response.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
    let length = fields.iter().find(|f| f.0.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|f| std::str::from_utf8(&f.1).ok()?.trim().parse().ok());
    Ok(Some((
        Answer {
            code: response.code.unwrap_or_default(),
            reason: response.reason.unwrap_or_default().to_owned(),
            length,
            fields,
        },
        body_at,
    )))
}

#[cfg(test)]
mod tests;
