//! What the engine says about the closes of its connections, and to whom.
//!
//! The engine itself closes as the mode asks for; how a close looks on the wire by policy is the
//! kernel side's to change. The daemon implements [`Closes`] and joins what it hears to the
//! connection's record by the socket's cookie (SO_COOKIE).

use std::os::fd::BorrowedFd;

use super::{event::Termination, live};

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

/// What a request was doing when its connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing<'a> {
    /// HAProxy's four characters; the second one is the phase.
    pub termination: Termination,
    /// The last request's method; empty in `mode tcp`.
    pub method: &'a str,
    /// The last response's status; 0 if there was none.
    pub status: u16,
}

impl Doing<'_> {
    /// No request was there.
    pub const NOTHING: Self = Self { termination: Termination::NORMAL, method: "", status: 0 };
}

/// Hears of closes before they happen.
pub trait Closes: Send + Sync {
    /// A connection to a server was opened. Called before its first byte is sent.
    fn opened(&self, socket: BorrowedFd<'_>, upstream: Upstream<'_>, class: Class);
    /// The socket is closed next; `reset` says that the engine asks for RST (SO_LINGER 0).
    /// Client connections are told too, with no upstream.
    fn stated(
        &self,
        socket: BorrowedFd<'_>,
        upstream: Option<Upstream<'_>>,
        class: Class,
        reset: bool,
        doing: Doing<'_>,
    );
}
