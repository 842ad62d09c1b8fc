//! The operator's rules as the kernel looks them up: by peer, or by what the proxy states.

use crate::decide::Refusal;
use crate::policy::Policy;
use bytemuck::{Pod, Zeroable};

/// A rule of the operator's: which policy holds for which peers. The value of the tries.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Rule {
    /// What is wanted.
    pub policy: Policy,
    /// Its number, below [`RULES`]; its counters stand there. 0 is no rule.
    pub id: u32,
    /// Bits of the address that it names, of 128: the longest wins.
    pub prefix: u32,
}

/// What this host's own proxy says of a connection before it connects: whom it is for and what for.
///
/// It stands in memory that the proxy and the programs share, at [`Statement::slot`] of its
/// socket's cookie, from before connect(2) until the programs see that call begin.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Statement {
    /// The socket's cookie (`SO_COOKIE`); 0 says nothing.
    pub cookie: u64,
    /// The server's number; 0 is none.
    pub server: u32,
    /// What the connection is for: [`CLASS_TRAFFIC`], [`CLASS_CHECK`], [`CLASS_TUNNEL`].
    pub class: u32,
}

impl Statement {
    /// Where the statement about a socket stands.
    #[inline(always)]
    #[must_use]
    pub const fn slot(cookie: u64) -> u32 {
        cookie as u32 % STATEMENTS as u32
    }

    /// What `RULES_STATED` is asked for a server's connections of one class.
    #[inline(always)]
    #[must_use]
    pub const fn key(server: u16, class: u8) -> u32 {
        (server as u32) << 8 | class as u32
    }
}

/// How many statements there is room for: two connects that begin at the same moment, so many
/// sockets apart, would share one, and the first of them would be taken for a foreign one.
pub const STATEMENTS: usize = 4096;

/// `Statement::class`: requests.
pub const CLASS_TRAFFIC: u8 = 1;
/// `Statement::class`: a health check.
pub const CLASS_CHECK: u8 = 2;
/// `Statement::class`: bytes that are not looked at: `mode tcp`, CONNECT, Upgrade.
pub const CLASS_TUNNEL: u8 = 3;

/// How many rules there can be, number 0 not used.
pub const RULES: usize = 1024;

/// What a trie is asked: a peer. Its prefix counts from the first byte, so that the port is always
/// compared whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Peer {
    /// The port in network order; 0 stands for every port.
    pub port: [u8; 2],
    /// Always 0.
    pub reserved: [u8; 2],
    /// The address, IPv4 mapped into IPv6.
    pub addr: [u8; 16],
}

/// Bits of a [`Peer`] before its address.
pub const PEER_PORT_BITS: u32 = 32;

/// Room for counts by [`Refusal`]: a power of two, so that the verifier follows an index.
pub const REFUSALS: usize = 16;

const _: () = assert!(Refusal::ALL.len() <= REFUSALS);

/// What a rule did, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RuleCounts {
    /// Connections that it covers and that came to a close.
    pub matched: u64,
    /// FINs that became RSTs.
    pub fin_to_rst: u64,
    /// RSTs that became FINs.
    pub rst_to_fin: u64,
    /// FINs dropped until the data before them was acknowledged.
    pub waited: u64,
    /// FINs taken off their data.
    pub stripped: u64,
    /// Resets as the peer left the connection half closed.
    pub half_close: u64,
    /// Resets as the application did not close.
    pub close_wait: u64,
    /// Connections closed by command.
    pub closed_now: u64,
    /// Changes that a dry run left undone.
    pub dry_run: u64,
    /// Changes that failed: a helper refused.
    pub failed: u64,
    /// Refusals by [`Refusal`].
    pub refused: [u64; REFUSALS],
}
