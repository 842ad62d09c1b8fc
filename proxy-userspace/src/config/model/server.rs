//! A `server` line, and what `default-server` says.

use crate::config::address::Address;
use crate::config::token::Position;
use crate::http::health::OnError;
use crate::http::live::Layer;
use crate::policy::words::Wishes;
use std::net::IpAddr;

/// A `server` line.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// `id`, or its place in the backend, from 1, or the next number that no other server has.
    pub id: u32,
    /// Whether it says `id`.
    pub says_id: bool,
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
    /// `cookie`: its value of the backend's cookie.
    pub cookie: Option<String>,
    /// `backup`.
    pub backup: bool,
    /// `disabled`.
    pub disabled: bool,
    /// `maxconn`; 0: without limit.
    pub maxconn: u32,
    /// `init-addr`: where a name's address comes from, in turn; `last,libc` where it is not said.
    pub init_addr: Vec<InitAddr>,
    /// `tcp-ut`.
    pub user_timeout_ms: u32,
    /// `source`; the section's where it is not said.
    pub source: Option<Address>,
    /// `observe`.
    pub observe: Option<Layer>,
    /// `error-limit`; 10.
    pub error_limit: u32,
    /// `on-error`.
    pub on_error: OnError,
    /// `track`: the backend's name, the server's own backend without one, and the server's.
    pub track: Option<(Option<String>, String)>,
    /// `minconn`: `maxconn` without load; 0: it is always the same.
    pub minconn: u32,
    /// `slowstart`.
    pub slowstart_ms: u32,
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
    /// `send-proxy`.
    pub send_proxy: bool,
    /// `send-proxy-v2`.
    pub send_proxy_v2: bool,
    /// `check-send-proxy`.
    pub check_send_proxy: bool,
    /// `close`.
    pub close: Option<Wishes>,
}

/// A way of `init-addr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitAddr {
    /// `last`: a file of states, which teardown has not.
    Last,
    /// `libc`: the system is asked.
    Libc,
    /// `none`: the server begins in maintenance.
    None,
    /// This one.
    Ip(IpAddr),
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
            cookie: None,
            backup: false,
            disabled: false,
            maxconn: 0,
            init_addr: Vec::new(),
            user_timeout_ms: 0,
            source: None,
            observe: None,
            error_limit: 10,
            on_error: OnError::default(),
            track: None,
            minconn: 0,
            slowstart_ms: 0,
            maxqueue: 0,
            on_marked_down_shutdown: false,
            on_marked_up_shutdown_backup: false,
            pool_max_conn: None,
            pool_purge_delay_ms: 5_000,
            max_reuse: None,
            send_proxy: false,
            send_proxy_v2: false,
            check_send_proxy: false,
            close: None,
        }
    }
}
