//! A finished session, as HAProxy's logs know it, and who is told of it.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::{capture::Captured, cookie::Letters, edit::Edit, live};

pub use super::termination::{Cause, Phase, Termination};

/// How long each step took; none if it was not reached (-1 in logs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// Waiting for what a proxy says of the connection (Th).
    pub handshake: Duration,
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
    /// An interim response (1xx) was there: without another the status is 0 in logs, too.
    pub hinted: bool,
    /// Bytes sent to the client, heads included.
    pub bytes_out: u64,
    /// Bytes received from the client, heads included.
    pub bytes_in: u64,
    /// How it ended.
    pub termination: Termination,
    /// What is said of its cookie.
    pub cookies: Letters,
    /// What was kept of the request and of the response; none where there was no request.
    pub captured: Option<[&'a Captured; 2]>,
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
    /// Whether it is the first request of its connection.
    pub is_first: bool,
    /// How many requests there were before it, of the whole process.
    pub serial: u64,
    /// The level of its log line, where a rule says one (`set-log-level`).
    pub level: Option<u8>,
    /// What it is called, where it has a name already (`%ID`).
    pub unique_id: &'a [u8],
    /// The variables that are left.
    pub variables: &'a [Edit],
}

impl<'a> Session<'a> {
    /// One of which nothing is known yet but where it came in, and when.
    #[must_use]
    pub fn new(frontend: &'a live::Frontend, started: SystemTime) -> Self {
        Self {
            frontend,
            backend: None,
            server: None,
            client: None,
            local: None,
            source: None,
            started,
            timers: Timers::default(),
            status: 0,
            hinted: false,
            bytes_out: 0,
            bytes_in: 0,
            termination: Termination::NORMAL,
            cookies: Letters::default(),
            captured: None,
            actconn: 0,
            feconn: 0,
            beconn: 0,
            srvconn: 0,
            retries: 0,
            redispatched: false,
            srv_queue: 0,
            backend_queue: 0,
            request_line: b"",
            stats: false,
            is_first: true,
            serial: 0,
            level: None,
            unique_id: b"",
            variables: &[],
        }
    }
}

/// Where finished sessions go.
pub trait Log: Send + Sync {
    /// Whether sessions are to be told at all: what is in them need not be gathered if not.
    fn wanted(&self) -> bool {
        true
    }
    /// A request or a connection is over.
    fn session(&self, session: &Session<'_>);
    /// A connection is over that never became a session.
    fn stillborn(&self, _connection: &Stillborn<'_>) {}
}

/// A connection that ended before its session began: nobody said, or well, whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Stillborn<'a> {
    /// Where the client connected.
    pub frontend: &'a live::Frontend,
    /// The name of the address, or its number.
    pub bind: &'a str,
    /// Who connected; none on a Unix socket.
    pub client: Option<SocketAddr>,
    /// When it was accepted.
    pub accepted: SystemTime,
    /// In HAProxy's words.
    pub why: &'static str,
}
