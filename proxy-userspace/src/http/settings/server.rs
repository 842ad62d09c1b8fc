//! A server of a backend.

use super::Tcp;
use crate::http::{live::Observe, proxy_line::Version};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// A server of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name in logs and statistics.
    pub name: String,
    /// Where it listens.
    pub address: ServerAddress,
    /// Relative share of the load, 0 to 256 (`weight`, 1).
    pub weight: u32,
    /// Its value of the backend's cookie (`cookie`).
    pub cookie: Option<String>,
    /// The secret that it is made of together with the address, where the server has none of its own
    /// (`dynamic-cookie-key`).
    pub cookie_key: Option<Arc<str>>,
    /// Used only when all others are down (`backup`).
    pub backup: bool,
    /// Starts in maintenance (`disabled`).
    pub disabled: bool,
    /// Concurrent requests at most; 0 is no limit (`maxconn`).
    pub maxconn: u32,
    /// As `maxconn`, without load; less than that, or 0, where it is always the same (`minconn`).
    pub minconn: u32,
    /// Requests waiting for this server at most; 0 is no limit (`maxqueue`).
    pub maxqueue: u32,
    /// Seconds in which it warms up once it came up; 0 is at once (`slowstart`).
    pub slowstart: u32,
    /// Kill its connections when it goes down (`on-marked-down shutdown-sessions`).
    pub shutdown_on_down: bool,
    /// Unless it is a backup, sessions of the backups are shut down when it comes up (`on-marked-up
    /// shutdown-backup-sessions`).
    pub up_shuts_backups: bool,
    /// Idle connections kept at most; none is no limit (`pool-max-conn`).
    pub pool_max_conn: Option<u32>,
    /// How long an idle connection is kept (`pool-purge-delay`, 5 s).
    pub pool_purge_delay: Duration,
    /// The address that connections come from (`source`).
    pub source: Option<SocketAddr>,
    /// Requests over one connection beyond the first; none is no limit (`max-reuse`).
    pub max_reuse: Option<u32>,
    /// Each connection begins with a PROXY line (`send-proxy`, `send-proxy-v2`).
    pub send_proxy: Option<Version>,
    /// What TCP does of itself on its connections.
    pub tcp: Tcp,
    /// Whether health checks decide if it is up (`check`); the checks' own settings are health's.
    pub checked: bool,
    /// What requests say of its health (`observe`, `error-limit`).
    pub observe: Option<Observe>,
    /// The backend and the server, by their places, whose state it has (`track`).
    pub tracks: Option<(usize, usize)>,
    /// The host name that its address was found by.
    pub host: Option<String>,
    /// It has no address: nobody knows its host name, and it is in maintenance until it is given one
    /// (`init-addr none`).
    pub unresolved: bool,
    /// Its number in statistics, and on the ring of consistent hashing (`id`); 1.
    pub id: u32,
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
            cookie: None,
            cookie_key: None,
            backup: false,
            disabled: false,
            maxconn: 0,
            minconn: 0,
            maxqueue: 0,
            slowstart: 0,
            shutdown_on_down: false,
            up_shuts_backups: false,
            pool_max_conn: None,
            pool_purge_delay: Duration::from_secs(5),
            source: None,
            max_reuse: None,
            send_proxy: None,
            tcp: Tcp::default(),
            checked: false,
            observe: None,
            tracks: None,
            host: None,
            unresolved: false,
            id: 1,
            number: 0,
        }
    }
}

impl Server {
    /// Where connections to that address come from: `source` is of one family, and where the server
    /// has moved into the other one, it says nothing.
    #[must_use]
    pub fn source_to(&self, address: &ServerAddress) -> Option<SocketAddr> {
        let ServerAddress::Inet(address) = address else { return None };
        self.source.filter(|source| source.is_ipv4() == address.is_ipv4())
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
