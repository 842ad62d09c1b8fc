//! Captures of every kind, read as segments.
//!
//! Whatever the input is (pcap, pcapng, either of them compressed, or the text that tcpdump
//! prints), [`read`] streams it once and hands each TCP segment to a [`Sink`]. Memory does not
//! grow with the length of the input.

mod blocks;
pub mod detect;
pub mod ftp;
pub mod heads;
pub mod input;
pub mod link;
pub mod pcap;
pub mod pcapng;
pub mod pipe;
pub mod table;
pub mod text;
mod utf16;
pub mod write;

use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::segment::Segment;
use std::ops::ControlFlow;
use text::names::{Name, Places};
use write::stored::Stored;

/// One TCP segment as a capture tells it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The packet's number in the capture, or the line's in a text; counted from 1.
    pub number: u64,
    /// When it was captured: nanoseconds since 1970-01-01 UTC, or since an origin that the text
    /// does not tell ([`Clock`]).
    pub time_ns: u64,
    /// The connection.
    pub key: FlowKey,
    /// The segment.
    pub segment: Segment,
    /// The length of its IP packet, headers included; 0 where the text does not tell.
    pub ip_len: u32,
    /// The bytes of data that were captured: at most `segment.payload`, often fewer.
    pub payload: &'a [u8],
    /// A comment that stands with the packet (pcapng only).
    pub comment: Option<&'a str>,
}

/// Receives what a capture holds.
pub trait Sink {
    /// A segment; [`ControlFlow::Break`] ends the reading.
    fn segment(&mut self, seen: &Seen<'_>) -> ControlFlow<()>;

    /// The endpoint, made up by [`Places`], that holds the place of a name in every [`FlowKey`]. Who
    /// tells no connections apart needs but one.
    fn name(&mut self, name: Name<'_>) -> Endpoint {
        Places::default().endpoint(name).0
    }

    /// Segments of this connection had to be left out, as they may belong to others as well.
    /// Returns whether that is new.
    fn doubt(&mut self, key: &FlowKey) -> bool {
        let _ = key;
        false
    }

    /// How a connection closed, as teardown itself has written it into the file.
    fn stored(&mut self, stored: Stored) {
        let _ = stored;
    }

    /// Nothing more is there for now: the capture comes through a pipe that somebody still writes
    /// into. `is_between` packets or lines, or within one, as where the writer holds part of it back.
    fn pause(&mut self, is_between: bool) -> ControlFlow<()> {
        let _ = is_between;
        ControlFlow::Continue(())
    }

    /// Another file begins, or another section of one: a sparse one, which teardown itself has
    /// written, holds control segments only.
    fn section(&mut self, is_sparse: bool) {
        let _ = is_sparse;
    }
}

/// What the times of a capture mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Dates, as every binary capture has them.
    #[default]
    Date,
    /// The time of day, without a date.
    TimeOfDay,
    /// The time since the first packet.
    SinceFirst,
    /// None at all: the segments' order is all that is known.
    None,
}

/// Packets that gave no segment, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Neither IPv4 nor IPv6.
    pub not_ip: u64,
    /// IP, but not TCP.
    pub not_tcp: u64,
    /// Fragments other than the first.
    pub fragments: u64,
    /// The capture's snap length cut the headers off.
    pub truncated: u64,
    /// Impossible headers.
    pub malformed: u64,
    /// On a link type that is not known.
    pub link: u64,
    /// On an interface that the pcapng section does not describe.
    pub interface: u64,
}

/// Where a file stops making sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The offset of the first byte that cannot be read, after decompression.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// What reading a capture found, apart from the segments.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// What it was.
    pub kind: detect::Kind,
    /// Packets, or lines of text that tell a packet.
    pub packets: u64,
    /// TCP segments among them.
    pub segments: u64,
    /// The others.
    pub skipped: Skipped,
    /// Segments with a wrong checksum, where [`Options::checksums`] asks for right ones.
    pub bad_checksums: u64,
    /// What its times mean.
    pub clock: Clock,
    /// Where it is damaged, if it is.
    pub damage: Option<Damage>,
    /// What had to be inferred, and what could not be, in sentences.
    pub notes: Vec<String>,
}

/// What may be said about an input in advance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The kind, where it is not to be detected.
    pub kind: Option<detect::Kind>,
    /// Mark segments whose TCP checksum is wrong, so that they move nothing, as in Zeek. Hosts
    /// that leave the sum to the network card show wrong ones in their own captures.
    pub checksums: bool,
    /// Mark data that the snap length cut off, which Zeek takes for a gap.
    pub gaps: bool,
}

/// Why an input could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("cannot open {name}")]
    Open {
        /// Its name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The input cannot be read.
    #[error("cannot read {name}")]
    Read {
        /// Its name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{name}: {what}")]
    Foreign {
        /// Its name.
        name: String,
        /// What it is, and what would be right.
        what: String,
    },
}

/// Reads `input` to its end, or to where it is damaged.
///
/// # Errors
/// Where the input cannot be read at all or is of no kind that is known. Damage further on is no
/// error: it stands in [`Account::damage`].
pub fn read(
    input: input::Input,
    options: &Options,
    sink: &mut impl Sink,
) -> Result<Account, Error> {
    let kind = options.kind.unwrap_or(input.kind);
    let mut account = Account { kind, ..Account::default() };
    sink.section(false);
    match kind {
        detect::Kind::Pcap => pcap::read(input, options, sink, &mut account)?,
        detect::Kind::Pcapng => pcapng::read(input, options, sink, &mut account)?,
        detect::Kind::Text => text::read(input, options, sink, &mut account)?,
    }
    Ok(account)
}
