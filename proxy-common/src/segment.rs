//! A TCP segment as the machine sees it: what its headers say, without its bytes.

use crate::key::Side;
use bytemuck::{Pod, Zeroable};

/// FIN: the sender has no more data (RFC 9293, 3.1).
pub const FIN: u8 = 0x01;
/// SYN: synchronises sequence numbers.
pub const SYN: u8 = 0x02;
/// RST: resets the connection.
pub const RST: u8 = 0x04;
/// PSH: the push function.
pub const PSH: u8 = 0x08;
/// ACK: the acknowledgment field is significant.
pub const ACK: u8 = 0x10;
/// URG: the urgent pointer is significant.
pub const URG: u8 = 0x20;
/// The flags that open or close a connection; all else is data and acknowledgments.
pub const CONTROL: u8 = FIN | SYN | RST;

/// `Segment::window_scale` of a segment without that option (RFC 7323 allows 0 to 14).
pub const NO_WINDOW_SCALE: u8 = 0xff;

/// `Segment::marks`: the TCP checksum is wrong (only readers that see whole packets can tell).
pub const BAD_CHECKSUM: u8 = 0x01;
/// `Segment::marks`: `timestamp` and `timestamp_echo` were present (RFC 7323).
pub const HAS_TIMESTAMP: u8 = 0x02;
/// `Segment::marks`: `payload` is a guess, as the capture was cut or the text did not say.
pub const PAYLOAD_UNKNOWN: u8 = 0x04;
/// `Segment::marks`: the capture holds not all of the payload's bytes, and a reader wants them to
/// count as lost, as they do for Zeek, which then finds gaps.
pub const PAYLOAD_CUT: u8 = 0x08;
/// `Segment::marks`: it stands behind an authentication header (RFC 4302): nobody else can change it.
pub const AUTHENTICATED: u8 = 0x10;

/// One TCP segment, 32 bytes. Numbers are in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Segment {
    /// Sequence number of the first byte (of the SYN, where that flag is set).
    pub seq: u32,
    /// Acknowledgment number; 0 without the ACK flag.
    pub ack: u32,
    /// Bytes of data, SYN and FIN not counted.
    pub payload: u32,
    /// TSval of the timestamps option.
    pub timestamp: u32,
    /// TSecr of the timestamps option.
    pub timestamp_echo: u32,
    /// Where it was seen: an opaque number, alike for packets seen at the same hook of the same
    /// interface. 0 where there is only one place, as in a capture file.
    pub vantage: u32,
    /// The window field, unscaled.
    pub window: u16,
    /// The flags byte: [`FIN`], [`SYN`], [`RST`], [`PSH`], [`ACK`], [`URG`] and ECN's.
    pub flags: u8,
    /// The shift of the window scale option, or [`NO_WINDOW_SCALE`].
    pub window_scale: u8,
    /// Which end of the key sent it.
    pub sender: Side,
    /// [`BAD_CHECKSUM`], [`HAS_TIMESTAMP`], [`PAYLOAD_UNKNOWN`], [`PAYLOAD_CUT`],
    /// [`AUTHENTICATED`].
    pub marks: u8,
    /// Always 0.
    pub reserved: u16,
}

const _: () = assert!(size_of::<Segment>() == 32);

impl Segment {
    /// Whether any of `flags` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// The sequence number after this segment: data, SYN and FIN counted (RFC 9293, SEG.LEN).
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> u32 {
        let phantom = ((self.flags & SYN) >> 1) as u32 + (self.flags & FIN) as u32;
        self.seq.wrapping_add(self.payload).wrapping_add(phantom)
    }
}
