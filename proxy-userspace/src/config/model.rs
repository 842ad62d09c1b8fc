//! The checked, typed model of a configuration. Times are milliseconds; `None` is "not set".

use super::address::Address;
use super::log::LogTarget;
use super::options::{CloseMode, Switches};
use super::token::Position;
use crate::http::acl::{Condition, Test};
use crate::http::health::script::Script;
use crate::http::rules::{HeadEdit, RequestAction, Rule};
use crate::policy::words::Wishes;
use std::path::PathBuf;

/// A whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What the `global` sections say.
    pub global: Global,
    /// Every `frontend`, `backend` and `listen`, in the order of the files.
    pub proxies: Vec<Proxy>,
}

/// What the `global` sections say.
#[derive(Debug, Clone, Default)]
pub struct Global {
    /// `log` lines, in order.
    pub logs: Vec<LogTarget>,
    /// `log-tag`: the program's name in syslog headers.
    pub log_tag: Option<String>,
    /// `log-send-hostname`: the host name in syslog headers; empty asks for the host's own.
    pub log_send_hostname: Option<String>,
    /// `chroot`.
    pub chroot: Option<PathBuf>,
    /// `pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `maxconn` of the process.
    pub maxconn: Option<u32>,
    /// `user` or `uid`: the uid to run as.
    pub user: Option<u32>,
    /// `group` or `gid`: the gid to run as.
    pub group: Option<u32>,
    /// `daemon`: go into the background.
    pub daemon: bool,
    /// `nbthread`.
    pub nbthread: Option<u32>,
    /// `stats socket` lines.
    pub stats_sockets: Vec<StatsSocket>,
    /// `stats timeout`; 10 s when not set.
    pub stats_timeout_ms: Option<u32>,
    /// `stats maxconn`; 10 when not set.
    pub stats_maxconn: Option<u32>,
    /// `ulimit-n`.
    pub ulimit_n: Option<u64>,
    /// `hard-stop-after`.
    pub hard_stop_after_ms: Option<u32>,
    /// `node`, shown by `show info`.
    pub node: Option<String>,
    /// `description`, shown by `show info`.
    pub description: Option<String>,
    /// `spread-checks`: percent by which checks' intervals vary.
    pub spread_checks: u32,
    /// `tune.bufsize`: the limit of a message's head, in bytes; 16384 when not set.
    pub bufsize: Option<u32>,
    /// `tune.maxrewrite`: what of that is kept for what rules add; 1024 when not set.
    pub maxrewrite: Option<u32>,
    /// `tune.http.maxhdr`: the most fields in a head; 101 when not set.
    pub maxhdr: Option<u32>,
}

/// What a runtime socket's user may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AccessLevel {
    /// Only what is not sensitive.
    User,
    /// Everything that can be read, and counters cleared.
    #[default]
    Operator,
    /// Everything.
    Admin,
}

/// A `stats socket` line.
#[derive(Debug, Clone, PartialEq)]
pub struct StatsSocket {
    /// Where it listens.
    pub address: Address,
    /// `level`.
    pub level: AccessLevel,
    /// `mode`: the permission bits.
    pub mode: Option<u32>,
    /// `user` or `uid`.
    pub user: Option<u32>,
    /// `group` or `gid`.
    pub group: Option<u32>,
    /// Where it stands.
    pub at: Position,
}

/// The kind of a proxy section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Accepts clients.
    Frontend,
    /// Holds servers.
    Backend,
    /// Both in one.
    Listen,
}

impl Kind {
    /// The section's keyword.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Listen => "listen",
        }
    }

    /// Whether it accepts clients.
    #[must_use]
    pub const fn is_frontend(self) -> bool {
        !matches!(self, Self::Backend)
    }

    /// Whether it holds servers.
    #[must_use]
    pub const fn is_backend(self) -> bool {
        !matches!(self, Self::Frontend)
    }
}

/// `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Bytes are passed on as they come.
    #[default]
    Tcp,
    /// HTTP/1.
    Http,
}

