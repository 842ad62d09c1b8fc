//! pcap files: one link type, packets one after another.

use super::blocks::{self, WINDOW};
use super::input::Input;
use super::link::{self, LinkType};
use super::{Account, Error, Options, Seen, Sink};
use pcap_parser::{LegacyPcapReader, PcapBlockOwned};
use proxy_common::segment::{BAD_CHECKSUM, PAYLOAD_CUT};
use proxy_common::wire::Refusal;
use std::ops::ControlFlow;

/// Reads a pcap file; see [`super::read`].
pub(super) fn read(
    input: Input,
    options: &Options,
    sink: &mut impl Sink,
    account: &mut Account,
) -> Result<(), Error> {
    let name = input.name.clone();
    let failure = input.failure();
    let what = if input.head().len() < 24 {
        "its pcap header is incomplete: 24 bytes are needed"
    } else {
        "it does not begin as a pcap file does; without --format its kind is found out"
    };
    let mut reader = LegacyPcapReader::new(WINDOW, input)
        .map_err(|_| Error::Foreign { name, what: what.into() })?;
    let mut link = None;
    let mut nanoseconds = 1000;
    let into = (sink, account);
    blocks::each(&mut reader, &failure, "packet", into, |block, sink, account| match block {
        PcapBlockOwned::LegacyHeader(header) => {
            link = LinkType::of(header.network.0);
            if header.is_nanosecond_precision() {
                nanoseconds = 1;
            }
            if link.is_none() {
                account.notes.push(unknown_link(header.network.0));
            }
            ControlFlow::Continue(())
        }
        PcapBlockOwned::Legacy(block) => {
            let seconds = u64::from(block.ts_sec) * 1_000_000_000;
            let frame = Frame {
                time_ns: seconds + u64::from(block.ts_usec) * nanoseconds,
                link,
                bytes: block.data,
                len: block.origlen,
                vantage: 0,
                comment: None,
            };
            frame.show(options, sink, account)
        }
        PcapBlockOwned::NG(_) => ControlFlow::Continue(()),
    });
    Ok(())
}

/// The note on packets of a link type that is not known.
pub(super) fn unknown_link(registered: i32) -> String {
    format!(
        "link type {registered} is not known here: its packets are left out (known are Ethernet, \
         Linux cooked, raw IP, loopback, PPP and Cisco HDLC)"
    )
}

/// A captured frame on its way to the sink.
pub(super) struct Frame<'a> {
    pub(super) time_ns: u64,
    pub(super) link: Option<LinkType>,
    pub(super) bytes: &'a [u8],
    pub(super) len: u32,
    pub(super) vantage: u32,
    pub(super) comment: Option<&'a str>,
}

impl Frame<'_> {
    /// Shows the frame's segment to the sink, or counts why there is none.
    #[inline]
    pub(super) fn show(
        &self,
        options: &Options,
        sink: &mut impl Sink,
        account: &mut Account,
    ) -> ControlFlow<()> {
        account.packets += 1;
        let skipped = &mut account.skipped;
        let Some(link) = self.link else {
            skipped.link += 1;
            return ControlFlow::Continue(());
        };
        let (mut packet, bytes) = match link::segment(link, self.bytes, self.len, self.vantage) {
            Ok(found) => found,
            Err(refusal) => {
                *match refusal {
                    Refusal::NotIp => &mut skipped.not_ip,
                    Refusal::NotTcp => &mut skipped.not_tcp,
                    Refusal::Fragment => &mut skipped.fragments,
                    Refusal::Truncated => &mut skipped.truncated,
                    Refusal::Malformed => &mut skipped.malformed,
                } += 1;
                return ControlFlow::Continue(());
            }
        };
        if options.checksums && !link::checksum_is_right(&packet, bytes) {
            account.bad_checksums += 1;
            packet.segment.marks |= BAD_CHECKSUM;
        }
        account.segments += 1;
        let data = usize::from(packet.tcp_offset) + usize::from(packet.tcp_header_len);
        let end = data.saturating_add(packet.segment.payload as usize).min(bytes.len());
        let payload = bytes.get(data..end).unwrap_or_default();
        if options.gaps && payload.len() < packet.segment.payload as usize {
            packet.segment.marks |= PAYLOAD_CUT;
        }
        sink.segment(&Seen {
            number: account.packets,
            time_ns: self.time_ns,
            key: packet.key,
            segment: packet.segment,
            ip_len: (data as u32).saturating_add(packet.segment.payload),
            payload,
            comment: self.comment,
        })
    }
}
