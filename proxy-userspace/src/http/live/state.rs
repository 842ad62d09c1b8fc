//! What checks and operators have made of a server.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::{Admin, Server};
use crate::http::termination::Cause;

/// What is known of a server's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// It serves nothing.
    Down = 0,
    /// It serves what it has, and is to get nothing new: a check said so (`disable-on-404`), or an
    /// operator (`set server ... health stopping`).
    Stopping = 1,
    /// It serves.
    Up = 2,
}

/// A server's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What holds for it of what operators want.
    pub admin: Admin,
    /// What its checks say.
    pub health: Health,
}

impl State {
    /// Whether it counts as running, whatever its share of the load: it is up, be it that it is
    /// stopping, and nobody has put it into maintenance.
    #[must_use]
    pub fn is_running(self) -> bool {
        self.health != Health::Down && self.admin != Admin::Maintenance
    }

    /// Whether it is there for new requests.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.health == Health::Up && self.admin == Admin::Ready
    }
}

impl Server {
    /// Its state now.
    pub fn state(&self) -> State {
        State { admin: self.admin(), health: self.health() }
    }

    /// Whether it [counts as running](State::is_running).
    pub fn is_running(&self) -> bool {
        self.state().is_running()
    }

    /// Whether it takes new requests. Those that are bound to it by a cookie, it may take even if not.
    pub fn usable(&self) -> bool {
        self.state().is_open() && self.weight() > 0
    }

    /// What health checks see.
    pub fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            0 => Health::Down,
            1 => Health::Stopping,
            _ => Health::Up,
        }
    }

    /// Whether health checks see it up, be it that it is stopping.
    pub fn is_up(&self) -> bool {
        self.health() != Health::Down
    }

    /// Whether it is up and gets nothing new.
    pub fn is_stopping(&self) -> bool {
        self.health() == Health::Stopping
    }

    /// Health's verdict. Going down shuts its sessions down if the configuration says so.
    pub fn set_health(&self, health: Health) {
        if self.health.swap(health as u8, SeqCst) == health as u8 {
            return;
        }
        self.touch();
        self.warmth.begin(health == Health::Up);
        if health == Health::Down && self.settings.shutdown_on_down {
            self.shutdown_sessions(Cause::Down);
        }
    }
}
