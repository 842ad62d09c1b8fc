//! What each variable writes of a session.

use super::date::date;
use super::variables::Variable;
use super::{Flags, Surroundings, captured};
use crate::http::encode;
use crate::http::event::{Session, Timers};
use crate::http::hooks;
use crate::http::live;
use crate::http::settings::{Mode, ServerAddress};
use jiff::tz::TimeZone;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

impl Variable {
    /// Appends what it stands for.
    pub(super) fn write(
        self,
        flags: Flags,
        session: &Session<'_>,
        surroundings: &Surroundings,
        out: &mut Vec<u8>,
    ) {
        let times = &session.timers;
        let server_address = || match session.server.map(live::Server::address) {
            Some(ServerAddress::Inet(address)) => Some(address),
            _ => None,
        };
        let backend =
            || session.backend.map_or(&session.frontend.settings.name, |b| &b.settings.name);
        match self {
            Self::BytesOut => number(out, session.bytes_out),
            Self::BytesIn => number(out, session.bytes_in),
            Self::RequestCookie | Self::ResponseCookie => {
                let of = usize::from(self == Self::ResponseCookie);
                let cookie = session.captured.and_then(|captured| captured[of].cookie.as_deref());
                text(out, flags, cookie.unwrap_or_default());
            }
            Self::TlsCiphers | Self::TlsVersion => text(out, flags, b""),
            Self::UniqueId => text(out, flags, session.unique_id),
            Self::Host => text(out, flags, surroundings.host.as_bytes()),
            Self::Method => encoded(out, flags, line(session).0),
            Self::Path => {
                let target = line(session).1;
                encoded(out, flags, target.split(|&b| b == b'?').next().unwrap_or_default());
            }
            Self::PathOnly if session.request_line.is_empty() => {
                encoded(out, flags, b"<BADREQ>");
            }
            Self::PathOnly => {
                let target = str::from_utf8(line(session).1).unwrap_or_default();
                let path = hooks::path(target);
                encoded(out, flags, if path.starts_with('/') { path.as_bytes() } else { b"" });
            }
            Self::Query if session.request_line.is_empty() => encoded(out, flags, b"<BADREQ>"),
            Self::Query => {
                let target = line(session).1;
                let at = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
                encoded(out, flags, &target[at..]);
            }
            Self::Uri => encoded(out, flags, line(session).1),
            Self::Version => encoded(out, flags, line(session).2),
            Self::Status if session.status == 0 && !session.hinted => out.extend_from_slice(b"-1"),
            Self::Status => number(out, session.status),
            Self::ActiveTime => number(out, times.active.as_millis()),
            Self::ConnectTime => maybe(out, times.connect),
            Self::QueueTime => maybe(out, times.queue),
            Self::RequestTime => maybe(out, times.request),
            Self::ResponseTime => maybe(out, times.response),
            Self::IdleTime => number(out, times.idle.unwrap_or_default().as_millis()),
            Self::HandshakeTime => number(out, times.handshake.as_millis()),
            Self::RequestTimeWithIdle => {
                maybe(out, times.request.map(|time| time + before(times)));
            }
            Self::DataTime => {
                let before = [times.request, times.queue, times.connect, times.response];
                let whole: Option<Duration> = before.into_iter().sum();
                maybe(out, whole.map(|whole| times.active.saturating_sub(whole)));
            }
            Self::TotalTime => number(out, times.total.as_millis()),
            Self::UserTime => {
                number(out, times.total.saturating_sub(before(times)).as_millis());
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
            Self::ClientPort => port(out, flags, session.client),
            Self::ServerIp | Self::ServerPort if session.server.is_none() => text(out, flags, b""),
            Self::ServerIp => ip(out, flags, server_address()),
            Self::ServerPort => port(out, flags, server_address()),
            Self::FrontendIp => ip(out, flags, session.local),
            Self::FrontendPort => port(out, flags, session.local),
            Self::BackendSourceIp | Self::BackendSourcePort if session.source.is_none() => {
                text(out, flags, b"");
            }
            Self::BackendSourceIp => ip(out, flags, session.source),
            Self::BackendSourcePort => port(out, flags, session.source),
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
            Self::RequestHeaders => captured::braced(out, flags, session, 0),
            Self::ResponseHeaders => captured::braced(out, flags, session, 1),
            Self::RequestHeadersClf => captured::listed(out, flags, session, 0),
            Self::ResponseHeadersClf => captured::listed(out, flags, session, 1),
            Self::SetFlags => {}
            Self::LogCounter => count(out, flags, session.frontend.logged.load(Relaxed)),
            Self::RequestCounter => count(out, flags, session.serial),
            Self::ModeName => out.extend_from_slice(match session.frontend.settings.mode {
                Mode::Http => b"HTTP",
                Mode::Tcp => b"TCP",
            }),
            Self::Pid => count(out, flags, std::process::id().into()),
            Self::Request if session.request_line.is_empty() => encoded(out, flags, b"<BADREQ>"),
            Self::Request => encoded(out, flags, session.request_line),
            Self::Termination => out.extend_from_slice(&session.termination.letters()),
            Self::TerminationCookies => {
                out.extend_from_slice(&session.termination.letters());
                out.extend_from_slice(&session.cookies.0);
            }
            Self::Seconds | Self::Milliseconds => {
                let since = accepted(session).duration_since(SystemTime::UNIX_EPOCH);
                let since = since.unwrap_or_default();
                // A vector takes everything.
                let _ = match self {
                    Self::Seconds => return count(out, flags, since.as_secs()),
                    _ if flags.hexadecimal => write!(out, "{:02X}", since.subsec_millis()),
                    _ => write!(out, "{:03}", since.subsec_millis()),
                };
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

/// How long the connection was there before the request began.
fn before(times: &Timers) -> Duration {
    times.handshake + times.idle.unwrap_or_default()
}

/// When the connection was accepted, or the request before it was over.
fn accepted(session: &Session<'_>) -> SystemTime {
    session.started.checked_sub(before(&session.timers)).unwrap_or(session.started)
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

/// A number in decimal.
fn number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // A vector takes everything.
    let _ = write!(out, "{number}");
}

/// A number that is in hexadecimal where that is asked for.
fn count(out: &mut Vec<u8>, flags: Flags, count: u64) {
    if flags.hexadecimal {
        // A vector takes everything.
        let _ = write!(out, "{count:04X}");
    } else {
        number(out, count);
    }
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
        Some(SocketAddr::V6(at)) if flags.hexadecimal => {
            let _ = write!(out, "{:032X}", at.ip().to_bits());
        }
        Some(at) => text(out, flags, at.ip().to_string().as_bytes()),
        None => text(out, flags, b"unix"),
    }
}

fn port(out: &mut Vec<u8>, flags: Flags, address: Option<SocketAddr>) {
    let port = address.map_or(0, |at| at.port());
    if flags.hexadecimal {
        let _ = write!(out, "{port:04X}");
    } else {
        number(out, port);
    }
}

/// A text as it is, quoted if asked for.
pub(super) fn text(out: &mut Vec<u8>, flags: Flags, text: &[u8]) {
    quoted(out, flags, |out| match text {
        b"" if flags.mandatory && !flags.quote => out.push(b'-'),
        _ if !flags.escape => out.extend_from_slice(text),
        _ => text.iter().for_each(|&byte| escaped(out, byte)),
    });
}

/// Whether a byte would do something else than stand in a line.
pub(super) fn is_control(byte: &u8) -> bool {
    byte.is_ascii_control() && *byte != b'\t'
}

/// A sample with its control characters as `%XX`, as HAProxy's rules have it: no value of a client's
/// begins another line.
pub(super) fn without_controls(text: &[u8]) -> Vec<u8> {
    encode::percent(text, |byte| !is_control(byte))
}

/// A part of what a client sent: what cannot be printed, `"` and `#` as `#XX`.
fn encoded(out: &mut Vec<u8>, flags: Flags, text: &[u8]) {
    quoted(out, flags, |out| encode(out, flags, text, b"\"#"));
}

/// What cannot be printed, and `others`, as `#XX`.
pub(super) fn encode(out: &mut Vec<u8>, flags: Flags, text: &[u8], others: &[u8]) {
    for &byte in text {
        if !(0x20..0x7f).contains(&byte) || others.contains(&byte) {
            let _ = write!(out, "#{byte:02X}");
        } else if flags.escape {
            escaped(out, byte);
        } else {
            out.push(byte);
        }
    }
}

pub(super) fn quoted(out: &mut Vec<u8>, flags: Flags, write: impl FnOnce(&mut Vec<u8>)) {
    let quote: &[u8] = if flags.quote { b"\"" } else { b"" };
    out.extend_from_slice(quote);
    write(out);
    out.extend_from_slice(quote);
}

/// As RFC 5424's values have it.
fn escaped(out: &mut Vec<u8>, byte: u8) {
    if matches!(byte, b'"' | b'\\' | b']') {
        out.push(b'\\');
    }
    out.push(byte);
}
