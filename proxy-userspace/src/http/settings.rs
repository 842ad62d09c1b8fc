//! What the engine is told to do, in its own types.
//!
//! The engine knows no configuration language: the daemon converts the checked model of a
//! `haproxy.cfg` into these. Defaults are HAProxy 2.6's. A `listen` section is one [`Frontend`]
//! and one [`Backend`] of the same name.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    os::fd::RawFd,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::hooks::{Balance, Route, Rules};

/// Everything the engine runs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What holds for the whole process.
    pub global: Global,
    /// Where clients connect.
    pub frontends: Vec<Frontend>,
    /// Where requests go; frontends name them by index.
    pub backends: Vec<Backend>,
}

/// What holds for the whole process.
#[derive(Clone, Debug)]
pub struct Global {
    /// Workers, each with its own runtime; 0 is one per core (`nbthread`).
    pub threads: usize,
    /// Client connections at most; more wait in the kernel's backlog (`maxconn`).
    pub maxconn: Option<u32>,
    /// How long a soft stop may take before what is left is closed (`hard-stop-after`).
    pub hard_stop_after: Option<Duration>,
    /// The longest message head in bytes, with [`Global::maxrewrite`] kept free
    /// (`tune.bufsize`, 16384).
    pub bufsize: usize,
    /// Room for header rewriting (`tune.maxrewrite`, 1024).
    pub maxrewrite: usize,
    /// The most header fields in a message (`tune.http.maxhdr`, 101).
    pub max_headers: usize,
    /// How long an unused server connection is kept in the pool (`pool-purge-delay`, 5 s).
    pub pool_purge_delay: Duration,
    /// After this time without a byte a keep-alive connection is parked: its task and its
    /// registration are given up, and a nested epoll watches it.
    pub park_after: Duration,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            threads: 0,
            maxconn: None,
            hard_stop_after: None,
            bufsize: 16384,
            maxrewrite: 1024,
            max_headers: 101,
            pool_purge_delay: Duration::from_secs(5),
            park_after: Duration::from_secs(1),
        }
    }
}

impl Global {
    /// The longest message head that is accepted, in bytes.
    pub fn head_limit(&self) -> usize {
        self.bufsize.saturating_sub(self.maxrewrite)
    }
}

/// What is spoken on a connection (`mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// HTTP/1.
    Http,
    /// Bytes.
    #[default]
    Tcp,
}

/// What becomes of the two connections after a response (`option http-keep-alive` and its kin).
///
/// The order is that of precedence: where a frontend and a backend differ, the greater wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Connection {
    /// Both are kept.
    #[default]
    KeepAlive,
    /// Only the first exchange is looked at; then bytes are passed (`option http-tunnel`).
    Tunnel,
    /// The server's is closed, the client's is kept (`option http-server-close`).
    ServerClose,
    /// Both are closed (`option httpclose`, `option forceclose`).
    Close,
}

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
    /// Whether it starts out not accepting (`disabled`).
    pub disabled: bool,
    /// Keep-alive, close or tunnel.
    pub connection: Connection,
    /// The client's timeouts.
    pub timeouts: ClientTimeouts,
    /// Close client connections with RST (`option nolinger`).
    pub nolinger: bool,
    /// Don't log connections that sent nothing (`option dontlognull`).
    pub dontlognull: bool,
    /// Add `X-Forwarded-For` (`option forwardfor`).
    pub forwardfor: Option<ForwardFor>,
    /// Pages that take the place of the built-in ones.
    pub error_pages: ErrorPages,
    /// `http-request` and `http-response` rules.
    pub rules: Option<Arc<dyn Rules>>,
    /// `use_backend` rules.
    pub route: Option<Arc<dyn Route>>,
    /// Index into [`Settings::backends`] (`default_backend`).
    pub default_backend: Option<usize>,
}

impl Default for Frontend {
    fn default() -> Self {
        Self {
            name: String::new(),
            mode: Mode::Tcp,
            binds: Vec::new(),
            maxconn: 0,
            disabled: false,
            connection: Connection::KeepAlive,
            timeouts: ClientTimeouts::default(),
            nolinger: false,
            dontlognull: false,
            forwardfor: None,
            error_pages: ErrorPages::default(),
            rules: None,
            route: None,
            default_backend: None,
        }
    }
}

