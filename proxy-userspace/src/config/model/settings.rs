//! What a proxy may also inherit from a `defaults` section.

use super::errors::ErrorWord;
use super::server::ServerSettings;
use crate::config::address::Address;
use crate::config::log::LogTarget;
use crate::config::options::{CloseMode, Switches};
use crate::config::token::Position;
use crate::http::balance::{Algorithm, Hashing};
use crate::http::cookie::Cookie;
use crate::http::format::Format;
use crate::http::health::script::Script;
use crate::http::settings::{ForwardFor, Mode, RetryOn, Reuse};

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
    /// `option originalto`.
    pub original_to: Option<ForwardFor>,
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
    /// `rate-limit sessions` of a frontend: sessions in a second, at most.
    pub session_rate: Option<u32>,
    /// `maxconn` of a frontend; `None`: the process's.
    pub maxconn: Option<u32>,
    /// `fullconn` of a backend.
    pub fullconn: Option<u32>,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `retries`; 3.
    pub retries: u32,
    /// `retry-on`.
    pub retry_on: RetryOn,
    /// `timeout` lines.
    pub timeouts: Timeouts,
    /// `balance`.
    pub balance: Algorithm,
    /// `cookie`.
    pub cookie: Option<Cookie>,
    /// `dynamic` of that.
    pub dynamic_cookie: bool,
    /// `dynamic-cookie-key`.
    pub dynamic_cookie_key: Option<String>,
    /// `hash-type`.
    pub hash_type: Hashing,
    /// `http-reuse`.
    pub http_reuse: Reuse,
    /// `default_backend`, and where it is named.
    pub default_backend: Option<(String, Position)>,
    /// `clitcpka-cnt`, `-idle` and `-intvl`.
    pub client_probes: Probes,
    /// `srvtcpka-cnt`, `-idle` and `-intvl`.
    pub server_probes: Probes,
    /// `source`.
    pub source: Option<Address>,
    /// `default-server`: what servers begin with.
    pub default_server: ServerSettings,
    /// `option httpchk`, `option tcp-check`, `http-check` and `tcp-check` lines.
    pub check: Script,
    /// `errorfile`, `errorloc`, `http-error` and `errorfiles` lines, in order.
    pub error_words: Vec<ErrorWord>,
    /// `unique-id-format`: what each request is called.
    pub unique_id_format: Option<Format>,
    /// `unique-id-header`: in which field servers are told so.
    pub unique_id_header: Option<String>,
    /// `monitor-uri`: what is answered with 200 by itself.
    pub monitor_uri: Option<String>,
    /// `stats` lines.
    pub stats: Stats,
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
            original_to: None,
            redispatch: None,
            logs: Vec::new(),
            log_global: false,
            log_tag: None,
            log_format: LogFormat::Default,
            session_rate: None,
            maxconn: None,
            fullconn: None,
            backlog: None,
            retries: 3,
            retry_on: RetryOn::default(),
            timeouts: Timeouts::default(),
            balance: Algorithm::RoundRobin,
            cookie: None,
            dynamic_cookie: false,
            dynamic_cookie_key: None,
            hash_type: Hashing::default(),
            http_reuse: Reuse::Safe,
            default_backend: None,
            client_probes: Probes::default(),
            server_probes: Probes::default(),
            source: None,
            default_server: ServerSettings::default(),
            check: Script::default(),
            error_words: Vec::new(),
            unique_id_format: None,
            unique_id_header: None,
            monitor_uri: None,
            stats: Stats::default(),
        }
    }
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
    /// `log-format`, and where it stands.
    Custom(Format, Position),
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
    /// `stats auth`: who may see it, each as `user:password`; everybody where there is none.
    pub accounts: Vec<String>,
    /// `stats scope`: the proxies that are shown, `.` for its own; all where there is none.
    pub scopes: Vec<String>,
    /// `stats realm`; `HAProxy Statistics`.
    pub realm: Option<String>,
    /// `stats show-legends`: whether addresses and algorithms are shown.
    pub legends: bool,
}

/// TCP's probes of silent peers; 0 is what the system has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probes {
    /// `clitcpka-cnt`, `srvtcpka-cnt`.
    pub count: u32,
    /// `clitcpka-idle`, `srvtcpka-idle`.
    pub idle_ms: u32,
    /// `clitcpka-intvl`, `srvtcpka-intvl`.
    pub interval_ms: u32,
}
