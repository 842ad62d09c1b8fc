//! The text that tcpdump prints, read as segments.
//!
//! It comes as it was pasted: with any of the `-t` options, with link headers or without, quoted,
//! wrapped, with hex dumps and prompts in between, with names for addresses or with none at all.
//! What a line says is parsed in [`packet`]; its sequence numbers are made absolute again in
//! [`numbers`]; lines without addresses are told apart in [`nameless`].

mod classic;
pub mod clock;
pub mod columns;
pub mod lines;
pub mod nameless;
pub mod names;
pub mod numbers;
pub mod packet;
pub mod printed;
pub mod stamp;

use super::input::Input;
use super::{Account, Damage, Error, Options, Seen, Sink};
use clock::Times;
use columns::Columns;
use lines::{Lines, Logical};
use nameless::Nameless;
use names::{Addresses, has_port, is_placeholder};
use numbers::Numbers;
use printed::Line;
use proxy_common::key::FlowKey;
use proxy_common::segment::{BAD_CHECKSUM, Segment};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Reads the text of tcpdump; see [`super::read`].
pub(super) fn read(
    input: Input,
    options: &Options,
    sink: &mut impl Sink,
    account: &mut Account,
) -> Result<(), Error> {
    let name = input.name.clone();
    let failure = input.failure();
    let mut reader = Reader {
        times: Times::guess(input.head()),
        addresses: Addresses::default(),
        numbers: Numbers::default(),
        nameless: Nameless::default(),
        interfaces: HashMap::new(),
        checksums: options.checksums,
        without_flags: 0,
        unread: 0,
        first_unread: None,
        cut: 0,
        first_cut: None,
    };
    let mut columns = Columns::guess(input.head());
    let mut lines = Lines::new(input);
    let mut logical = Logical::default();
    let mut flow = ControlFlow::Continue(());
    while flow.is_continue() {
        flow = if let Some(line) = columns.next(&mut lines) {
            logical.push(line.bytes, line.number, |bytes, number| {
                reader.line(bytes, number, sink, account)
            })
        } else if lines.pauses() {
            sink.pause(lines.is_between())
        } else {
            break;
        };
    }
    if flow.is_continue() {
        let _ = logical.finish(|bytes, number| reader.line(bytes, number, sink, account));
    }
    if let Some(error) = failure.take() {
        account.damage = Some(Damage { offset: lines.offset(), what: error.to_string() });
    }
    account.clock = reader.times.clock();
    account.notes.extend(reader.times.note());
    account.notes.extend(reader.nameless.notes());
    if reader.without_flags > 0 {
        account.notes.push(format!(
            "{} TCP packet(s) are told without flags and numbers: give tcpdump's text without -q",
            reader.without_flags
        ));
    }
    if let Some(first) = reader.first_unread {
        account.notes.push(format!(
            "{} line(s) with TCP flags could not be read, the first is line {first}: a packet reads \
             like `192.0.2.1.40000 > 192.0.2.2.80: Flags [S], seq 1, …`",
            reader.unread
        ));
    }
    if let Some(first) = reader.first_cut {
        account.notes.push(format!(
            "{} packet(s) end before their `length`, the first in line {first}: what was cut off is \
             not known, and the last number may be short",
            reader.cut
        ));
    }
    if account.packets == 0 && account.damage.is_none() {
        let what = "no line of tcpdump's is in it (it would read like \
                    `11:17:45.102437 IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [S], seq 1, …`)";
        return Err(Error::Foreign { name, what: what.into() });
    }
    Ok(())
}

/// What is known while lines go by.
struct Reader {
    times: Times,
    addresses: Addresses,
    numbers: Numbers,
    nameless: Nameless,
    /// The interfaces that `-i any` names, with the direction.
    interfaces: HashMap<Box<[u8]>, u32>,
    /// Wrong checksums count.
    checksums: bool,
    /// TCP packets of which `-q` has left out what matters.
    without_flags: u64,
    /// Lines with flags that are no packet all the same, and the number of the first.
    unread: u64,
    first_unread: Option<u64>,
    /// Packets whose text ends before their length, and the number of the first one's line.
    cut: u64,
    first_cut: Option<u64>,
}

impl Reader {
    /// Shows what a line tells, if it tells a segment.
    fn line(
        &mut self,
        bytes: &[u8],
        number: u64,
        sink: &mut impl Sink,
        account: &mut Account,
    ) -> ControlFlow<()> {
        let Some(line) = packet::parse(bytes) else {
            if packet::has_flags(bytes) {
                self.unread += 1;
                self.first_unread.get_or_insert(number);
            }
            if let Some(stamp) = packet::stamp(bytes) {
                self.without_flags += u64::from(packet::is_without_flags(bytes));
                self.times.time_ns(stamp);
                account.packets += 1;
                account.skipped.not_tcp += 1;
            }
            return ControlFlow::Continue(());
        };
        if line.length.is_none() {
            self.cut += 1;
            self.first_cut.get_or_insert(number);
        }
        account.packets += 1;
        let time_ns = self.times.time_ns(line.stamp);
        let Some((key, mut segment)) = self.place(&line, number, time_ns, sink) else {
            return ControlFlow::Continue(());
        };
        account.segments += 1;
        segment.vantage = self.vantage(line.interface);
        if line.bad_checksum && self.checksums {
            account.bad_checksums += 1;
            segment.marks |= BAD_CHECKSUM;
        }
        sink.segment(&Seen {
            number,
            time_ns,
            key,
            segment,
            ip_len: 0,
            payload: line.tail,
            comment: None,
        })
    }

    /// The connection and the segment of a line; `None` where it may be any of several's.
    fn place(
        &mut self,
        line: &Line<'_>,
        number: u64,
        time_ns: u64,
        sink: &mut impl Sink,
    ) -> Option<(FlowKey, Segment)> {
        let [source_host, destination_host] = line.hosts.map_or([None; 2], |hosts| hosts.map(Some));
        let mut endpoint = |host: Option<&[u8]>, token: Option<&[u8]>| match (host, token?) {
            (Some(host), port) => self.addresses.endpoint(&[host, port].join(&b'.'), sink),
            (None, token) => self.addresses.endpoint(token, sink),
        };
        let source = endpoint(source_host, line.source);
        let destination = endpoint(destination_host, line.destination);
        match (source, destination) {
            // Names that are the same at both ends tell them no better apart than none, and neither do
            // those without any port.
            (Some(source), Some(destination))
                if (source != destination || !is_placeholder(&source))
                    && (source.port != 0
                        || destination.port != 0
                        || [line.source, line.destination].into_iter().flatten().any(has_port)) =>
            {
                let (key, sender) = FlowKey::new(source, destination);
                Some((key, self.numbers.segment(&key, sender, line)))
            }
            _ => self.nameless.segment(line, number, time_ns, sink),
        }
    }

    /// A number for the interface and direction that `-i any` shows; 0 without.
    fn vantage(&mut self, interface: &[u8]) -> u32 {
        if interface.is_empty() {
            return 0;
        }
        if let Some(&known) = self.interfaces.get(interface) {
            return known;
        }
        let number = self.interfaces.len() as u32 + 1;
        self.interfaces.insert(interface.into(), number);
        number
    }
}
