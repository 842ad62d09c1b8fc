//! A close with what the machine does not know of it: names, the wall's time, the kernel's words.

use super::label::Label;
use proxy_common::acts::{Acts, CHANGED, Cause};
use proxy_common::segment::{ACK, FIN, RST};
use proxy_common::verdict::{Close, EndReport, Owner, Role, Signal};

/// What is shown of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// How it closed.
    pub close: &'a Close,
    /// When that was over, in nanoseconds since 1970.
    pub unix_ns: i64,
    /// What the configuration calls it.
    pub label: Label<'a>,
    /// The kernel's name for the reason of the RST that ended it.
    pub rst_reason: Option<&'a str>,
    /// What a rule of the operator's changed about it.
    pub change: Option<Change<'a>>,
    /// What this host's own proxy said of its last request.
    pub said: Option<Said<'a>>,
    /// How long it has been half open, in nanoseconds, where it still is: then `close` is not over.
    pub half_open_ns: Option<u64>,
}

/// What teardown's own proxy said of a connection when it closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// `traffic`, `check` or `tunnel`.
    pub class: &'static str,
    /// HAProxy's termination state, as in its log: four characters, or two in `mode tcp`.
    pub termination: Letters,
    /// What the session was doing, the second character of that in a word.
    pub phase: Option<&'static str>,
    /// The last request's method.
    pub method: Option<&'a str>,
    /// The status of the last response.
    pub status: Option<u16>,
    /// Requests that the connection carried.
    pub requests: u32,
}

impl Said<'_> {
    /// The class of that name.
    #[must_use]
    pub fn class(name: &str) -> Option<&'static str> {
        ["traffic", "check", "tunnel"].into_iter().find(|class| *class == name)
    }

    /// The phase of that name.
    #[must_use]
    pub fn phase(name: &str) -> Option<&'static str> {
        ["request", "queue", "connect", "headers", "data", "last", "tarpit"]
            .into_iter()
            .find(|phase| *phase == name)
    }
}

/// Up to four letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letters {
    letters: [u8; 4],
    length: u8,
}

impl Letters {
    /// The first `length` of these ASCII letters.
    #[must_use]
    pub const fn new(letters: [u8; 4], length: u8) -> Self {
        Self { letters, length }
    }

    /// The same of a text; `None` where it is another.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'-';
        if text.len() > 4 || !text.as_bytes().iter().all(is_letter) {
            return None;
        }
        let mut letters = [b'-'; 4];
        letters[..text.len()].copy_from_slice(text.as_bytes());
        Some(Self::new(letters, text.len() as u8))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let letters = self.letters.get(..usize::from(self.length)).unwrap_or(&self.letters);
        str::from_utf8(letters).unwrap_or_default()
    }
}

/// A change that teardown made: what the application asked for is not what went over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Whom the rule is for, as the operator said it; `None` where no rule was the cause.
    pub rule: Option<&'a str>,
    /// Why.
    pub cause: Cause,
    /// What the application made; `None` where it made nothing.
    pub asked: Option<Signal>,
    /// What went over the wire in its place.
    pub sent: Signal,
}

impl<'a> Change<'a> {
    /// The change in a close's record, made by `rule`.
    #[must_use]
    pub fn of(acts: &Acts, rule: &'a str) -> Option<Self> {
        let signal = |flags: u8| match flags & (FIN | RST | ACK) {
            flags if flags & FIN != 0 => Signal::Fin,
            flags if flags & ACK != 0 => Signal::RstAck,
            _ => Signal::Rst,
        };
        acts.has(CHANGED).then(|| Self {
            rule: (acts.rule != 0).then_some(rule),
            cause: Cause::of(acts),
            asked: (acts.asked != 0).then(|| signal(acts.asked)),
            sent: signal(acts.sent),
        })
    }
}

