//! Log lines in HAProxy's formats: `option httplog`, `tcplog`, and `log-format`.

use super::event::{Cause, Session};
use super::settings::{Mode, ServerAddress};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// `option httplog`.
pub const HTTP: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
                        %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";
/// `option httplog clf`.
pub const CLF: &str = "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s \
                       %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl";
/// `option tcplog`.
pub const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";
/// Without any of these.
pub const DEFAULT: &str = "Connect from %ci:%cp to %fi:%fp (%f/%mode)";

/// A log format, ready to be filled in.
#[derive(Clone, Debug)]
pub struct LogFormat {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Vec<u8>),
    Variable(Variable, Flags),
    /// A space that counts only between two things that are there.
    Space,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    quote: bool,
    hexadecimal: bool,
    escape: bool,
}

macro_rules! variables {
    ($($name:literal $variant:ident $doc:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Variable { $(#[doc = $doc] $variant),* }
        const VARIABLES: &[(&str, Variable)] = &[$(($name, Variable::$variant)),*];
    };
}

variables! {
    "B" BytesOut "bytes to the client",
    "CC" RequestCookie "captured request cookie: none is captured",
    "CS" ResponseCookie "captured response cookie",
    "H" Host "this host's name",
    "HM" Method "method",
    "HP" Path "path",
    "HPO" PathOnly "path without host",
    "HQ" Query "query with its question mark",
    "HU" Uri "target",
    "HV" Version "HTTP version",
    "ID" UniqueId "unique id: none is made",
    "ST" Status "status",
    "T" GmtTime "time of accept in GMT",
    "Ta" ActiveTime "from the request's first byte to the end",
    "Tc" ConnectTime "connecting",
    "Td" DataTime "transferring data",
    "Th" HandshakeTime "handshakes: 0",
    "Ti" IdleTime "idle before the request",
    "Tl" LocalTime "time of accept",
    "Tq" RequestTimeWithIdle "Th + Ti + TR",
    "TR" RequestTime "receiving the request",
    "Tr" ResponseTime "waiting for the response",
    "Ts" Seconds "time of accept, in seconds",
    "Tt" TotalTime "from accept to the end",
    "Tu" UserTime "from the request to the end, idle not counted",
    "Tw" QueueTime "in queues",
    "U" BytesIn "bytes from the client",
    "ac" ProcessConnections "connections of the process",
    "b" Backend "backend",
    "bc" BackendConnections "sessions of the backend",
    "bi" BackendSourceIp "address that the server was connected from",
    "bp" BackendSourcePort "its port",
    "bq" BackendQueue "place in the backend's queue",
    "ci" ClientIp "client's address",
    "cp" ClientPort "client's port",
    "f" Frontend "frontend",
    "fc" FrontendConnections "connections of the frontend",
    "fi" FrontendIp "address that the client connected to",
    "fp" FrontendPort "its port",
    "ft" FrontendTransport "frontend, with ~ for TLS",
    "hr" RequestHeaders "captured request headers: none are captured",
    "hrl" RequestHeadersClf "captured request headers",
    "hs" ResponseHeaders "captured response headers",
    "hsl" ResponseHeadersClf "captured response headers",
    "lc" LogCounter "sessions logged so far",
    "mode" ModeName "TCP or HTTP",
    "ms" Milliseconds "milliseconds of the time of accept",
    "o" SetFlags "nothing: its flags hold from here on",
    "pid" Pid "this process",
    "r" Request "request line",
    "rc" Retries "retries",
    "rt" RequestCounter "sessions so far",
    "s" Server "server",
    "sc" ServerConnections "sessions of the server",
    "si" ServerIp "server's address",
    "sp" ServerPort "server's port",
    "sq" ServerQueue "place in the server's queue",
    "t" Date "time of accept with milliseconds",
    "tr" RequestDate "time of the request with milliseconds",
    "trg" RequestDateGmt "time of the request in GMT",
    "trl" RequestDateLocal "time of the request",
    "ts" Termination "how it ended, two characters",
    "tsc" TerminationCookies "how it ended, four characters",
}

impl LogFormat {
    /// Reads a format.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut standing = Flags::default();
        let mut rest = text;
        let flush = |literal: &mut Vec<u8>, parts: &mut Vec<Part>| {
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(literal)));
            }
        };
        while let Some(first) = rest.chars().next() {
            if first == ' ' {
                flush(&mut literal, &mut parts);
                parts.push(Part::Space);
                rest = rest.trim_start_matches(' ');
                continue;
            }
            let after = &rest[first.len_utf8()..];
            if first != '%' {
                literal.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
            if let Some(after) = after.strip_prefix('%') {
                literal.push(b'%');
                rest = after;
                continue;
            }
            rest = after;
            let mut flags = standing;
            if let Some(inside) = rest.strip_prefix('{') {
                let Some(end) = inside.find('}') else { return Err("'%{' lacks its '}'".into()) };
                flags = flags_of(&inside[..end], standing)?;
                rest = &inside[end + 1..];
            }
            if rest.starts_with('[') {
                return Err("'%[...]' in log lines is HAProxy's; teardown has not got it".into());
            }
            let length = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let name = &rest[..length];
            let found = VARIABLES
                .iter()
                .filter(|(known, variable)| {
                    name.starts_with(known) && *variable != Variable::ModeName
                })
                .max_by_key(|(known, _)| known.len());
            let Some((known, variable)) = found.or_else(|| {
                // The default line's own variable; not for configurations.
                VARIABLES.iter().find(|entry| entry.0 == name && text == DEFAULT)
            }) else {
                let known = VARIABLES.iter().map(|entry| entry.0);
                let hint = crate::near::hint(name, known);
                return Err(format!(
                    "there is no log variable '%{name}'{hint}; a percent sign itself is %%"
                ));
            };
            rest = &rest[known.len()..];
            flush(&mut literal, &mut parts);
            if *variable == Variable::SetFlags {
                standing = flags;
            } else {
                parts.push(Part::Variable(*variable, flags));
            }
        }
        flush(&mut literal, &mut parts);
        Ok(Self { parts })
    }

    /// Appends the line of `session`, without a line feed.
    pub fn write(&self, session: &Session<'_>, surroundings: &Surroundings, out: &mut Vec<u8>) {
        let start = out.len();
        for part in &self.parts {
            match part {
                // What prints nothing takes no space either.
                Part::Space if out.len() == start || out.last() == Some(&b' ') => {}
                part => part.write(session, surroundings, out),
            }
        }
    }
}

