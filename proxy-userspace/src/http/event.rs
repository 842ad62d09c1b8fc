//! A finished session, as HAProxy's logs know it.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::live;

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

    /// The first two characters; logs of `mode http` add two for cookies, `--`.
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

/// How long each step took; none if it was not reached (-1 in logs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// Waiting for the request's first byte on a kept connection (Ti).
    pub idle: Option<Duration>,
    /// Receiving the request's head (TR).
    pub request: Option<Duration>,
    /// In queues (Tw).
    pub queue: Option<Duration>,
    /// Connecting, retries included (Tc).
    pub connect: Option<Duration>,
    /// Waiting for the response's head (Tr).
    pub response: Option<Duration>,
    /// From the request's first byte to the end (Ta).
    pub active: Duration,
    /// From accept, or the end of the previous request, to the end (Tt).
    pub total: Duration,
}

/// A request, or a connection without one, that is over.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// Where the client connected.
    pub frontend: &'a live::Frontend,
    /// Where the request went.
    pub backend: Option<&'a live::Backend>,
    /// Who answered, or should have.
    pub server: Option<&'a live::Server>,
    /// The client; none on a Unix socket.
    pub client: Option<SocketAddr>,
    /// The address the client connected to; none on a Unix socket.
    pub local: Option<SocketAddr>,
    /// Where the server was connected from, where [the frontend](super::settings::Frontend) asks.
    pub source: Option<SocketAddr>,
    /// When it was accepted, or the request's first byte came (`%tr`).
    pub started: SystemTime,
    /// How long each step took.
    pub timers: Timers,
    /// The status sent to the client; 0 if none was (-1 in logs).
    pub status: u16,
    /// Bytes sent to the client, heads included.
    pub bytes_out: u64,
    /// Bytes received from the client, heads included.
    pub bytes_in: u64,
    /// How it ended.
    pub termination: Termination,
    /// Client connections of the process.
    pub actconn: u32,
    /// Client connections of the frontend.
    pub feconn: u32,
    /// Sessions of the backend.
    pub beconn: u32,
    /// Sessions of the server.
    pub srvconn: u32,
    /// Connection attempts after the first.
    pub retries: u32,
    /// Whether it went to another server than the one first chosen (`+` in logs).
    pub redispatched: bool,
    /// Requests before this one in the server's queue.
    pub srv_queue: u32,
    /// Requests before this one in the backend's queue.
    pub backend_queue: u32,
    /// `GET / HTTP/1.1` as received; empty if no valid one was (`<BADREQ>` in logs), and in
    /// `mode tcp`.
    pub request_line: &'a [u8],
    /// Whether the answer was the statistics page (`<STATS>` in logs).
    pub stats: bool,
    /// Unique per process, ever growing.
    pub serial: u64,
}
