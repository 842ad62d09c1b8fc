//! Where a chunked body ends (RFC 9112, 7.1), as whoever took it has found it: the proxy's own
//! reading (`http/chunked.rs`) refuses what is not exactly the grammar.

/// How far the reading of a chunked body has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    /// The sequence number of the next byte.
    pub(super) at: u32,
    within: Within,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// A chunk's size so far, and whether any digit of it was there.
    Size(u64, bool),
    /// What else is in the line of a size.
    Extension(u64),
    /// So much data, with the line's end behind it.
    Data(u64),
    /// A line behind the last chunk, and whether it is empty so far.
    Trailer(bool),
}

/// What bytes of a body come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The body goes on behind them.
    On,
    /// It ends within them, or with them, at [`Chunks::at`].
    End,
    /// They are no chunks.
    Bad,
}

impl Chunks {
    pub(super) fn new(at: u32) -> Self {
        Self { at, within: Within::Size(0, false) }
    }

    /// Passes `count` bytes that were not captured: they can be only a chunk's data.
    pub(super) fn skip(&mut self, count: u32) -> bool {
        let Within::Data(left) = &mut self.within else { return false };
        let fits = u64::from(count) < *left;
        if fits {
            *left -= u64::from(count);
            self.at = self.at.wrapping_add(count);
        }
        fits
    }

    /// Reads on.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Step {
        let mut next = 0;
        while let Some(&byte) = bytes.get(next) {
            let mut taken = 1;
            self.within = match (self.within, byte) {
                (Within::Data(left), _) => {
                    taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - next);
                    match left - taken as u64 {
                        0 => Within::Size(0, false),
                        left => Within::Data(left),
                    }
                }
                (Within::Size(size, _), digit) if digit.is_ascii_hexdigit() => {
                    let digit = char::from(digit).to_digit(16).unwrap_or_default();
                    let Some(size) = size.checked_mul(16) else { return Step::Bad };
                    Within::Size(size + u64::from(digit), true)
                }
                (Within::Size(_, false), _) => return Step::Bad,
                (Within::Size(size, true) | Within::Extension(size), b'\n') => match size {
                    0 => Within::Trailer(true),
                    size => Within::Data(size.saturating_add(2)),
                },
                (Within::Size(size, true), b'\r' | b';' | b' ' | b'\t')
                | (Within::Extension(size), _) => Within::Extension(size),
                (Within::Size(..), _) => return Step::Bad,
                (Within::Trailer(true), b'\n') => {
                    self.at = self.at.wrapping_add(next as u32 + 1);
                    return Step::End;
                }
                (Within::Trailer(is_empty), b'\r') => Within::Trailer(is_empty),
                (Within::Trailer(_), byte) => Within::Trailer(byte == b'\n'),
            };
            next += taken;
        }
        self.at = self.at.wrapping_add(bytes.len() as u32);
        Step::On
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_behind_its_trailer_however_it_comes() {
        let body = b"5;a=b\r\nhello\r\n0A\r\nHTTP/1.1 2\r\n0\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n";
        let end = body.len() - "HTTP/1.1 200 OK\r\n".len();
        for cut in 0..body.len() {
            let mut chunks = Chunks::new(7);
            let (head, rest) = body.split_at(cut);
            let step = match chunks.read(head) {
                Step::On => chunks.read(rest),
                step => step,
            };
            assert_eq!((step, chunks.at), (Step::End, 7 + end as u32), "cut at {cut}");
        }
    }

    #[test]
    fn data_may_be_missing_but_nothing_else() {
        let mut chunks = Chunks::new(0);
        assert_eq!(chunks.read(b"64\r\nabc"), Step::On);
        assert!(chunks.skip(90));
        assert_eq!(chunks.read(b"1234567\r\n0\r\n\r\n"), Step::End);
        let mut chunks = Chunks::new(0);
        assert!(!chunks.skip(1), "a size");
        assert_eq!(chunks.read(b"4\r\nabc"), Step::On);
        assert!(!chunks.skip(3), "a line's end, and a size");
        assert_eq!(Chunks::new(0).read(b"hello"), Step::Bad);
        assert_eq!(Chunks::new(0).read(b"\r\n"), Step::Bad);
        assert_eq!(Chunks::new(0).read(b"11111111111111111\r\n"), Step::Bad);
    }
}
