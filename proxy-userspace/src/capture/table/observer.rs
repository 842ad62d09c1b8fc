//! Who wants to know of connections, and what they are told.

use super::Connection;
use crate::capture::Seen;
use std::ops::ControlFlow;

/// What a segment did to its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// It counted: it is no copy from elsewhere, and its checksum is not wrong.
    pub counts: bool,
    /// It brought data that lies beyond all that its sender had sent before: it is no repetition, no
    /// copy, and no probe.
    pub brings_data: bool,
}

/// Who wants to know of connections.
pub trait Observer {
    /// What is kept for each connection.
    type Kept: Default;

    /// A segment has moved a connection.
    fn moved(&mut self, connection: &mut Connection<Self::Kept>, seen: &Seen<'_>, moved: Moved);

    /// Whether what comes late, when a connection has been over for long, is of use for it.
    fn waits(&self, kept: &Self::Kept) -> bool {
        let _ = kept;
        false
    }

    /// A segment came late. It moves nothing.
    fn late(&mut self, connection: &mut Connection<Self::Kept>, seen: &Seen<'_>) {
        let _ = (connection, seen);
    }

    /// A connection is over, or the capture is; nothing more comes of it. `now_ns` is the time of
    /// the capture that it was last seen in.
    fn over(&mut self, connection: &Connection<Self::Kept>, now_ns: u64) -> ControlFlow<()>;
}
