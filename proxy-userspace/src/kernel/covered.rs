//! Which peers a rule covers, and where its entries stand.

use super::pod::Raw;
use crate::ends::address;
use aya::maps::lpm_trie::Key;
use proxy_common::abi::{PEER_PORT_BITS, Peer};
use proxy_common::key::Endpoint;
use std::net::IpAddr;

/// Which peers a rule covers: an address prefix, and a port or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Covered {
    /// The address.
    pub addr: IpAddr,
    /// How many of its bits count, of 32 or 128.
    pub prefix: u8,
    /// The port; `None` is every port.
    pub port: Option<u16>,
}

impl Covered {
    /// One peer.
    #[must_use]
    pub fn one(end: &Endpoint) -> Self {
        let addr = address(end);
        Self { addr, prefix: if addr.is_ipv4() { 32 } else { 128 }, port: Some(end.port) }
    }

    /// Whether it covers this peer. IPv4's addresses lie in `::/0` too, and are not meant by it.
    #[must_use]
    pub fn covers(&self, peer: &Endpoint) -> bool {
        has_prefix(peer.addr, self.network(), self.bits())
            && (self.bits() >= V4_BITS || !has_prefix(peer.addr, V4, V4_BITS))
            && self.port.is_none_or(|port| port == peer.port)
    }

    /// Bits of the 128 that an IPv4-mapped or IPv6 address has.
    fn bits(self) -> u32 {
        match self.addr {
            IpAddr::V4(_) => 96 + u32::from(self.prefix.min(32)),
            IpAddr::V6(_) => u32::from(self.prefix.min(128)),
        }
    }

    /// The address, IPv4-mapped or IPv6: what is left of it behind the prefix is nothing.
    fn network(self) -> [u8; 16] {
        let mut addr = match self.addr {
            IpAddr::V4(addr) => Endpoint::v4(addr.octets(), 0).addr,
            IpAddr::V6(addr) => addr.octets(),
        };
        let bits = self.bits();
        for (index, byte) in addr.iter_mut().enumerate() {
            let kept = bits.saturating_sub(index as u32 * 8).min(8);
            *byte &= !(0xffu16 >> kept) as u8;
        }
        addr
    }

    /// Its entry.
    pub(super) fn place(self) -> Place {
        Place::Peers { bits: self.bits(), port: self.port.unwrap_or(0), addr: self.network() }
    }
}

/// Where IPv4's addresses lie among IPv6's: `::ffff:0:0/96`.
pub(super) const V4: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
/// How many of its bits count.
pub(super) const V4_BITS: u32 = 96;

/// Whether the first `bits` of two addresses are the same.
fn has_prefix(addr: [u8; 16], network: [u8; 16], bits: u32) -> bool {
    (u128::from_be_bytes(addr) ^ u128::from_be_bytes(network)).leading_zeros() >= bits
}

/// Where an entry of a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Peers { bits: u32, port: u16, addr: [u8; 16] },
    Stated { server: u16, class: u8 },
}

impl Place {
    /// All of IPv4.
    pub(super) const fn v4(port: u16) -> Self {
        Self::Peers { bits: V4_BITS, port, addr: V4 }
    }

    /// Its port; 0 is none.
    pub(super) const fn port(&self) -> u16 {
        match self {
            Self::Peers { port, .. } => *port,
            Self::Stated { .. } => 0,
        }
    }

    /// Whether it is an IPv6 prefix in which IPv4's addresses lie, none of which it means.
    pub(super) fn is_around_v4(&self) -> bool {
        match *self {
            Self::Peers { bits, addr, .. } => bits < V4_BITS && has_prefix(V4, addr, bits),
            Self::Stated { .. } => false,
        }
    }
}

/// Its key in the kernel.
pub(super) fn trie_key(bits: u32, port: u16, addr: [u8; 16]) -> Key<Raw<Peer>> {
    let port = port.to_be_bytes();
    Key::new(PEER_PORT_BITS + bits, Raw(Peer { port, reserved: [0; 2], addr }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_behind_the_prefix_do_not_count() {
        let one = Covered { addr: "10.1.2.3".parse().unwrap(), prefix: 22, port: None };
        let other = Covered { addr: "10.1.3.200".parse().unwrap(), prefix: 22, port: None };
        assert_eq!(one.place(), other.place());
        let Place::Peers { bits, port, addr } = one.place() else { panic!("{one:?}") };
        assert_eq!(addr[12..], [10, 1, 0, 0]);
        assert_eq!(trie_key(bits, port, addr).prefix_len(), 32 + 96 + 22);
        let port = Covered { port: Some(80), ..one };
        assert!(one.covers(&Endpoint::v4([10, 1, 0, 9], 1)));
        assert!(!one.covers(&Endpoint::v4([10, 1, 4, 0], 1)));
        assert!(port.covers(&Endpoint::v4([10, 1, 0, 9], 80)));
        assert!(!port.covers(&Endpoint::v4([10, 1, 0, 9], 81)));
        let all_v6 = Covered { addr: "::".parse().unwrap(), prefix: 0, port: None };
        assert!(!all_v6.covers(&Endpoint::v4([10, 1, 0, 9], 80)));
        assert!(all_v6.covers(&Endpoint::v6([0xfd; 16], 80)));
        let all_v4 = Covered { addr: "0.0.0.0".parse().unwrap(), ..all_v6 };
        assert!(!all_v4.covers(&Endpoint::v6([0xfd; 16], 80)));
        // As an IPv6 socket sees it.
        let mapped = Covered { addr: "::ffff:10.1.0.0".parse().unwrap(), prefix: 112, port: None };
        assert!(mapped.covers(&Endpoint::v4([10, 1, 0, 9], 1)));
        assert!(!mapped.covers(&Endpoint::v4([10, 2, 0, 9], 1)));
        assert_ne!(one.place(), port.place());
    }
}
