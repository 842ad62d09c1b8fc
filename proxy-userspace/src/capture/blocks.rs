//! The blocks of a binary capture, one after another, to its end or to where it is damaged.

use super::{Account, Damage, Sink};
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{PcapBlockOwned, PcapError};
use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;

/// Bytes held of the file at a time; more where a block is longer.
pub(super) const WINDOW: usize = 1 << 18;
/// The longest packet or block that is believed; longer ones are damage.
const LONGEST: usize = 16 << 20;

/// Shows every block to `show`, until it breaks. What ended the reading too early goes into the
/// account: `failure` holds a failed read, and `unit` is the word for a block.
pub(super) fn each<S: Sink>(
    reader: &mut impl PcapReaderIterator,
    failure: &RefCell<Option<io::Error>>,
    unit: &str,
    (sink, account): (&mut S, &mut Account),
    mut show: impl FnMut(PcapBlockOwned<'_>, &mut S, &mut Account) -> ControlFlow<()>,
) {
    loop {
        let consumed = match reader.next() {
            Ok((len, block)) => {
                if show(block, sink, account).is_break() {
                    return;
                }
                len
            }
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => {
                // A failed read is taken for the end and kept in `failure`; what fails here is a pause.
                let pauses = reader.refill().is_err();
                if pauses && sink.pause(reader.data().is_empty()).is_break() {
                    return;
                }
                continue;
            }
            Err(error) => {
                let what = problem(&error, unit);
                if matches!(error, PcapError::BufferTooSmall) && has_more(reader) {
                    continue;
                }
                account.damage = Some(Damage { offset: reader.consumed() as u64, what });
                break;
            }
        };
        reader.consume(consumed);
    }
    if let Some(error) = failure.take() {
        let offset = reader.consumed() as u64;
        account.damage = Some(Damage { offset, what: error.to_string() });
    }
}

/// Reads on in a block that does not fit what is held; false where it is longer than any.
///
/// Memory is made only for bytes that are there: a damaged length is no reason for it.
fn has_more(reader: &mut impl PcapReaderIterator) -> bool {
    let held = reader.data().len();
    let pauses = reader.refill().is_err();
    if pauses || reader.data().len() > held || reader.reader_exhausted() {
        return true;
    }
    let wanted = held.max(WINDOW) * 2;
    wanted <= LONGEST && reader.grow(wanted) && reader.refill().is_ok()
}

/// What is wrong where the parser stopped.
fn problem<I>(error: &PcapError<I>, unit: &str) -> String {
    match error {
        PcapError::UnexpectedEof | PcapError::Incomplete(_) => {
            format!("the file ends within a {unit}")
        }
        PcapError::BufferTooSmall => {
            format!("a {unit} claims more than {} MiB", LONGEST >> 20)
        }
        _ => format!("no {unit} begins here"),
    }
}
