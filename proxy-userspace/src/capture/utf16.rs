//! Text in UTF-16, as Windows writes it (PowerShell's `>`), read as UTF-8.

use std::io::{self, Read};

/// How the two bytes of a unit are put together.
pub(super) type Order = fn([u8; 2]) -> u16;

/// The order that a byte order mark tells, which the text begins with.
pub(super) fn order(head: &[u8]) -> Option<Order> {
    match head {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    }
}

/// The name of the encoding of a text that has no mark: every other byte of ASCII is zero.
pub(super) fn unmarked(head: &[u8]) -> Option<&'static str> {
    let is_zero = |at: usize| head.iter().skip(at).step_by(2).all(|&byte| byte == 0);
    let is_text = |at: usize| {
        let bytes = head.iter().skip(at).step_by(2);
        bytes.into_iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    };
    match head {
        [_, _, _, _, ..] if is_zero(1) && is_text(0) => Some("UTF-16LE"),
        [_, _, _, _, ..] if is_zero(0) && is_text(1) => Some("UTF-16BE"),
        _ => None,
    }
}

/// A stream of UTF-16 as UTF-8; what is no character is shown as such.
pub(super) struct Utf16<R> {
    stream: R,
    order: Order,
    /// Bytes that are not yet decoded: an odd one, or the first half of a pair.
    raw: Vec<u8>,
    text: Vec<u8>,
    served: usize,
}

impl<R: Read> Utf16<R> {
    pub(super) fn new(stream: R, order: Order) -> Self {
        Self { stream, order, raw: Vec::new(), text: Vec::new(), served: 0 }
    }

    /// Decodes what comes next; false at the stream's end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 1 << 14];
        let n = self.stream.read(&mut chunk)?;
        self.raw.extend_from_slice(&chunk[..n]);
        let (units, _) = self.raw.as_chunks::<2>();
        let mut units: Vec<u16> = units.iter().map(|&unit| (self.order)(unit)).collect();
        // The second half of a pair may come with what is read next.
        if n > 0 && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            units.pop();
        }
        self.raw.drain(..units.len() * 2);
        self.text = String::from_utf16_lossy(&units).into_bytes();
        self.served = 0;
        Ok(n > 0)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.served == self.text.len() {
            if !self.fill()? && self.text.is_empty() {
                return Ok(0);
            }
        }
        let waiting = &self.text[self.served..];
        let n = waiting.len().min(buffer.len());
        buffer[..n].copy_from_slice(&waiting[..n]);
        self.served += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_that_come_apart_are_put_together() {
        let text = "11:17 → 𝄞 IP";
        for order in [u16::from_le_bytes as Order, u16::from_be_bytes] {
            let is_le = order([1, 0]) == 1;
            let bytes = |unit: u16| if is_le { unit.to_le_bytes() } else { unit.to_be_bytes() };
            let coded: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            for cut in 0..coded.len() {
                let stream = coded[..cut].chain(&coded[cut..]);
                let mut found = String::new();
                Utf16::new(stream, order).read_to_string(&mut found).unwrap();
                assert_eq!(found, text, "cut at {cut}");
            }
        }
    }
}
