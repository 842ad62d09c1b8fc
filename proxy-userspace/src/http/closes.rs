//! What the engine says about the closes of its connections, and to whom.
//!
//! The engine itself closes as the mode asks for; how a close looks on the wire by policy is the
//! kernel side's to change. The daemon implements [`Closes`] and joins what it hears to the
//! connection's record by the socket's cookie (SO_COOKIE).

use std::os::fd::BorrowedFd;

use super::{cookie::Letters, live, termination::Termination};

/// What kind of close the engine is about to make (RFC 9293, 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The engine closes first.
    Active,
    /// The server's FIN was seen first.
    Passive,
    /// The connection was a health check's.
    Check,
    /// The connection was a tunnel: `mode tcp`, CONNECT, Upgrade.
    Tunnel,
}

/// A connection to a server, named for the kernel side.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// The backend.
    pub backend: &'a live::Backend,
    /// The server.
    pub server: &'a live::Server,
}

/// A request's method, without an allocation where it is a usual one. Empty is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(Name);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// Its place in [`USUAL`].
    Usual(u8),
    #[expect(clippy::box_collection, reason = "idle connections keep one: a word, not three")]
    Other(Box<String>),
}

const USUAL: [&str; 9] =
    ["", "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"];

impl Method {
    /// No method.
    pub const NONE: Self = Self(Name::Usual(0));

    /// Its text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Usual(at) => USUAL[usize::from(*at)],
            Name::Other(name) => name,
        }
    }
}

impl From<&str> for Method {
    fn from(name: &str) -> Self {
        let usual = USUAL.iter().position(|usual| *usual == name);
        match usual.and_then(|at| u8::try_from(at).ok()) {
            Some(at) => Self(Name::Usual(at)),
            None => Self(Name::Other(Box::new(name.to_owned()))),
        }
    }
}

impl Default for Method {
    fn default() -> Self {
        Self::NONE
    }
}

/// What a connection's last request was doing when the connection closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// HAProxy's termination state; its second character is the phase.
    pub termination: Termination,
    /// What is said of its cookie, behind that.
    pub cookies: Letters,
    /// The last request's method; none in `mode tcp`.
    pub method: Method,
    /// The last response's status; 0 if there was none.
    pub status: u16,
    /// How many requests the connection carried.
    pub requests: u32,
    /// Whether its log line has the four characters of `mode http`, or the two of `mode tcp`.
    pub http: bool,
}

/// A socket as the one who hears of closes knows it: what [`Closes::opened`] returned, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookie(pub u64);

/// Hears of closes before they happen; what it does not override it does not hear.
pub trait Closes: Send + Sync {
    /// A connection to a server is about to be opened: called before connect(2), by the thread
    /// that makes that call. What it returns is given back when the connection closes.
    /// Whoever does not listen has no cookie for it.
    fn opened(&self, _socket: BorrowedFd<'_>, _upstream: Upstream<'_>, _class: Class) -> Cookie {
        Cookie::default()
    }
    /// The socket is closed next; `_reset` says that the engine asks for RST (SO_LINGER 0).
    /// Client connections are told too, with no upstream and no cookie.
    fn stated(
        &self,
        _socket: (BorrowedFd<'_>, Cookie),
        _upstream: Option<Upstream<'_>>,
        _class: Class,
        _reset: bool,
        _doing: &Doing,
    ) {
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_reads_back() {
        for name in ["", "GET", "CONNECT", "BREW", "VERSION-CONTROL"] {
            assert_eq!(Method::from(name).as_str(), name);
        }
        assert_eq!(Method::default(), Method::NONE);
    }
}
