//! What the end of a request is counted as.

use std::time::Duration;

use crate::http::{
    counters::Count,
    event::{Cause, Phase, Termination},
};

/// What an end counts as for a backend and its server.
pub(super) fn blame(Termination { cause, phase }: Termination) -> &'static [Count] {
    match (cause, phase) {
        // Nothing was begun that it could have aborted.
        (Cause::Client, Phase::Queue | Phase::Connect) => &[],
        (Cause::Client | Cause::ClientTimeout, _) => &[Count::ClientAborts],
        (Cause::Server | Cause::ServerTimeout, Phase::Queue | Phase::Connect) => {
            &[Count::ConnectErrors]
        }
        (Cause::Server | Cause::ServerTimeout, Phase::Headers) => &[Count::ResponseErrors],
        (Cause::Server, Phase::Data) => &[Count::ResponseErrors, Count::ServerAborts],
        (Cause::ServerTimeout, Phase::Data) => &[Count::ServerAborts],
        _ => &[],
    }
}

/// In milliseconds; 0 of what was not reached.
pub(super) fn millis(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
