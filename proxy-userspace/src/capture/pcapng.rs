//! pcapng files: sections, each with its interfaces, each of those with a link type and a clock.

use super::blocks::{self, WINDOW};
use super::input::Input;
use super::link::LinkType;
use super::pcap::{Frame, unknown_link};
use super::write::stored::Stored;
use super::{Account, Error, Options, Sink};
use pcap_parser::pcapng::{
    EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, PcapNGOption, SectionHeaderBlock,
    SimplePacketBlock,
};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, PcapBlockOwned, PcapNGReader};
use std::ops::ControlFlow;

/// `shb_userappl` of the files that teardown writes; the version follows.
pub(crate) const WRITTEN_BY: &str = "teardown ";
/// The section comment of a file that holds control segments only.
pub(crate) const CONTROL_ONLY: &str = "control segments only";

/// The byte order of a section.
#[derive(Clone, Copy, Default)]
enum Order {
    #[default]
    Little,
    Big,
}

impl Order {
    /// The number in these bytes, as it is in [`Order::Big`].
    fn bytes<const N: usize>(self, mut bytes: [u8; N]) -> [u8; N] {
        if matches!(self, Self::Little) {
            bytes.reverse();
        }
        bytes
    }

    fn half(self, bytes: [u8; 2]) -> u16 {
        u16::from_be_bytes(self.bytes(bytes))
    }

    fn word(self, bytes: [u8; 4]) -> u32 {
        u32::from_be_bytes(self.bytes(bytes))
    }

    fn long(self, bytes: [u8; 8]) -> i64 {
        i64::from_be_bytes(self.bytes(bytes))
    }
}

/// What an interface description says of its packets.
#[derive(Clone, Copy)]
struct Interface {
    link: Option<LinkType>,
    clock: Resolution,
    /// Seconds to add.
    offset: i64,
    snaplen: u32,
}

/// What one unit of an interface's timestamps is worth.
#[derive(Clone, Copy)]
enum Resolution {
    /// 10 to the power of minus this many seconds.
    Decimal(u8),
    /// 2 to the power of minus this many.
    Binary(u8),
}

