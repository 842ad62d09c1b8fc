//! What goes into a step, and what comes out.

use crate::segment::Segment;
use crate::socket::SocketEvent;

/// How closely the machine looks. A compile-time constant in each program.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u8);

impl Mode {
    /// Only SYN, FIN and RST are stepped; data and acknowledgments are inferred from their
    /// numbers. What the kernel does unless asked for more.
    pub const SPARSE: Self = Self(0);
    /// Every segment is stepped: the history is Zeek's to the letter.
    pub const FULL: Self = Self(1);
    /// Every segment, and a flow that is over keeps stepping until [`super::expired`], as Zeek's does.
    pub const OFFLINE: Self = Self(3);

    /// Whether every segment is stepped.
    #[inline(always)]
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether a flow that is over keeps stepping.
    #[inline(always)]
    #[must_use]
    pub const fn lingers(self) -> bool {
        self.0 & 2 != 0
    }
}

/// One thing seen of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A segment on the wire.
    Segment(&'a Segment),
    /// A word from a local socket.
    Socket(&'a SocketEvent),
}

/// What a step did: a set of bits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome(pub u8);

impl Outcome {
    /// The connection is over. Said once for each connection.
    pub const CLOSED: u8 = 0x01;
    /// The first close of either end: the connection may be half closed from now on.
    pub const FIRST_CLOSE: u8 = 0x02;
    /// The other end closed too.
    pub const ANSWERED: u8 = 0x04;
    /// Seen before at another vantage: nothing was counted.
    pub const IGNORED: u8 = 0x08;
    /// It came after the end; only [`super::Flow::late`] counted it.
    pub const LATE: u8 = 0x10;

    /// Whether any of `bits` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }
}
