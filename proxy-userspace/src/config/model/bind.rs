//! A `bind` line.

use crate::config::address::Address;
use crate::config::token::Position;

/// A `bind` line, one for each address and port.
#[derive(Debug, Clone, PartialEq)]
pub struct Bind {
    /// Where it listens.
    pub address: Address,
    /// `name`, or the address as it was written.
    pub name: Option<String>,
    /// `id`.
    pub id: Option<u32>,
    /// `accept-proxy`: a proxy connects here, and says first whose connection it passes on.
    pub accept_proxy: bool,
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
    /// `tcp-ut`.
    pub user_timeout_ms: u32,
    /// `tfo`.
    pub fast_open: bool,
    /// `mss`.
    pub mss: Option<u16>,
    /// Where it stands.
    pub at: Position,
}
