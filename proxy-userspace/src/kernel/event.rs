//! What an observer tells.

use proxy_common::abi::CloseRecord;
use proxy_common::key::FlowKey;
use proxy_common::segment::Segment;

/// What happened.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "closes are the rule; a box each costs more than room"
)]
pub enum Event {
    /// A connection is over; times are CLOCK_MONOTONIC.
    Close(CloseRecord),
    /// A control segment was seen.
    Segment {
        /// The connection.
        key: FlowKey,
        /// The segment.
        segment: Segment,
        /// The first bytes of its data, where they were asked for.
        data: Box<[u8]>,
        /// When, CLOCK_MONOTONIC.
        at_ns: u64,
    },
    /// Every interface that waited for its programs has them.
    Attached,
}
