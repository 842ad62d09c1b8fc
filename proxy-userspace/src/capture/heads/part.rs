//! A head that goes on in the next segment.

/// The longest head that is put together: no server takes longer ones.
const LONGEST: usize = 1 << 16;
/// And the most segments: each is reason to read all of it again.
const SEGMENTS: u8 = 50;

/// What was captured of it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The sequence number that it begins at.
    pub(super) seq: u32,
    pub(super) bytes: Vec<u8>,
    /// The segments that it lies in.
    pub(super) segments: u8,
}

impl Part {
    /// These bytes of so many segments, if they may be the beginning of a head.
    pub(super) fn of(seq: u32, bytes: &[u8], segments: u8) -> Option<Self> {
        let is_short = bytes.len() < LONGEST && segments < SEGMENTS;
        (is_short && is_begun(bytes)).then(|| Self { seq, bytes: bytes.to_vec(), segments })
    }

    /// The sequence number behind it.
    pub(super) fn end(&self) -> u32 {
        self.seq.wrapping_add(self.bytes.len() as u32)
    }

    /// With the bytes behind them, the first of which has this number; `None` where those are not the
    /// next ones.
    pub(super) fn with(mut self, seq: u32, bytes: &[u8]) -> Option<Self> {
        (seq == self.end()).then(|| {
            self.bytes.extend_from_slice(bytes);
            self.segments += 1;
            self
        })
    }
}

fn is_begun(bytes: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; super::message::FIELDS];
    let request = httparse::Request::new(&mut fields).parse(bytes);
    let mut fields = [httparse::EMPTY_HEADER; super::message::FIELDS];
    let response = httparse::Response::new(&mut fields).parse(bytes);
    request.is_ok_and(|status| status.is_partial())
        || response.is_ok_and(|status| status.is_partial())
}
