//! What an observer tells.

use proxy_common::acts::Acts;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::segment::Segment;

/// What happened.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "closes are the rule; a box each costs more than room"
)]
pub enum Event {
    /// A connection is over.
    Close {
        /// The connection.
        key: FlowKey,
        /// All that is known of it; times are CLOCK_MONOTONIC.
        flow: Flow,
        /// What teardown did to it.
        acts: Acts,
    },
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
}