impl Resolution {
    fn nanoseconds(self, units: u64) -> u64 {
        let scaled = match self {
            Self::Decimal(digits @ 0..=9) => u128::from(units) * 10u128.pow(u32::from(9 - digits)),
            Self::Decimal(digits) => {
                u128::from(units) / 10u128.saturating_pow(u32::from(digits) - 9)
            }
            Self::Binary(bits) => (u128::from(units) * 1_000_000_000) >> bits,
        };
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

impl Interface {
    fn new(block: &InterfaceDescriptionBlock<'_>, order: Order) -> Self {
        let mut interface = Self {
            link: LinkType::of(block.linktype.0),
            clock: Resolution::Decimal(6),
            offset: 0,
            snaplen: block.snaplen,
        };
        for option in &block.options {
            match (option.code, option.value()) {
                (OptionCode::IfTsresol, [exponent, ..]) => {
                    interface.clock = match exponent & 0x7f {
                        bits if exponent & 0x80 != 0 => Resolution::Binary(bits),
                        digits => Resolution::Decimal(digits),
                    };
                }
                (OptionCode::IfTsoffset, &[a, b, c, d, e, f, g, h, ..]) => {
                    interface.offset = order.long([a, b, c, d, e, f, g, h]);
                }
                _ => {}
            }
        }
        interface
    }

    fn time_ns(&self, high: u32, low: u32) -> u64 {
        let units = u64::from(high) << 32 | u64::from(low);
        let shift = self.offset.saturating_mul(1_000_000_000);
        self.clock.nanoseconds(units).saturating_add_signed(shift)
    }
}

/// The type of the packet block that the enhanced one has replaced (draft-ietf-opsawg-pcapng,
/// appendix A); tcpdump and Wireshark read it.
const OBSOLETE_PACKET: u32 = 2;

/// What such a block says; its comments are not read.
struct Obsolete<'a> {
    interface: u32,
    time: [u32; 2],
    len: u32,
    bytes: &'a [u8],
}

impl<'a> Obsolete<'a> {
    fn read(body: &'a [u8], order: Order) -> Option<Self> {
        let (head, behind) = body.split_at_checked(20)?;
        let [ia, ib, ..] = *head else { return None };
        let word = |at: usize| Some(order.word(head.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            interface: order.half([ia, ib]).into(),
            time: [word(4)?, word(8)?],
            len: word(16)?,
            bytes: behind.get(..word(12)? as usize)?,
        })
    }
}

/// Reads a pcapng file; see [`super::read`].
pub(super) fn read(
    input: Input,
    options: &Options,
    sink: &mut impl Sink,
    account: &mut Account,
) -> Result<(), Error> {
    let name = input.name.clone();
    let failure = input.failure();
    let mut reader = PcapNGReader::new(WINDOW, input).map_err(|_| Error::Foreign {
        name,
        what: "its pcapng section header is incomplete or damaged".into(),
    })?;
    let mut section = Section::default();
    let mut last_time_ns = 0;
    let into = (sink, account);
    blocks::each(&mut reader, &failure, "block", into, |block, sink, account| {
        let PcapBlockOwned::NG(block) = block else { return ControlFlow::Continue(()) };
        match block {
            Block::SectionHeader(header) => section.begin(&header, sink),
            Block::InterfaceDescription(description) => section.describe(&description, account),
            Block::EnhancedPacket(packet) => {
                if section.lacks(packet.if_id, account) {
                    return ControlFlow::Continue(());
                }
                let frame = section.enhanced(&packet);
                last_time_ns = frame.time_ns;
                frame.show(options, sink, account)?;
                section.show_stored(&packet.options, sink);
            }
            Block::InterfaceStatistics(statistics) => {
                section.show_stored(&statistics.options, sink);
            }
            Block::Unknown(block) if section.is_obsolete_packet(block.block_type) => {
                let Some(packet) = Obsolete::read(block.data, section.order) else {
                    account.packets += 1;
                    account.skipped.malformed += 1;
                    return ControlFlow::Continue(());
                };
                if section.lacks(packet.interface, account) {
                    return ControlFlow::Continue(());
                }
                let frame = section.obsolete(&packet);
                last_time_ns = frame.time_ns;
                frame.show(options, sink, account)?;
            }
            // It has no time of its own.
            Block::SimplePacket(packet) => {
                if section.lacks(0, account) {
                    return ControlFlow::Continue(());
                }
                section.simple(&packet, last_time_ns).show(options, sink, account)?;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    Ok(())
}

/// What holds from a section header to the next.
#[derive(Default)]
struct Section {
    interfaces: Vec<Interface>,
    order: Order,
    /// Written by teardown: closes stand with the packets.
    ours: bool,
}

impl Section {
    fn begin(&mut self, header: &SectionHeaderBlock<'_>, sink: &mut impl Sink) {
        self.interfaces.clear();
        self.order = if header.big_endian() { Order::Big } else { Order::Little };
        let says = |code: OptionCode, wanted: &str| {
            header.options.iter().any(|option| {
                option.code == code && option.as_str().is_ok_and(|text| text.starts_with(wanted))
            })
        };
        self.ours =
            says(OptionCode::ShbUserAppl, WRITTEN_BY) && says(OptionCode::Comment, CONTROL_ONLY);
        sink.section(self.ours);
    }

    fn show_stored(&self, options: &[PcapNGOption<'_>], sink: &mut impl Sink) {
        if !self.ours {
            return;
        }
        let custom = options.iter().filter(|option| option.code == OptionCode::Custom2989);
        let stored = custom.filter_map(|option| Stored::from_bytes(option.as_bytes().ok()?));
        stored.for_each(|stored| sink.stored(stored));
    }

    fn describe(&mut self, block: &InterfaceDescriptionBlock<'_>, account: &mut Account) {
        let interface = Interface::new(block, self.order);
        if interface.link.is_none() {
            let note = unknown_link(block.linktype.0);
            // There may be thousands of them.
            if !account.notes.contains(&note) {
                account.notes.push(note);
            }
        }
        self.interfaces.push(interface);
    }

    /// Whether a block's type is that of [`Obsolete`]. The parser gives it as if it were
    /// little-endian, whatever the section is.
    fn is_obsolete_packet(&self, kind: u32) -> bool {
        self.order.word(kind.to_le_bytes()) == OBSOLETE_PACKET
    }

    /// Whether the section describes no such interface; then the packet is counted as left out.
    fn lacks(&self, interface: u32, account: &mut Account) -> bool {
        let lacks = self.interfaces.len() <= interface as usize;
        account.packets += u64::from(lacks);
        account.skipped.interface += u64::from(lacks);
        lacks
    }

    fn obsolete<'a>(&self, packet: &Obsolete<'a>) -> Frame<'a> {
        let interface = self.interfaces.get(packet.interface as usize);
        let [high, low] = packet.time;
        Frame {
            time_ns: interface.map_or(0, |interface| interface.time_ns(high, low)),
            link: interface.and_then(|interface| interface.link),
            bytes: packet.bytes,
            len: packet.len,
            vantage: packet.interface,
            comment: None,
        }
    }

    fn enhanced<'a>(&self, packet: &'a EnhancedPacketBlock<'a>) -> Frame<'a> {
        let interface = self.interfaces.get(packet.if_id as usize);
        let comment = packet
            .options
            .iter()
            .find(|option| option.code == OptionCode::Comment)
            .and_then(|option| option.as_str().ok());
        Frame {
            time_ns: interface
                .map_or(0, |interface| interface.time_ns(packet.ts_high, packet.ts_low)),
            link: interface.and_then(|interface| interface.link),
            bytes: packet.packet_data(),
            len: packet.origlen,
            vantage: packet.if_id,
            comment,
        }
    }

    fn simple<'a>(&self, packet: &'a SimplePacketBlock<'a>, time_ns: u64) -> Frame<'a> {
        let interface = self.interfaces.first();
        let snaplen = interface.map_or(0, |interface| interface.snaplen);
        let mut bytes = packet.packet_data();
        if snaplen != 0 {
            bytes = &bytes[..bytes.len().min(snaplen as usize)];
        }
        Frame {
            time_ns,
            link: interface.and_then(|interface| interface.link),
            bytes,
            len: packet.origlen,
            vantage: 0,
            comment: None,
        }
    }
}
