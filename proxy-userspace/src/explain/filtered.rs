//! Whether a capture was filtered, so that only segments with SYN, FIN or RST are in it.

use proxy_common::flow::{Flow, SYN_SEEN};
use proxy_common::segment::{FIN, RST, SYN, Segment};
use proxy_common::seq::after;

/// What was seen of that so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filtered {
    /// A segment without any of them.
    plain: bool,
    /// A segment whose number shows that data came before it, which was not captured.
    gap: bool,
}

impl Filtered {
    /// Takes a segment that has just stepped `flow`.
    #[inline]
    pub fn note(&mut self, segment: &Segment, flow: &Flow) {
        if self.plain {
            return;
        }
        self.plain = !segment.has(SYN | FIN | RST) || segment.has(SYN) && segment.payload > 0;
        let end = flow.end(segment.sender);
        let is_gap = after(segment.seq, end.isn.wrapping_add(1)) && end.has(SYN_SEEN);
        let is_believed = segment.has(FIN) || segment.has(RST) && end.has_reset();
        self.gap |= is_gap && is_believed;
    }

    /// Whether all that was seen tells so.
    #[must_use]
    pub fn is(&self) -> bool {
        self.gap && !self.plain
    }
}