fn flags_of(text: &str, standing: Flags) -> Result<Flags, String> {
    let mut flags = standing;
    for flag in text.split(',') {
        match flag {
            "+Q" => flags.quote = true,
            "-Q" => flags.quote = false,
            "+X" => flags.hexadecimal = true,
            "-X" => flags.hexadecimal = false,
            "+E" => flags.escape = true,
            "-E" => flags.escape = false,
            _ => {
                return Err(format!(
                    "unknown flag '%{{{flag}}}', expected one of Q, X, E with + or -"
                ));
            }
        }
    }
    Ok(flags)
}

/// What a line shows besides the session.
#[derive(Debug)]
pub struct Surroundings {
    /// The zone of dates.
    pub zone: TimeZone,
    /// This host's name.
    pub host: String,
    /// This process.
    pub pid: u32,
}

impl Surroundings {
    /// This host's.
    #[must_use]
    pub fn here() -> Self {
        let name = rustix::system::uname();
        Self {
            zone: TimeZone::system(),
            host: name.nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
        }
    }
}

impl Part {
    fn write(&self, session: &Session<'_>, surroundings: &Surroundings, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Space => out.push(b' '),
            Self::Variable(variable, flags) => variable.write(*flags, session, surroundings, out),
        }
    }
}

impl Variable {
    fn write(
        self,
        flags: Flags,
        session: &Session<'_>,
        surroundings: &Surroundings,
        out: &mut Vec<u8>,
    ) {
        let times = &session.timers;
        let server_address = || match session.server.map(super::live::Server::address) {
            Some(ServerAddress::Inet(address)) => Some(address),
            _ => None,
        };
        let backend =
            || session.backend.map_or(&session.frontend.settings.name, |b| &b.settings.name);
        match self {
            Self::BytesOut => number(out, session.bytes_out),
            Self::BytesIn => number(out, session.bytes_in),
            Self::RequestCookie | Self::ResponseCookie if flags.quote => {
                out.extend_from_slice(b"\"\"");
            }
            Self::RequestCookie | Self::ResponseCookie | Self::UniqueId => out.push(b'-'),
            Self::Host => text(out, flags, surroundings.host.as_bytes()),
            Self::Method => text(out, flags, line(session).0),
            Self::Path | Self::PathOnly => {
                text(out, flags, line(session).1.split(|&b| b == b'?').next().unwrap_or_default());
            }
            Self::Query => {
                let target = line(session).1;
                let at = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
                text(out, flags, &target[at..]);
            }
            Self::Uri => text(out, flags, line(session).1),
            Self::Version => text(out, flags, line(session).2),
            Self::Status if session.status == 0 => out.extend_from_slice(b"-1"),
            Self::Status => number(out, session.status),
            Self::ActiveTime => number(out, times.active.as_millis()),
            Self::ConnectTime => maybe(out, times.connect),
            Self::QueueTime => maybe(out, times.queue),
            Self::RequestTime => maybe(out, times.request),
            Self::ResponseTime => maybe(out, times.response),
            Self::IdleTime => number(out, times.idle.unwrap_or_default().as_millis()),
            Self::HandshakeTime => out.push(b'0'),
            Self::RequestTimeWithIdle => {
                maybe(out, times.request.map(|time| time + times.idle.unwrap_or_default()));
            }
            Self::DataTime => {
                let before = [times.request, times.queue, times.connect, times.response];
                let whole: Option<Duration> = before.into_iter().sum();
                maybe(out, whole.map(|whole| times.active.saturating_sub(whole)));
            }
            Self::TotalTime => number(out, times.total.as_millis()),
            Self::UserTime => {
                number(out, times.total.saturating_sub(times.idle.unwrap_or_default()).as_millis());
            }
            Self::Backend => text(out, flags, backend().as_bytes()),
            Self::Server => text(
                out,
                flags,
                match session.server {
                    _ if session.stats => b"<STATS>".as_slice(),
                    Some(server) => server.settings.name.as_bytes(),
                    None => b"<NOSRV>",
                },
            ),
            Self::Frontend | Self::FrontendTransport => {
                text(out, flags, session.frontend.settings.name.as_bytes());
            }
            Self::ClientIp => ip(out, flags, session.client),
            Self::ClientPort => number(out, session.client.map_or(0, |at| at.port())),
            Self::ServerIp => ip(out, flags, server_address()),
            Self::ServerPort => number(out, server_address().map_or(0, |at| at.port())),
            Self::FrontendIp => ip(out, flags, local(session)),
            Self::FrontendPort => number(out, local(session).map_or(0, |at| at.port())),
            // The engine does not keep what a gone connection came from.
            Self::BackendSourceIp | Self::BackendSourcePort => out.push(b'-'),
            Self::ProcessConnections => number(out, session.actconn),
            Self::FrontendConnections => number(out, session.feconn),
            Self::BackendConnections => number(out, session.beconn),
            Self::ServerConnections => number(out, session.srvconn),
            Self::BackendQueue => number(out, session.backend_queue),
            Self::ServerQueue => number(out, session.srv_queue),
            Self::Retries => {
                if session.redispatched {
                    out.push(b'+');
                }
                number(out, session.retries);
            }
            Self::RequestHeaders
            | Self::ResponseHeaders
            | Self::RequestHeadersClf
            | Self::ResponseHeadersClf
            | Self::SetFlags => {}
            Self::LogCounter | Self::RequestCounter => number(out, session.serial),
            Self::ModeName => out.extend_from_slice(match session.frontend.settings.mode {
                Mode::Http => b"HTTP",
                Mode::Tcp => b"TCP",
            }),
            Self::Pid => number(out, surroundings.pid),
            Self::Request if session.request_line.is_empty() => text(out, flags, b"<BADREQ>"),
            Self::Request => text(out, flags, session.request_line),
            Self::Termination => out.extend_from_slice(&session.termination.letters()),
            Self::TerminationCookies => {
                out.extend_from_slice(&session.termination.letters());
                out.extend_from_slice(b"--");
            }
            Self::Seconds | Self::Milliseconds => {
                let since = accepted(session).duration_since(SystemTime::UNIX_EPOCH);
                let since = since.unwrap_or_default();
                if self == Self::Seconds {
                    number(out, since.as_secs());
                } else {
                    // A vector takes everything.
                    let _ = write!(out, "{:03}", since.subsec_millis());
                }
            }
            Self::Date => {
                date(out, accepted(session), &surroundings.zone, "%d/%b/%Y:%H:%M:%S", true);
            }
            Self::RequestDate => {
                date(out, session.started, &surroundings.zone, "%d/%b/%Y:%H:%M:%S", true);
            }
            Self::GmtTime => {
                date(out, accepted(session), &TimeZone::UTC, "%d/%b/%Y:%H:%M:%S +0000", false);
            }
            Self::RequestDateGmt => {
                date(out, session.started, &TimeZone::UTC, "%d/%b/%Y:%H:%M:%S +0000", false);
            }
            Self::LocalTime => {
                date(out, accepted(session), &surroundings.zone, "%d/%b/%Y:%H:%M:%S %z", false);
            }
            Self::RequestDateLocal => {
                date(out, session.started, &surroundings.zone, "%d/%b/%Y:%H:%M:%S %z", false);
            }
        }
    }
}

