//! What checks and operators have made of a server.

use super::{Admin, Server};

/// A server's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What holds for it of what operators want.
    pub admin: Admin,
    /// Whether it is up, be it that it is stopping.
    pub up: bool,
    /// Whether it is up and gets nothing new.
    pub stopping: bool,
}

impl State {
    /// Whether it counts as running: it is up, and nobody has put it into maintenance.
    #[must_use]
    pub fn is_running(self) -> bool {
        self.up && self.admin != Admin::Maintenance
    }

    /// Whether it is there for new requests.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.up && !self.stopping && self.admin == Admin::Ready
    }
}

impl Server {
    /// Its state now.
    pub fn state(&self) -> State {
        State { admin: self.admin(), up: self.is_up(), stopping: self.is_stopping() }
    }
}
