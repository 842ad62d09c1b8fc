//! Where clients connect.

use super::{Connection, ErrorPages, ForwardFor, Mode, Tcp};
use crate::http::capture::Captures;
use crate::http::format::Format;
use crate::http::hooks::{Route, Rules};
use crate::http::rules::{Admission, Inspection};
use std::{net::SocketAddr, os::fd::RawFd, path::PathBuf, sync::Arc, time::Duration};

/// A frontend, or the first half of a `listen`.
#[derive(Clone, Debug)]
pub struct Frontend {
    /// Its name in logs and statistics.
    pub name: String,
    /// What is spoken.
    pub mode: Mode,
    /// Where it listens.
    pub binds: Vec<Bind>,
    /// Client connections at most; 0 is no limit of its own (`maxconn`).
    pub maxconn: u32,
    /// Sessions in a second at most; 0 is no limit (`rate-limit sessions`).
    pub session_rate: u32,
    /// Whether it starts out not accepting (`disabled`).
    pub disabled: bool,
    /// Keep-alive, close or tunnel.
    pub connection: Connection,
    /// The client's timeouts.
    pub timeouts: ClientTimeouts,
    /// Close client connections with RST (`option nolinger`).
    pub nolinger: bool,
    /// Don't log connections whose clients sent nothing (`option dontlognull`).
    pub dontlognull: bool,
    /// Neither answer, count nor log clients that sent nothing (`option http-ignore-probes`).
    pub ignore_probes: bool,
    /// Its log lines say where a server was connected from (`%bi`, `%bp`).
    pub logs_source: bool,
    /// What of messages is kept for the log (`capture`).
    pub captures: Captures,
    /// It is the first half of a `listen` with a `cookie`, of which its log tells even where no
    /// request got to the second half.
    pub has_cookie: bool,
    /// Add `X-Forwarded-For` (`option forwardfor`).
    pub forwardfor: Option<ForwardFor>,
    /// What every request is called (`unique-id-format`).
    pub unique_id: Option<UniqueId>,
    /// Add `X-Original-To` (`option originalto`).
    pub originalto: Option<ForwardFor>,
    /// Pages that take the place of the built-in ones.
    pub error_pages: ErrorPages,
    /// `tcp-request connection` and `session`.
    pub admission: Option<Arc<Admission>>,
    /// Wait for the bodies of requests first (`option http-buffer-request`).
    pub buffers_requests: bool,
    /// `tcp-request content`.
    pub inspection: Option<Arc<Inspection>>,
    /// `http-request` and `http-response` rules.
    pub rules: Option<Arc<dyn Rules>>,
    /// `use_backend` rules.
    pub route: Option<Arc<dyn Route>>,
    /// Index into [`Settings::backends`](super::Settings::backends) (`default_backend`).
    pub default_backend: Option<usize>,
}

impl Default for Frontend {
    fn default() -> Self {
        Self {
            name: String::new(),
            mode: Mode::Tcp,
            binds: Vec::new(),
            maxconn: 0,
            session_rate: 0,
            disabled: false,
            connection: Connection::KeepAlive,
            timeouts: ClientTimeouts::default(),
            nolinger: false,
            dontlognull: false,
            ignore_probes: false,
            logs_source: false,
            captures: Captures::default(),
            has_cookie: false,
            forwardfor: None,
            unique_id: None,
            originalto: None,
            error_pages: ErrorPages::default(),
            admission: None,
            buffers_requests: false,
            inspection: None,
            rules: None,
            route: None,
            default_backend: None,
        }
    }
}

/// `unique-id-format` and `unique-id-header`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueId {
    /// How it is made.
    pub format: Format,
    /// The field in which servers are told it.
    pub header: Option<Arc<str>>,
}

/// Timeouts of the client's side; none is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// Silence while data is expected or is to be taken (`timeout client`).
    pub client: Option<Duration>,
    /// Silence after a half close (`timeout client-fin`); none takes `client`.
    pub client_fin: Option<Duration>,
    /// A whole request head (`timeout http-request`); none takes `client`.
    pub http_request: Option<Duration>,
    /// Waiting for the next request (`timeout http-keep-alive`); none takes `http_request`.
    pub http_keep_alive: Option<Duration>,
    /// How long a tarpit holds; none answers at once (`timeout tarpit`).
    pub tarpit: Option<Duration>,
}

impl ClientTimeouts {
    /// How long a connection may be idle between two requests.
    #[must_use]
    pub fn between_requests(&self) -> Option<Duration> {
        self.http_keep_alive.or(self.http_request).or(self.client)
    }
}

/// One address that a frontend listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Bind {
    /// The address.
    pub address: BindAddress,
    /// Its name, or its number among the frontend's.
    pub name: String,
    /// A proxy connects here, and says first whose connection it passes on (`accept-proxy`).
    pub accept_proxy: bool,
    /// Wake only when the client's first bytes are there (TCP_DEFER_ACCEPT, `defer-accept`).
    /// Not for protocols in which the server speaks first; clients that stay silent are then
    /// invisible to `timeout http-request`.
    pub defer_accept: bool,
    /// Connections at once on this address; 0 is no limit of its own (`maxconn`).
    pub maxconn: u32,
    /// Accept IPv4 on an IPv6 address (`v4v6`) or not (`v6only`).
    pub v6only: Option<bool>,
    /// The length of the kernel's queue of unaccepted connections; 0 takes the frontend's
    /// maxconn (`backlog`).
    pub backlog: u32,
    /// Bind an address that the host does not have (`transparent`).
    pub transparent: bool,
    /// The device that the address is bound to (`interface`).
    pub interface: Option<String>,
    /// What TCP does of itself on what is accepted.
    pub tcp: Tcp,
    /// Take data in a SYN (TCP_FASTOPEN, `tfo`).
    pub fast_open: bool,
    /// The largest segment (TCP_MAXSEG, `mss`).
    pub mss: Option<u16>,
    /// Permissions of a Unix socket (`mode`, octal in the configuration).
    pub unix_mode: Option<u32>,
    /// Owner of a Unix socket (`uid`, `user`).
    pub unix_uid: Option<u32>,
    /// Group of a Unix socket (`gid`, `group`).
    pub unix_gid: Option<u32>,
}

impl Bind {
    /// Listens on `address` with the defaults.
    pub fn new(address: BindAddress) -> Self {
        Self {
            address,
            name: String::new(),
            accept_proxy: false,
            defer_accept: false,
            maxconn: 0,
            v6only: None,
            backlog: 0,
            transparent: false,
            interface: None,
            tcp: Tcp::default(),
            fast_open: false,
            mss: None,
            unix_mode: None,
            unix_uid: None,
            unix_gid: None,
        }
    }

    /// Whether a socket that was bound for one may be the other's: that differ only in what a bound
    /// socket can still be told.
    #[must_use]
    pub fn is_bound_as(&self, other: &Self) -> bool {
        let bound = |bind: &Self| {
            let file = (bind.unix_mode, bind.unix_uid, bind.unix_gid);
            (bind.v6only.unwrap_or(true), bind.transparent, file)
        };
        (&self.address, &self.interface) == (&other.address, &other.interface)
            && bound(self) == bound(other)
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum BindAddress {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A Unix stream socket in the abstract namespace (`abns@`).
    Abstract(Vec<u8>),
    /// A listening socket that was inherited (`fd@`).
    Fd(RawFd),
}
