//! Lines that a terminal has cut at its width, put together again.
//!
//! Unlike a mail program it cuts within words and numbers, so that joining the pieces by a space, as
//! [`lines`] does, would make other numbers of them.

use super::lines::{self, LONGEST, Lines, Numbered};
use super::packet;
use std::io::Read;

/// The width at which lines were cut, and what is read of the line that is being put together.
#[derive(Debug, Default)]
pub(super) struct Columns {
    width: Option<usize>,
    /// Bytes of quoting and indentation that every line begins with.
    quoting: usize,
    line: Vec<u8>,
    /// What was read behind it, and belongs to the next.
    waiting: Option<(Vec<u8>, u64)>,
}

impl Columns {
    /// Tells the width by a text's first lines: all that were cut are as long (or one shorter, where
    /// a space at the end was dropped), and at least one was cut where tcpdump prints no space.
    pub(super) fn guess(head: &[u8]) -> Self {
        let lines: Vec<&[u8]> = lines::all(head).collect();
        let cuts = || lines.windows(2).filter(|pair| is_cut(pair[0], pair[1]));
        let longest = cuts().map(|pair| pair[0].len()).max();
        let width = longest.filter(|&width| {
            let within =
                |pair: &[&[u8]]| pair[0].len() == width && is_within_word(pair[0], pair[1]);
            cuts().all(|pair| pair[0].len() + 1 >= width) && cuts().any(within)
        });
        let starts = lines.iter().map(|line| (line.len(), lines::unindented(line)));
        let quoting =
            starts.filter(|(_, rest)| packet::begins(rest)).map(|(len, rest)| len - rest.len());
        Self { width, quoting: quoting.min().unwrap_or(0), ..Self::default() }
    }

    /// The next line, whole.
    pub(super) fn next<'a>(&'a mut self, lines: &'a mut Lines<impl Read>) -> Option<Numbered<'a>> {
        let Some(width) = self.width else { return lines.next() };
        self.line.clear();
        let number = match self.waiting.take() {
            Some((line, number)) => {
                self.line = line;
                number
            }
            None => {
                let first = lines.next()?;
                self.line.extend_from_slice(first.bytes);
                first.number
            }
        };
        let mut last = self.line.len();
        while last == width
            && self.line.len() < LONGEST
            && let Some(more) = lines.wait()
        {
            let rest = lines::unindented(more.bytes);
            if packet::begins(rest) {
                self.waiting = Some((more.bytes.to_vec(), more.number));
                break;
            }
            last = more.bytes.len();
            // A space that the cut came before is the line's own; quoting is not.
            let start = self.quoting.min(more.bytes.len() - rest.len());
            self.line.extend_from_slice(&more.bytes[start..]);
        }
        Some(Numbered { bytes: &self.line, number })
    }
}

/// Whether a packet's text, or that of its addresses behind `-v`'s own line, begins on the first
/// line, ends too early, and may go on in the second. `-v`'s line ends with a parenthesis.
fn is_cut(line: &[u8], next: &[u8]) -> bool {
    let (line, next) = (lines::unquoted(line), lines::unquoted(next));
    let goes_on = !next.is_empty() && !packet::begins(next) && !lines::is_hex_dump(next);
    let begins = packet::begins(line) || memchr::memmem::find(line, b" > ").is_some();
    goes_on && begins && !packet::is_complete(line) && !line.ends_with(b")")
}

/// Whether tcpdump prints no space between what a line ends with and what the next begins with.
fn is_within_word(line: &[u8], next: &[u8]) -> bool {
    let next = lines::unquoted(next);
    match (line.last(), next.first()) {
        (_, Some(b',' | b'.' | b':' | b']')) => true,
        (Some(a), Some(b)) if a.is_ascii_digit() => b.is_ascii_digit(),
        (Some(a), Some(b)) if a.is_ascii_alphabetic() => {
            b.is_ascii_alphabetic() && !next.starts_with(b"val") && !next.starts_with(b"IP")
        }
        _ => false,
    }
}
