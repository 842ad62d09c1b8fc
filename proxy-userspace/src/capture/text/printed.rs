//! A TCP packet as tcpdump prints it.

use super::stamp::Stamp;
use proxy_common::segment::NO_WINDOW_SCALE;

/// The flags of explicit congestion notification (RFC 3168), which only a text's reader looks at.
pub(super) const ECE: u8 = 0x40;
pub(super) const CWR: u8 = 0x80;

/// A TCP packet as printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its time.
    pub stamp: Stamp,
    /// The interface and direction that `-i any` shows, as they stand; empty without.
    pub interface: &'a [u8],
    /// The sender, with its port; `None` where it was removed.
    pub source: Option<&'a [u8]>,
    /// The receiver.
    pub destination: Option<&'a [u8]>,
    /// The addresses of the two where they stand apart, and `source` and `destination` are ports.
    pub hosts: Option<[&'a [u8]; 2]>,
    /// The flags byte.
    pub flags: u8,
    /// The sequence number; only segments with data, SYN, FIN or RST show one.
    pub seq: Option<u32>,
    /// The sequence number after the data.
    pub seq_end: Option<u32>,
    /// The acknowledgment number.
    pub ack: Option<u32>,
    /// The window, unscaled.
    pub window: u16,
    /// The shift of the window scale option, or [`NO_WINDOW_SCALE`].
    pub window_scale: u8,
    /// TSval and TSecr.
    pub timestamps: Option<(u32, u32)>,
    /// Bytes of data.
    pub length: Option<u32>,
    /// `-v` says that the checksum is wrong.
    pub bad_checksum: bool,
    /// What tcpdump says of the data: for HTTP its first line.
    pub tail: &'a [u8],
}

impl Line<'_> {
    /// Nothing yet.
    pub(super) const EMPTY: Self = Self {
        stamp: Stamp::None,
        interface: &[],
        source: None,
        destination: None,
        hosts: None,
        flags: 0,
        seq: None,
        seq_end: None,
        ack: None,
        window: 0,
        window_scale: NO_WINDOW_SCALE,
        timestamps: None,
        length: None,
        bad_checksum: false,
        tail: &[],
    };
}

/// A decimal number of at most 32 bits, and what follows; larger ones are no numbers.
pub(super) fn decimal(text: &[u8]) -> (Option<u32>, &[u8]) {
    let mut value = 0_u64;
    let mut len = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(len) {
        value = (value * 10 + u64::from(digit - b'0')).min(1 << 40);
        len += 1;
    }
    let number = if len == 0 { None } else { u32::try_from(value).ok() };
    (number, &text[len..])
}