impl<'a> Record<'a> {
    /// A close of which nothing else is known. Its time is taken for the wall's.
    #[must_use]
    pub fn of(close: &'a Close) -> Self {
        Self {
            close,
            unix_ns: close.ended_ns.cast_signed(),
            label: Label::default(),
            rst_reason: None,
            change: None,
            said: None,
            half_open_ns: None,
        }
    }
}

impl Record<'_> {
    /// Whether one end has closed and the other not yet.
    #[must_use]
    pub fn is_half_open(&self) -> bool {
        self.half_open_ns.is_some()
    }

    /// How long it was half closed, or has been by now.
    #[must_use]
    pub fn half_closed_ns(&self) -> Option<u64> {
        self.half_open_ns.or(self.close.half_closed_ns)
    }

    /// Bytes that were received and never read, at both ends together.
    #[must_use]
    pub fn unread_bytes(&self) -> Option<u64> {
        self.thrown_away(|end| end.unread)
    }

    /// Bytes that were sent and never acknowledged, at both ends together.
    #[must_use]
    pub fn unacked_bytes(&self) -> Option<u64> {
        self.thrown_away(|end| end.unacked)
    }

    /// An open connection's bytes may still be read and acknowledged: it has thrown away none.
    fn thrown_away(&self, of: impl Fn(&EndReport) -> Option<u32>) -> Option<u64> {
        if self.is_half_open() {
            return None;
        }
        match (of(&self.close.orig), of(&self.close.resp)) {
            (None, None) => None,
            (one, other) => Some(u64::from(one.unwrap_or(0)) + u64::from(other.unwrap_or(0))),
        }
    }

    /// Whether the close threw data away.
    #[must_use]
    pub fn lost_anything(&self) -> bool {
        self.unread_bytes().is_some_and(|bytes| bytes > 0)
            || self.unacked_bytes().is_some_and(|bytes| bytes > 0)
    }

    /// The process on this host: where both ends are here, the one that the configuration is about,
    /// which is the originator's towards a server and the responder's towards clients.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        let (orig, resp) = (self.close.orig.owner.as_ref(), self.close.resp.owner.as_ref());
        let is_to_client = self.label.server.is_none() && self.label.proxy.is_some();
        if is_to_client { resp.or(orig) } else { orig.or(resp) }
    }

    /// Whether the process at either end has this name.
    #[must_use]
    pub fn is_of_process(&self, name: &[u8]) -> bool {
        let owners = [&self.close.orig.owner, &self.close.resp.owner];
        owners.into_iter().flatten().any(|owner| owner.name() == name)
    }

    /// Why it ended as it did, in one word: the kernel's reason, the socket's error, or what kept
    /// its end from being seen.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        let close = self.close;
        let err = || [&close.orig, &close.resp].into_iter().find_map(|end| errno(end.err?));
        let mark = [
            (close.is_evicted(), "evicted"),
            (close.is_expired(), "expired"),
            (close.is_unfinished(), "unfinished"),
        ];
        let mark = mark.into_iter().find_map(|(holds, word)| holds.then_some(word));
        let midstream = close.is_midstream().then_some("midstream");
        self.rst_reason.or(mark).or_else(err).or(midstream)
    }
}

/// The number of the kernel's reason for the RST that ended a connection: of the end that sent it
/// where both ends know one.
#[must_use]
pub fn rst_reason_code(close: &Close) -> Option<u32> {
    let sender = if close.resp.rst_ns.is_some() && close.orig.rst_ns.is_none() {
        Role::Resp
    } else {
        Role::Orig
    };
    close.end(sender).rst_reason.or(close.end(sender.other()).rst_reason)
}

/// The names of the errors that end connections (errno(3), Linux's numbers).
fn errno(number: u8) -> Option<&'static str> {
    Some(match number {
        32 => "EPIPE",
        71 => "EPROTO",
        100 => "ENETDOWN",
        101 => "ENETUNREACH",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        112 => "EHOSTDOWN",
        113 => "EHOSTUNREACH",
        _ => return None,
    })
}