/// When the connection was accepted: the idle time before the request.
fn accepted(session: &Session<'_>) -> SystemTime {
    session.started.checked_sub(session.timers.idle.unwrap_or_default()).unwrap_or(session.started)
}

/// Method, target and version of the request line.
fn line<'a>(session: &Session<'a>) -> (&'a [u8], &'a [u8], &'a [u8]) {
    if session.request_line.is_empty() {
        return (b"<BADREQ>", b"<BADREQ>", b"<BADREQ>");
    }
    let mut parts = session.request_line.split(|&byte| byte == b' ');
    let mut next = || parts.next().unwrap_or_default();
    (next(), next(), next())
}

/// The frontend's own address: the first of its binds, as sessions don't keep theirs.
fn local(session: &Session<'_>) -> Option<SocketAddr> {
    session.frontend.settings.binds.iter().find_map(|bind| match &bind.address {
        super::settings::BindAddress::Inet(address) => Some(*address),
        _ => None,
    })
}

fn number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // A vector takes everything.
    let _ = write!(out, "{number}");
}

fn maybe(out: &mut Vec<u8>, time: Option<Duration>) {
    match time {
        Some(time) => number(out, time.as_millis()),
        None => out.extend_from_slice(b"-1"),
    }
}

fn ip(out: &mut Vec<u8>, flags: Flags, address: Option<SocketAddr>) {
    match address {
        Some(SocketAddr::V4(at)) if flags.hexadecimal => {
            let _ = write!(out, "{:08X}", at.ip().to_bits());
        }
        Some(at) => text(out, flags, at.ip().to_string().as_bytes()),
        None => text(out, flags, b"unix"),
    }
}

