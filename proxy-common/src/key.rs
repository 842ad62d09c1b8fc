//! The key of a connection: its two endpoints in canonical order.

use bytemuck::{Pod, Zeroable};

/// An address and a port. IPv4 stands as an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct Endpoint {
    /// The address in network byte order.
    pub addr: [u8; 16],
    /// The port in host byte order.
    pub port: u16,
}

/// The first twelve bytes of an IPv4-mapped address.
const V4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The addresses of a socket that listens everywhere: `::` and, mapped, `0.0.0.0`.
pub const UNSPECIFIED: [[u8; 16]; 2] = [[0; 16], Endpoint::v4([0; 4], 0).addr];

impl Endpoint {
    /// An IPv4 endpoint; `addr` in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(addr: [u8; 4], port: u16) -> Self {
        let [a, b, c, d] = addr;
        Self { addr: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d], port }
    }

    /// An IPv6 endpoint; `addr` in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn v6(addr: [u8; 16], port: u16) -> Self {
        Self { addr, port }
    }

    /// Whether the address is an IPv4-mapped one.
    #[inline(always)]
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.addr[..12] == V4_MAPPED
    }

    /// The address as two big-endian halves: compared in two steps, which the verifier follows.
    #[inline(always)]
    const fn halves(&self) -> (u64, u64) {
        let a = &self.addr;
        (
            u64::from_be_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
            u64::from_be_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
        )
    }

    #[inline(always)]
    const fn is_below(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.halves(), other.halves());
        if ours.0 != theirs.0 {
            return ours.0 < theirs.0;
        }
        if ours.1 != theirs.1 {
            return ours.1 < theirs.1;
        }
        self.port < other.port
    }
}

/// One of the two ends of a [`FlowKey`]: an index, 0 or 1.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Side(pub u8);

impl Side {
    /// The end whose endpoint sorts first.
    pub const LOW: Self = Self(0);
    /// The end whose endpoint sorts last.
    pub const HIGH: Self = Self(1);

    /// The other end.
    #[inline(always)]
    #[must_use]
    pub const fn other(self) -> Self {
        Self((self.0 & 1) ^ 1)
    }

    /// The index into a pair; never above 1, whatever the byte holds.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 & 1) as usize
    }
}

/// Both endpoints of a connection, the lower first, so that its two directions share one key.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct FlowKey {
    /// The endpoints in ascending order, indexed by [`Side`].
    pub ends: [Endpoint; 2],
}

impl FlowKey {
    /// The key of a packet from `source` to `destination`, and the side that sent it.
    #[inline(always)]
    #[must_use]
    pub const fn new(source: Endpoint, destination: Endpoint) -> (Self, Side) {
        let mut key = Self { ends: [source, destination] };
        let sender = key.put_in_order();
        (key, sender)
    }

    /// Puts a source and a destination, written in this order, into the key's own order. Returns
    /// the side of the source.
    #[inline(always)]
    #[must_use]
    pub const fn put_in_order(&mut self) -> Side {
        if self.ends[1].is_below(&self.ends[0]) {
            let [source, destination] = self.ends;
            self.ends = [destination, source];
            Side::HIGH
        } else {
            Side::LOW
        }
    }

    /// Whether the connection runs over IPv6: its two addresses are of one kind.
    #[inline(always)]
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        !self.ends[0].is_ipv4()
    }

    /// The endpoint at `side`.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self, side: Side) -> &Endpoint {
        &self.ends[side.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_share_a_key() {
        let a = Endpoint::v4([10, 0, 0, 1], 40000);
        let b = Endpoint::v4([10, 0, 0, 2], 80);
        let (there, from_a) = FlowKey::new(a, b);
        let (back, from_b) = FlowKey::new(b, a);
        assert_eq!(there, back);
        assert_eq!((from_a, from_b), (Side::LOW, Side::HIGH));
        assert_eq!(there.end(from_b), &b);
    }

    #[test]
    fn the_version_is_told_by_the_address() {
        let ipv4 = Endpoint::v4([10, 0, 0, 1], 1);
        assert!(!FlowKey::new(ipv4, ipv4).0.is_ipv6());
        let ipv6 = Endpoint::v6([0xff; 16], 1);
        assert!(FlowKey::new(ipv6, ipv6).0.is_ipv6());
    }

    #[test]
    fn ports_decide_between_equal_addresses() {
        let a = Endpoint::v4([127, 0, 0, 1], 8080);
        let b = Endpoint::v4([127, 0, 0, 1], 40000);
        assert_eq!(FlowKey::new(b, a).1, Side::HIGH);
    }
}