/// A `frontend`, `backend` or `listen`.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// Which section it is.
    pub kind: Kind,
    /// `id`, or its place among the proxies, from 2 on as in HAProxy.
    pub id: u32,
    /// Where it begins.
    pub at: Position,
    /// What it has from its `defaults` or says itself.
    pub settings: Settings,
    /// `bind` lines: one for each address.
    pub binds: Vec<Bind>,
    /// `server` lines.
    pub servers: Vec<Server>,
    /// `acl` lines, in order.
    pub acls: Vec<Acl>,
    /// `use_backend` lines, in order.
    pub use_backends: Vec<UseBackend>,
    /// `http-request` lines, in order.
    pub http_request: Vec<Rule<RequestAction>>,
    /// `redirect` lines, which come after the `http-request` rules.
    pub redirects: Vec<Rule<RequestAction>>,
    /// `http-response` lines, in order.
    pub http_response: Vec<Rule<HeadEdit>>,
}

impl Proxy {
    /// A proxy that says nothing yet.
    #[must_use]
    pub fn new(name: String, kind: Kind, at: Position, settings: Settings) -> Self {
        Self {
            name,
            kind,
            id: 0,
            at,
            settings,
            binds: Vec::new(),
            servers: Vec::new(),
            acls: Vec::new(),
            use_backends: Vec::new(),
            http_request: Vec::new(),
            redirects: Vec::new(),
            http_response: Vec::new(),
        }
    }

    /// The names of the backends that it may send to.
    pub fn backends(&self) -> impl Iterator<Item = &str> {
        let uses = self.use_backends.iter().map(|rule| rule.name.as_str());
        uses.chain(self.settings.default_backend.iter().map(|backend| backend.0.as_str()))
    }
}

/// A `use_backend` line.
#[derive(Debug, Clone)]
pub struct UseBackend {
    /// The backend's name.
    pub name: String,
    /// Where it stands.
    pub at: Position,
    /// When it applies; always without one.
    pub condition: Option<Condition>,
}

/// An `acl` line.
#[derive(Debug, Clone)]
pub struct Acl {
    /// Its name.
    pub name: String,
    /// What it tests.
    pub test: Test,
}

/// What a proxy may also inherit from a `defaults` section.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `mode`.
    pub mode: Mode,
    /// `disabled`.
    pub disabled: bool,
    /// `description`.
    pub description: Option<String>,
    /// `option` and `no option`.
    pub switches: Switches,
    /// Which of the options about HTTP closes is in force.
    pub close_mode: CloseMode,
    /// `option forwardfor`.
    pub forward_for: Option<ForwardFor>,
    /// `option redispatch N`: every how many retries another server is chosen; -1, the default, is
    /// the last one. `None`: never.
    pub redispatch: Option<i32>,
    /// `log` lines.
    pub logs: Vec<LogTarget>,
    /// `log global`: the targets of the `global` section too.
    pub log_global: bool,
    /// `log-tag`.
    pub log_tag: Option<String>,
    /// `option httplog`, `tcplog` or `log-format`.
    pub log_format: LogFormat,
    /// `maxconn` of a frontend; `None`: the process's.
    pub maxconn: Option<u32>,
    /// `fullconn` of a backend.
    pub fullconn: Option<u32>,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `retries`; 3.
    pub retries: u32,
    /// `timeout` lines.
    pub timeouts: Timeouts,
    /// `balance`.
    pub balance: Balance,
    /// `hash-type`.
    pub hash_type: HashType,
    /// `http-reuse`.
    pub http_reuse: Reuse,
    /// `default_backend`, and where it is named.
    pub default_backend: Option<(String, Position)>,
    /// `default-server`: what servers begin with.
    pub default_server: ServerSettings,
    /// `option httpchk`, `option tcp-check`, `http-check` and `tcp-check` lines.
    pub check: Script,
    /// `errorfile`: the status code, and the whole response as it goes out.
    pub error_files: Vec<(u16, Vec<u8>)>,
    /// `stats` lines.
    pub stats: Stats,
}