/// A text: quoted if asked for, and with what cannot be printed, `"` and `#` as `#XX`.
fn text(out: &mut Vec<u8>, flags: Flags, text: &[u8]) {
    if flags.quote {
        out.push(b'"');
    }
    for &byte in text {
        if !(0x20..0x7f).contains(&byte) || matches!(byte, b'"' | b'#') {
            let _ = write!(out, "#{byte:02X}");
        } else {
            if flags.escape && matches!(byte, b'\\' | b']') {
                out.push(b'\\');
            }
            out.push(byte);
        }
    }
    if flags.quote {
        out.push(b'"');
    }
}

/// `06/Feb/2009:12:14:14`, with `.655` if wanted.
pub fn date(out: &mut Vec<u8>, at: SystemTime, zone: &TimeZone, format: &str, millis: bool) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let stamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    number(out, stamp.to_zoned(zone.clone()).strftime(format));
    if millis {
        let _ = write!(out, ".{:03}", since.subsec_millis());
    }
}

/// Whether nothing went wrong, for `option dontlog-normal`.
#[must_use]
pub fn is_normal(session: &Session<'_>) -> bool {
    session.termination.cause == Cause::Normal
        && session.status < 500
        && session.retries == 0
        && !session.redispatched
}

/// Whether something went wrong, for `option log-separate-errors`.
#[must_use]
pub fn is_error(session: &Session<'_>) -> bool {
    session.termination.cause != Cause::Normal || session.status >= 500
}

#[cfg(test)]
mod tests;
