//! Where requests go.

use super::{Connection, ErrorPages, ForwardFor, Mode, Server};
use crate::http::cookie::{Cookie, PersistRule};
use crate::http::hooks::{Balance, Rules, ServerRules};
use crate::http::rules::Inspection;
use std::{sync::Arc, time::Duration};

/// A backend, or the second half of a `listen`.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name in logs and statistics.
    pub name: String,
    /// Whether it is the second half of a `listen`.
    pub of_listen: bool,
    /// What is spoken.
    pub mode: Mode,
    /// Its servers, in the configuration's order.
    pub servers: Vec<Server>,
    /// All backup servers are used where there is no other, and not the first one (`option
    /// allbackups`).
    pub all_backups: bool,
    /// Which server gets a request.
    pub balance: Arc<dyn Balance>,
    /// The load at which a server gets its full maxconn (`fullconn`).
    pub fullconn: u32,
    /// The cookie that binds a client to a server (`cookie`).
    pub cookie: Option<Cookie>,
    /// It binds to servers that are down, too (`option persist`).
    pub persist: bool,
    /// `force-persist` and `ignore-persist`, in order.
    pub persist_rules: Vec<PersistRule>,
    /// Connection attempts after the first (`retries`, 3).
    pub retries: u32,
    /// After what failures there are more attempts (`retry-on`).
    pub retry_on: RetryOn,
    /// When another server may be tried (`option redispatch`).
    pub redispatch: Redispatch,
    /// How far server connections are shared between clients (`http-reuse`).
    pub reuse: Reuse,
    /// Keep-alive, close or tunnel.
    pub connection: Connection,
    /// The server's timeouts.
    pub timeouts: ServerTimeouts,
    /// Stay on the client's last server where that is up and has room (`option prefer-last-server`).
    pub prefer_last: bool,
    /// Don't say `Connection: close` to servers (`option http-pretend-keepalive`).
    pub pretend_keepalive: bool,
    /// Close server connections with RST at once (`option nolinger`).
    pub nolinger: bool,
    /// Give up a request whose client has gone (`option abortonclose`).
    pub abortonclose: bool,
    /// Let the ACK of the handshake travel with the request (`option tcp-smart-connect`).
    pub smart_connect: bool,
    /// Add `X-Forwarded-For` (`option forwardfor`).
    pub forwardfor: Option<ForwardFor>,
    /// Add `X-Original-To` (`option originalto`).
    pub originalto: Option<ForwardFor>,
    /// Pages that take the place of the built-in ones.
    pub error_pages: ErrorPages,
    /// `use-server` rules, which go before the balance.
    pub server_rules: Option<Arc<dyn ServerRules>>,
    /// Wait for the bodies of requests first (`option http-buffer-request`).
    pub buffers_requests: bool,
    /// `tcp-request content`.
    pub inspection: Option<Arc<Inspection>>,
    /// `tcp-response content`.
    pub hearing: Option<Arc<Inspection>>,
    /// `http-request` and `http-response` rules.
    pub rules: Option<Arc<dyn Rules>>,
}

impl Backend {
    /// A backend without servers and with the defaults.
    pub fn new(name: impl Into<String>, balance: Arc<dyn Balance>) -> Self {
        Self {
            name: name.into(),
            of_listen: false,
            mode: Mode::Tcp,
            servers: Vec::new(),
            all_backups: false,
            balance,
            fullconn: 0,
            cookie: None,
            persist: false,
            persist_rules: Vec::new(),
            retries: 3,
            retry_on: RetryOn::default(),
            redispatch: Redispatch::Never,
            reuse: Reuse::Safe,
            connection: Connection::KeepAlive,
            timeouts: ServerTimeouts::default(),
            prefer_last: false,
            pretend_keepalive: false,
            nolinger: false,
            abortonclose: false,
            smart_connect: false,
            forwardfor: None,
            originalto: None,
            error_pages: ErrorPages::default(),
            server_rules: None,
            buffers_requests: false,
            inspection: None,
            hearing: None,
            rules: None,
        }
    }
}

/// Timeouts of the server's side; none is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// Establishing the connection (`timeout connect`).
    pub connect: Option<Duration>,
    /// Silence of the server (`timeout server`).
    pub server: Option<Duration>,
    /// Silence after a half close (`timeout server-fin`); none takes `server`.
    pub server_fin: Option<Duration>,
    /// Waiting for a free connection slot (`timeout queue`); none takes `connect`.
    pub queue: Option<Duration>,
    /// Silence of a tunnel in both directions (`timeout tunnel`); none takes the sides' own.
    pub tunnel: Option<Duration>,
    /// How long a tarpit of its rules holds; none answers at once (`timeout tarpit`).
    pub tarpit: Option<Duration>,
}

/// After what failures a request is tried again (`retry-on`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// A connection that fails (`conn-failure`).
    pub connect: bool,
    /// A server that closes before the head of its response is whole (`empty-response`).
    pub empty: bool,
    /// One that does not answer in time (`response-timeout`).
    pub late: bool,
    /// What is no response (`junk-response`).
    pub junk: bool,
    /// Responses of these statuses.
    pub statuses: Vec<u16>,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self { connect: true, empty: false, late: false, junk: false, statuses: Vec::new() }
    }
}

impl RetryOn {
    /// Whether there is anything for which a request has to be kept once it was sent.
    #[must_use]
    pub fn keeps_requests(&self) -> bool {
        self.empty || self.late || self.junk || !self.statuses.is_empty()
    }
}

/// When a request may go to another server than the one chosen (`option redispatch`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redispatch {
    /// Never.
    #[default]
    Never,
    /// On the last retry (`option redispatch`, and -1).
    Last,
    /// On every n-th retry (`option redispatch N`).
    Every(u32),
    /// On the n-th retry before the last (`option redispatch -N`).
    BeforeLast(u32),
}

/// How far server connections are shared between clients (`http-reuse`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Not at all.
    Never,
    /// The first request of a client's connection gets a fresh one; later ones any idle one.
    #[default]
    Safe,
    /// As `safe`, and first requests get connections that have proven to be reusable.
    Aggressive,
    /// Any request gets any idle connection.
    Always,
}
