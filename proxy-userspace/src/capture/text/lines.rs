//! Lines of a stream without copying them, and the joining of those that belong together.

use super::packet;
use memchr::memchr2;
use std::borrow::Cow;
use std::io::{ErrorKind, Read};
use std::ops::ControlFlow;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// A longer line is no line of tcpdump's; the rest of it counts as another.
pub(super) const LONGEST: usize = 1 << 16;
/// Lines that are joined at most: a packet with many options, wrapped at 20 columns.
const JOINED: usize = 4096;

/// The lines of a stream.
pub(super) struct Lines<R> {
    stream: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    number: u64,
    ended: bool,
    pauses: bool,
}

/// A line without its end.
pub(super) struct Numbered<'a> {
    pub(super) bytes: &'a [u8],
    /// Counted from 1.
    pub(super) number: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(stream: R) -> Self {
        let buffer = vec![0; CHUNK];
        Self { stream, buffer, start: 0, end: 0, offset: 0, number: 0, ended: false, pauses: false }
    }

    /// Whether there was no line as the stream pauses, not as it ends.
    pub(super) fn pauses(&self) -> bool {
        self.pauses
    }

    /// Whether nothing is held of a line that has not come to its end.
    pub(super) fn is_between(&self) -> bool {
        self.start == self.end
    }

    /// Where the line begins that was returned last, or where the stream ends.
    pub(super) fn offset(&self) -> u64 {
        self.offset + self.start as u64
    }

    /// The next line, or the stream's pause or end.
    pub(super) fn next(&mut self) -> Option<Numbered<'_>> {
        let found = self.find()?;
        Some(self.take(found))
    }

    /// The next line, which pauses are waited out for.
    pub(super) fn wait(&mut self) -> Option<Numbered<'_>> {
        let found = loop {
            match self.find() {
                None if self.pauses => {}
                found => break found?,
            }
        };
        Some(self.take(found))
    }

    /// The lengths of the next line without its end and with it.
    fn find(&mut self) -> Option<(usize, usize)> {
        let mut searched = 0;
        self.pauses = false;
        while !self.pauses {
            let held = &self.buffer[self.start..self.end];
            if let Some(at) = memchr2(b'\n', b'\r', &held[searched..]) {
                let at = searched + at;
                match end(&held[at..]) {
                    Some(len) => return Some((at, at + len)),
                    None if self.ended || held.len() >= LONGEST => return Some((at, at + 1)),
                    None => {
                        searched = at;
                        self.fill();
                        continue;
                    }
                }
            }
            if held.len() >= LONGEST || (self.ended && !held.is_empty()) {
                let len = held.len().min(LONGEST);
                return Some((len, len));
            }
            if self.ended {
                return None;
            }
            searched = held.len();
            self.fill();
        }
        None
    }

    fn take(&mut self, (len, skip): (usize, usize)) -> Numbered<'_> {
        let start = self.start;
        self.start += skip;
        self.number += 1;
        Numbered { bytes: &self.buffer[start..start + len], number: self.number }
    }

    fn fill(&mut self) {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.offset += self.start as u64;
            self.end -= self.start;
            self.start = 0;
        }
        // The input keeps its own errors and ends at the first.
        match self.stream.read(&mut self.buffer[self.end..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.pauses = true,
            Ok(0) | Err(_) => self.ended = true,
            Ok(n) => self.end += n,
        }
    }
}

/// The length of the line's end that `held` begins with: LF, as many CR before it as it went through
/// Windows' hands, or a CR alone, as old Macs wrote it. `None` where only what follows can tell.
fn end(held: &[u8]) -> Option<usize> {
    let returns = held.iter().take_while(|&&byte| byte == b'\r').count();
    match held.get(returns) {
        Some(b'\n') => Some(returns + 1),
        Some(_) => Some(1),
        None => None,
    }
}

/// The lines of a text that is held whole.
pub(super) fn all(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let at = memchr2(b'\n', b'\r', text).unwrap_or(text.len());
        let (line, rest) = text.split_at(at);
        let is_last = rest.is_empty();
        text = &rest[end(rest).unwrap_or(rest.len().min(1))..];
        (!is_last || !line.is_empty()).then_some(line)
    })
}

/// Joins what `-v`, a terminal or a mail program have put on several lines.
#[derive(Default)]
pub(super) struct Logical {
    held: Vec<u8>,
    number: u64,
}