/// `timeout` lines, in milliseconds. 0 is without end, as not set is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// `timeout client`.
    pub client: Option<u32>,
    /// `timeout client-fin`.
    pub client_fin: Option<u32>,
    /// `timeout server`.
    pub server: Option<u32>,
    /// `timeout server-fin`.
    pub server_fin: Option<u32>,
    /// `timeout connect`.
    pub connect: Option<u32>,
    /// `timeout check`: the further wait of a check once it is connected.
    pub check: Option<u32>,
    /// `timeout http-request`.
    pub http_request: Option<u32>,
    /// `timeout http-keep-alive`.
    pub http_keep_alive: Option<u32>,
    /// `timeout queue`; `timeout connect` when not set.
    pub queue: Option<u32>,
    /// `timeout tarpit`; `timeout connect` when not set.
    pub tarpit: Option<u32>,
    /// `timeout tunnel`.
    pub tunnel: Option<u32>,
}

/// What a request's log line looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// No `option httplog` or `tcplog`: HAProxy's default line.
    #[default]
    Default,
    /// `option tcplog`.
    Tcp,
    /// `option httplog`.
    Http,
    /// `option httplog clf`.
    Clf,
    /// `log-format`.
    Custom(String),
}

/// `option forwardfor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardFor {
    /// `header`; `X-Forwarded-For`.
    pub header: String,
    /// `except`: clients for which nothing is added, as address and prefix length.
    pub except: Option<(std::net::IpAddr, u8)>,
    /// `if-none`: only where the client sent none.
    pub if_none: bool,
}

/// `balance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// `roundrobin`: in turn, by weight; weights may change.
    RoundRobin,
    /// `static-rr`: in turn, by weights that never change.
    StaticRoundRobin,
    /// `leastconn`: the fewest connections, by weight.
    LeastConn,
    /// `first`: the first with a free place.
    First,
    /// `source`: a hash of the client's address.
    Source,
    /// `uri [len N] [depth N] [whole] [path-only]`: a hash of the path.
    Uri {
        /// How many characters count; 0: all.
        length: u32,
        /// How many directories count; 0: all.
        depth: u32,
        /// The query string counts too.
        whole: bool,
        /// Scheme and authority never count.
        path_only: bool,
    },
    /// `hdr(NAME) [use_domain_only]`: a hash of a field's value.
    Header {
        /// The field's name.
        name: String,
        /// Only the domain's own name counts.
        use_domain_only: bool,
    },
    /// `random(DRAWS)`: the least loaded of so many drawn at random.
    Random {
        /// How many; 2.
        draws: u32,
    },
}

/// `hash-type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashType {
    /// `consistent`: few clients move when a server comes or goes; else `map-based`.
    pub consistent: bool,
    /// The hash function.
    pub function: HashFunction,
    /// `avalanche`: mix the hash's bits once more.
    pub avalanche: bool,
}

/// The function of `hash-type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HashFunction {
    /// `sdbm`.
    #[default]
    Sdbm,
    /// `djb2`.
    Djb2,
    /// `wt6`.
    Wt6,
    /// `crc32`.
    Crc32,
}

/// `http-reuse`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Each client keeps its own server connections.
    Never,
    /// A first request goes over a new connection or one that has proven itself.
    #[default]
    Safe,
    /// A first request may go over connections that have proven themselves more often.
    Aggressive,
    /// Any request over any idle connection.
    Always,
}

/// `stats` lines of a proxy: the statistics page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// `stats enable`, or any other `stats` line.
    pub enabled: bool,
    /// `stats uri`; `/haproxy?stats`.
    pub uri: Option<String>,
    /// `stats refresh`.
    pub refresh_ms: Option<u32>,
}