/// One address that a frontend listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    /// The address.
    pub address: BindAddress,
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
    /// TCP keep-alive on what is accepted (`option clitcpka`, `option tcpka`).
    pub keepalive: bool,
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
            defer_accept: false,
            maxconn: 0,
            v6only: None,
            backlog: 0,
            transparent: false,
            interface: None,
            keepalive: false,
            mss: None,
            unix_mode: None,
            unix_uid: None,
            unix_gid: None,
        }
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
}

/// `option forwardfor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardFor {
    /// The field's name, `X-Forwarded-For` unless said otherwise.
    pub header: String,
    /// Not for clients in this network.
    pub except: Option<(IpAddr, u8)>,
    /// Only where the request has no such field yet (`if-none`).
    pub if_none: bool,
}

impl Default for ForwardFor {
    fn default() -> Self {
        Self { header: "X-Forwarded-For".into(), except: None, if_none: false }
    }
}

/// Whole responses, head included, by status (`errorfile`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages(pub BTreeMap<u16, Arc<[u8]>>);

/// A backend, or the second half of a `listen`.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name in logs and statistics.
    pub name: String,
    /// What is spoken.
    pub mode: Mode,
    /// Its servers, in the configuration's order.
    pub servers: Vec<Server>,
    /// Which server gets a request.
    pub balance: Arc<dyn Balance>,
    /// Connection attempts after the first (`retries`, 3).
    pub retries: u32,
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
    /// Add `X-Forwarded-For` (`option forwardfor`).
    pub forwardfor: Option<ForwardFor>,
    /// Pages that take the place of the built-in ones.
    pub error_pages: ErrorPages,
    /// `http-request` and `http-response` rules.
    pub rules: Option<Arc<dyn Rules>>,
}

impl Backend {
    /// A backend without servers and with the defaults.
    pub fn new(name: impl Into<String>, balance: Arc<dyn Balance>) -> Self {
        Self {
            name: name.into(),
            mode: Mode::Tcp,
            servers: Vec::new(),
            balance,
            retries: 3,
            redispatch: Redispatch::Never,
            reuse: Reuse::Safe,
            connection: Connection::KeepAlive,
            timeouts: ServerTimeouts::default(),
            prefer_last: false,
            pretend_keepalive: false,
            nolinger: false,
            abortonclose: false,
            forwardfor: None,
            error_pages: ErrorPages::default(),
            rules: None,
        }
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

/// A server of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name in logs and statistics.
    pub name: String,
    /// Where it listens.
    pub address: ServerAddress,
    /// Relative share of the load, 0 to 256 (`weight`, 1).
    pub weight: u32,
    /// Used only when all others are down (`backup`).
    pub backup: bool,
    /// Starts in maintenance (`disabled`).
    pub disabled: bool,
    /// Concurrent requests at most; 0 is no limit (`maxconn`).
    pub maxconn: u32,
    /// Requests waiting for this server at most; 0 is no limit (`maxqueue`).
    pub maxqueue: u32,
    /// Kill its connections when it goes down (`on-marked-down shutdown-sessions`).
    pub shutdown_on_down: bool,
    /// Idle connections kept at most; none is no limit (`pool-max-conn`).
    pub pool_max_conn: Option<u32>,
    /// The address that connections come from (`source`).
    pub source: Option<SocketAddr>,
    /// Requests over one connection beyond the first; none is no limit (`max-reuse`).
    pub max_reuse: Option<u32>,
    /// TCP keep-alive (`option srvtcpka`, `option tcpka`).
    pub keepalive: bool,
    /// Whether health checks decide if it is up (`check`); the checks' own settings are health's.
    pub checked: bool,
    /// Its number for those who hear of its connections; 0 is none.
    pub number: u16,
}

impl Server {
    /// A server with the defaults.
    pub fn new(name: impl Into<String>, address: ServerAddress) -> Self {
        Self {
            name: name.into(),
            address,
            weight: 1,
            backup: false,
            disabled: false,
            maxconn: 0,
            maxqueue: 0,
            shutdown_on_down: false,
            pool_max_conn: None,
            source: None,
            max_reuse: None,
            keepalive: false,
            checked: false,
            number: 0,
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}