impl Logical {
    /// Takes the next line, and gives each packet that is complete to `packet`.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        number: u64,
        mut packet: impl FnMut(&[u8], u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let plain = plain(bytes);
        let line = unquoted(&plain);
        if self.held.is_empty() && packet::is_complete(line) {
            return packet(line, number);
        }
        // What a tunnel carries, or ICMP quotes, may stand on a line of its own, without a time.
        let is_quoted = packet::is_icmp(&self.held) && bytes.starts_with(b"\t");
        let is_inner = packet::is_ip(line) && (packet::has_time(&self.held) || is_quoted);
        let begins = packet::begins(line) && !is_inner;
        let joins = !self.held.is_empty()
            && !begins
            && !line.is_empty()
            && !is_hex_dump(line)
            && self.held.len() + line.len() < JOINED;
        let mut flow = ControlFlow::Continue(());
        if !self.held.is_empty() && !joins {
            flow = packet(&self.held, self.number);
            self.held.clear();
        }
        if !joins && !begins {
            return flow;
        }
        if joins {
            self.held.push(b' ');
        } else {
            self.number = number;
        }
        self.held.extend_from_slice(line);
        if packet::is_complete(&self.held) && flow.is_continue() {
            flow = packet(&self.held, self.number);
            self.held.clear();
        }
        flow
    }

    /// Gives the last packet, which no other line ended.
    pub(super) fn finish(
        self,
        mut packet: impl FnMut(&[u8], u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.held.is_empty() {
            ControlFlow::Continue(())
        } else {
            packet(&self.held, self.number)
        }
    }
}

/// A line without what quoting (`> `, `| `), indentation and an editor's byte order mark put before
/// it.
pub(super) fn unquoted(line: &[u8]) -> &[u8] {
    unindented(line).trim_ascii_end()
}

/// The same with what stands behind it.
pub(super) fn unindented(mut line: &[u8]) -> &[u8] {
    line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    while let [b' ' | b'\t' | b'>' | b'|' | b'`' | b'*', rest @ ..] = line {
        line = rest;
    }
    line
}

/// A line without HTML's way to write `<`, `>` and `&`, which a page's source has, and without the
/// spaces that do not break, which a page shows.
pub(super) fn plain(line: &[u8]) -> Cow<'_, [u8]> {
    const SIGNS: [(&[u8], u8); 5] = [
        (b"&gt;", b'>'),
        (b"&lt;", b'<'),
        (b"&amp;", b'&'),
        (b"&nbsp;", b' '),
        ("\u{a0}".as_bytes(), b' '),
    ];
    if memchr2(b'&', 0xc2, line).is_none() {
        return Cow::Borrowed(line);
    }
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, behind)) = rest.split_first() {
        let sign = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign));
        plain.push(sign.map_or(byte, |&(_, plain)| plain));
        rest = sign.map_or(behind, |(sign, _)| &rest[sign.len()..]);
    }
    Cow::Owned(plain)
}

pub(super) fn is_hex_dump(line: &[u8]) -> bool {
    line.starts_with(b"0x") && line.get(6) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Vec<String> {
        let mut packets = Vec::new();
        let mut logical = Logical::default();
        let mut push = |bytes: &[u8], _| {
            packets.push(String::from_utf8_lossy(bytes).into_owned());
            ControlFlow::Continue(())
        };
        for (number, line) in text.lines().enumerate() {
            let _ = logical.push(line.as_bytes(), number as u64, &mut push);
        }
        let _ = logical.finish(push);
        packets
    }

    #[test]
    fn chunks_do_not_cut_lines() {
        let text = "one two three\nfour\r\n\nfive\rsix\r\r\n\r\rlast";
        for chunk in 1..6 {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(chunk).collect();
            let stream = pieces
                .into_iter()
                .fold(Box::new(std::io::empty()) as Box<dyn Read>, |before, piece| {
                    Box::new(before.chain(piece))
                });
            let mut lines = Lines::new(stream);
            let mut found = Vec::new();
            while let Some(line) = lines.next() {
                found.push(String::from_utf8(line.bytes.to_vec()).unwrap());
            }
            let expected = ["one two three", "four", "", "five", "six", "", "", "last"];
            assert_eq!(found, expected);
            assert_eq!(
                all(text.as_bytes())
                    .map(<[u8]>::escape_ascii)
                    .map(|line| line.to_string())
                    .collect::<Vec<_>>(),
                expected
            );
        }
    }

    #[test]
    fn wrapped_and_quoted_lines_become_one() {
        let text = "$ tcpdump -nv\n\
            > 11:17:45.1 IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto TCP (6), length 60)\n\
            >     192.0.2.1.4 > 192.0.2.2.80: Flags [S], seq 1, win 2,\n\
            > length 0\n\
            \t0x0000:  4500 003c eeca 4000 4006 33dd 0a09 0202  E..<..@.@.3.....\n\
            11:17:45.2 IP 192.0.2.2.80 > 192.0.2.1.4: Flags [R.], seq 0, ack 2, win 0, length 0\n";
        let packets = joined(text);
        assert_eq!(packets.len(), 2, "{packets:#?}");
        assert!(packets[0].starts_with("11:17:45.1 IP (tos"), "{}", packets[0]);
        assert!(packets[0].ends_with("win 2, length 0"), "{}", packets[0]);
    }

    #[test]
    fn endless_lines_are_cut() {
        let mut lines = Lines::new(std::io::repeat(b'x').take(200_000));
        let mut total = 0;
        while let Some(line) = lines.next() {
            assert!(line.bytes.len() <= LONGEST);
            total += line.bytes.len();
        }
        assert_eq!(total, 200_000);
    }
}
