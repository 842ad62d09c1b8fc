//! What the `global` sections say.

use crate::config::address::Address;
use crate::config::log::LogTarget;
use crate::config::token::Position;
use std::path::PathBuf;

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
    /// `maxconnrate`: connections in a second, at most.
    pub maxconnrate: Option<u32>,
    /// `maxsessrate`: sessions in a second, at most.
    pub maxsessrate: Option<u32>,
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
    /// `h1-accept-payload-with-any-method`.
    pub accept_any_payload: bool,
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
    /// `tune.http.cookielen`: the most that is kept of a captured cookie; 63 characters when not set.
    pub cookielen: Option<usize>,
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

impl AccessLevel {
    /// The levels by name.
    pub const NAMES: [(&str, Self); 3] =
        [("user", Self::User), ("operator", Self::Operator), ("admin", Self::Admin)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[usize::from(self as u8)].0
    }
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
