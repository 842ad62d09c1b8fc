//! Why there is no connection to a server.

use crate::http::event::{Cause, Phase, Termination};
use crate::http::session::Stop;
use std::io;

/// What went wrong, or who gave up.
pub(super) enum Lost {
    Refused,
    Late,
    Stopped(Stop),
    /// The client gave up.
    Gone,
    /// It did by a RST, before it had sent anything.
    Reset,
    /// No descriptor, no port, no memory.
    Resources,
}

impl Lost {
    /// What that would be in the log, were it the last attempt; `phase` is when it happened.
    pub(super) const fn termination(&self, phase: Phase) -> Termination {
        let cause = match self {
            Self::Refused => Cause::Server,
            Self::Late => Cause::ServerTimeout,
            Self::Stopped(Stop::Forced) => Cause::Killed,
            Self::Stopped(Stop::Shut(cause)) => *cause,
            Self::Stopped(Stop::Timeout) | Self::Gone => Cause::Client,
            // What goes wrong with the client's connection is one of data for HAProxy, at any time.
            Self::Reset => return Termination::new(Cause::Client, Phase::Data),
            Self::Resources => Cause::Resource,
        };
        Termination::new(cause, phase)
    }
}

/// Why a connection is lost with this error.
pub(super) fn lost(error: io::Error) -> Lost {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::TIMEDOUT) => Lost::Late,
        Some(
            rustix::io::Errno::MFILE
            | rustix::io::Errno::NFILE
            | rustix::io::Errno::NOBUFS
            | rustix::io::Errno::NOMEM
            | rustix::io::Errno::ADDRNOTAVAIL,
        ) => Lost::Resources,
        _ => Lost::Refused,
    }
}
