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
    fn new(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
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
                    let bytes = [a, b, c, d, e, f, g, h];
                    interface.offset = match big_endian {
                        true => i64::from_be_bytes(bytes),
                        false => i64::from_le_bytes(bytes),
                    };
                }
                _ => {}
            }
        }
        interface
    }

    fn time_ns(&self, block: &EnhancedPacketBlock<'_>) -> u64 {
        let units = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
        let shift = self.offset.saturating_mul(1_000_000_000);
        self.clock.nanoseconds(units).saturating_add_signed(shift)
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
    blocks::each(&mut reader, &failure, "block", account, |block, account| {
        let PcapBlockOwned::NG(block) = block else { return ControlFlow::Continue(()) };
        match block {
            Block::SectionHeader(header) => section.begin(&header, sink),
            Block::InterfaceDescription(description) => section.describe(&description, account),
            Block::EnhancedPacket(packet) => {
                let frame = section.enhanced(&packet);
                last_time_ns = frame.time_ns;
                frame.show(options, sink, account)?;
                section.show_stored(&packet.options, sink);
            }
            Block::InterfaceStatistics(statistics) => {
                section.show_stored(&statistics.options, sink);
            }
            // It has no time of its own.
            Block::SimplePacket(packet) => {
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
    big_endian: bool,
    several: bool,
    /// Written by teardown: closes stand with the packets.
    ours: bool,
}

impl Section {
    fn begin(&mut self, header: &SectionHeaderBlock<'_>, sink: &mut impl Sink) {
        self.interfaces.clear();
        self.several = false;
        self.big_endian = header.big_endian();
        let says = |code: OptionCode, wanted: &str| {
            header.options.iter().any(|option| {
                option.code == code && option.as_str().is_ok_and(|text| text.starts_with(wanted))
            })
        };
        self.ours = false;
        if says(OptionCode::ShbUserAppl, WRITTEN_BY) && says(OptionCode::Comment, CONTROL_ONLY) {
            sink.sparse();
            self.ours = true;
        }
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
        let interface = Interface::new(block, self.big_endian);
        if interface.link.is_none() {
            account.notes.push(unknown_link(block.linktype.0));
        }
        self.several |= !self.interfaces.is_empty();
        self.interfaces.push(interface);
    }

    fn enhanced<'a>(&self, packet: &'a EnhancedPacketBlock<'a>) -> Frame<'a> {
        let interface = self.interfaces.get(packet.if_id as usize);
        let comment = packet
            .options
            .iter()
            .find(|option| option.code == OptionCode::Comment)
            .and_then(|option| option.as_str().ok());
        Frame {
            time_ns: interface.map_or(0, |interface| interface.time_ns(packet)),
            link: interface.and_then(|interface| interface.link),
            bytes: packet.packet_data(),
            len: packet.origlen,
            // The same packet may have been captured on several interfaces.
            vantage: if self.several { packet.if_id + 1 } else { 0 },
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
