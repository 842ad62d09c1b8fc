//! What an operator wants of a connection's close: plain integers, for the kernel and the host.
//!
//! The words that spell a policy are read and written by the userspace half (`policy::words`).

use bytemuck::{Pod, Zeroable};

/// The signal that a close should carry.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Wish(pub u8);

impl Wish {
    /// As the application made it.
    pub const KEEP: Self = Self(0);
    /// FIN: the orderly close (RFC 9293, 3.6).
    pub const FIN: Self = Self(1);
    /// RST, with the ACK flag and exact numbers (RFC 9293, 3.5.2).
    pub const RST: Self = Self(2);
}

/// `Policy::bits`: `shutdown(SHUT_WR)` counts as a close too, not a full close only.
pub const ANY_FIN: u32 = 0x01;
/// `Policy::bits`: count what would be done, and do nothing.
pub const DRY_RUN: u32 = 0x02;
/// `Policy::bits`: act even where unacknowledged or unread bytes are lost.
pub const FORCE: u32 = 0x04;

/// How the connections of one server, or of one address prefix and port, should close. 16 bytes.
///
/// All zeros is [`Policy::KEEP`]: every close as the application made it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Policy {
    /// How our side's close looks when we close first (RFC 9293's active close).
    pub active: Wish,
    /// How our answer to the peer's FIN looks (RFC 9293's passive close).
    pub passive: Wish,
    /// What a RST of the application's becomes; never [`Wish::RST`].
    pub abort: Wish,
    /// Always 0.
    pub reserved: u8,
    /// How long the peer may leave the connection half closed after our FIN, then RST.
    /// Milliseconds; 0 is for ever.
    pub half_close_ms: u32,
    /// How long our own application may, after the peer's FIN. Milliseconds; 0 is for ever.
    pub close_wait_ms: u32,
    /// [`ANY_FIN`], [`DRY_RUN`], [`FORCE`].
    pub bits: u32,
}

const _: () = assert!(size_of::<Policy>() == 16);

impl Policy {
    /// Nothing is changed.
    pub const KEEP: Self = Self {
        active: Wish::KEEP,
        passive: Wish::KEEP,
        abort: Wish::KEEP,
        reserved: 0,
        half_close_ms: 0,
        close_wait_ms: 0,
        bits: 0,
    };

    /// Whether any of `bits` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, bits: u32) -> bool {
        self.bits & bits != 0
    }

    /// Whether a connection under it may be half closed for some time only.
    #[inline(always)]
    #[must_use]
    pub const fn has_deadline(&self) -> bool {
        self.half_close_ms != 0 || self.close_wait_ms != 0
    }

    /// Whether it asks for nothing at all, whatever its bits say.
    #[inline(always)]
    #[must_use]
    pub const fn keeps_all(&self) -> bool {
        self.active.0 == 0
            && self.passive.0 == 0
            && self.abort.0 == 0
            && self.half_close_ms == 0
            && self.close_wait_ms == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroed_memory_keeps_every_close() {
        assert_eq!(Policy::zeroed(), Policy::KEEP);
        assert!(Policy::KEEP.keeps_all());
    }

    #[test]
    fn a_bit_alone_asks_for_nothing() {
        let policy = Policy { bits: FORCE, ..Policy::KEEP };
        assert!(policy.keeps_all() && policy.has(FORCE) && !policy.has(DRY_RUN));
    }
}
