//! Which way a packet goes, and with its interface where it is seen.

use proxy_common::segment::Segment;

/// Which way a packet goes through the hook; part of its vantage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Direction(u32);

impl Direction {
    /// Into the host.
    pub const INGRESS: Self = Self(0);
    /// Out of the host.
    pub const EGRESS: Self = Self(1);

    /// Which way `segment` went.
    #[inline(always)]
    pub fn of(segment: &Segment) -> Self {
        Self(segment.vantage & 1)
    }

    /// Where a packet is seen, as a number: `interface` is its index.
    #[inline(always)]
    pub fn at(self, interface: u32) -> u32 {
        interface << 1 | self.0
    }
}