/// A `bind` line, one for each address and port.
#[derive(Debug, Clone, PartialEq)]
pub struct Bind {
    /// Where it listens.
    pub address: Address,
    /// `name`, or the address as it was written.
    pub name: Option<String>,
    /// `id`.
    pub id: Option<u32>,
    /// `maxconn`.
    pub maxconn: Option<u32>,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `mode`: the permission bits of a Unix socket.
    pub mode: Option<u32>,
    /// `user` or `uid`, of a Unix socket.
    pub user: Option<u32>,
    /// `group` or `gid`, of a Unix socket.
    pub group: Option<u32>,
    /// `interface`.
    pub interface: Option<String>,
    /// `v4v6`: IPv4 on an IPv6 address too; `v6only`: not. `None`: as the system has it.
    pub v6only: Option<bool>,
    /// `defer-accept`: TCP_DEFER_ACCEPT.
    pub defer_accept: bool,
    /// `transparent`: an address that the host has not.
    pub transparent: bool,
    /// `mss`.
    pub mss: Option<u16>,
    /// Where it stands.
    pub at: Position,
}

/// A `server` line.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// `id`, or its place in the backend, from 1.
    pub id: u32,
    /// Where it is.
    pub address: Address,
    /// Everything behind the address, on top of `default-server`.
    pub settings: ServerSettings,
    /// Where it stands.
    pub at: Position,
}

/// What `server` and `default-server` lines say.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// `check`: it has health checks.
    pub check: bool,
    /// `inter`; 2 s.
    pub inter_ms: u32,
    /// `fastinter`: between checks while it is changing state; `inter` when not set.
    pub fast_inter_ms: Option<u32>,
    /// `downinter`: between checks while it is down; `inter` when not set.
    pub down_inter_ms: Option<u32>,
    /// `rise`; 2.
    pub rise: u32,
    /// `fall`; 3.
    pub fall: u32,
    /// `port`: the port to check.
    pub check_port: Option<u16>,
    /// `addr`: the address to check.
    pub check_addr: Option<Address>,
    /// `weight`; 1. 0: nothing new goes there.
    pub weight: u32,
    /// `backup`.
    pub backup: bool,
    /// `disabled`.
    pub disabled: bool,
    /// `maxconn`; 0: without limit.
    pub maxconn: u32,
    /// `maxqueue`; 0: without limit.
    pub maxqueue: u32,
    /// `on-marked-down shutdown-sessions`.
    pub on_marked_down_shutdown: bool,
    /// `on-marked-up shutdown-backup-sessions`.
    pub on_marked_up_shutdown_backup: bool,
    /// `pool-max-conn`: the most idle connections kept; `None`: without limit; 0: none.
    pub pool_max_conn: Option<u32>,
    /// `pool-purge-delay`; 5 s.
    pub pool_purge_delay_ms: u32,
    /// `max-reuse`: the most requests over one connection; `None`: without limit.
    pub max_reuse: Option<u32>,
    /// `close`.
    pub close: Option<Wishes>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            check: false,
            inter_ms: 2_000,
            fast_inter_ms: None,
            down_inter_ms: None,
            rise: 2,
            fall: 3,
            check_port: None,
            check_addr: None,
            weight: 1,
            backup: false,
            disabled: false,
            maxconn: 0,
            maxqueue: 0,
            on_marked_down_shutdown: false,
            on_marked_up_shutdown_backup: false,
            pool_max_conn: None,
            pool_purge_delay_ms: 5_000,
            max_reuse: None,
            close: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Tcp,
            disabled: false,
            description: None,
            switches: Switches::default(),
            close_mode: CloseMode::KeepAlive,
            forward_for: None,
            redispatch: None,
            logs: Vec::new(),
            log_global: false,
            log_tag: None,
            log_format: LogFormat::Default,
            maxconn: None,
            fullconn: None,
            backlog: None,
            retries: 3,
            timeouts: Timeouts::default(),
            balance: Balance::RoundRobin,
            hash_type: HashType::default(),
            http_reuse: Reuse::Safe,
            default_backend: None,
            default_server: ServerSettings::default(),
            check: Script::default(),
            error_files: Vec::new(),
            stats: Stats::default(),
        }
    }
}
