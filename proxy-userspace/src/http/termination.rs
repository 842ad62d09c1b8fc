//! How a session ended: HAProxy's termination state.

use std::fmt;

/// Who ended a session: the first character of HAProxy's termination state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// `-`: it ended well.
    #[default]
    Normal,
    /// `C`: the client's connection was closed or reset.
    Client,
    /// `S`: the server's connection was closed, reset or refused.
    Server,
    /// `P`: the proxy: a limit, a rule, a malformed message.
    Proxy,
    /// `L`: answered by the proxy itself.
    Local,
    /// `R`: a resource of the proxy was exhausted.
    Resource,
    /// `I`: an internal error.
    Internal,
    /// `D`: the server went down (`on-marked-down shutdown-sessions`).
    Down,
    /// `K`: killed by an operator.
    Killed,
    /// `U`: another server came up (`on-marked-up shutdown-backup-sessions`).
    Up,
    /// `c`: the client's timeout.
    ClientTimeout,
    /// `s`: the server's timeout.
    ServerTimeout,
}

/// What the session was doing: the second character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// `-`: nothing that was missed.
    #[default]
    None,
    /// `R`: waiting for a request.
    Request,
    /// `Q`: in a queue.
    Queue,
    /// `C`: connecting.
    Connect,
    /// `H`: waiting for the response's head.
    Headers,
    /// `D`: transferring data.
    Data,
    /// `L`: sending the last data to the client.
    Last,
    /// `T`: held in a tarpit.
    Tarpit,
}

/// HAProxy's termination state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Termination {
    /// Who.
    pub cause: Cause,
    /// When.
    pub phase: Phase,
}

impl Termination {
    /// A session that ended well.
    pub const NORMAL: Self = Self { cause: Cause::Normal, phase: Phase::None };

    /// `cause` during `phase`.
    pub const fn new(cause: Cause, phase: Phase) -> Self {
        Self { cause, phase }
    }

    /// The first two characters; logs of `mode http` add two for [cookies](super::cookie::Choice).
    pub fn letters(self) -> [u8; 2] {
        let cause = match self.cause {
            Cause::Normal => b'-',
            Cause::Client => b'C',
            Cause::Server => b'S',
            Cause::Proxy => b'P',
            Cause::Local => b'L',
            Cause::Resource => b'R',
            Cause::Internal => b'I',
            Cause::Down => b'D',
            Cause::Up => b'U',
            Cause::Killed => b'K',
            Cause::ClientTimeout => b'c',
            Cause::ServerTimeout => b's',
        };
        let phase = match self.phase {
            Phase::None => b'-',
            Phase::Request => b'R',
            Phase::Queue => b'Q',
            Phase::Connect => b'C',
            Phase::Headers => b'H',
            Phase::Data => b'D',
            Phase::Last => b'L',
            Phase::Tarpit => b'T',
        };
        [cause, phase]
    }
}

impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [cause, phase] = self.letters();
        write!(f, "{}{}--", char::from(cause), char::from(phase))
    }
}
