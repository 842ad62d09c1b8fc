//! A running frontend.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use super::LastErrors;
use crate::http::{
    counters::{Counters, Gauge, Rate},
    settings,
    throttle::Throttle,
};

/// A running frontend.
#[derive(Debug)]
pub struct Frontend {
    /// What it was told.
    pub settings: settings::Frontend,
    /// Its place among the frontends.
    pub index: usize,
    /// Whether it accepts (`enable|disable frontend`).
    pub enabled: AtomicBool,
    /// Whether it was shut down, so that it never accepts again (`shutdown frontend`).
    pub shut: AtomicBool,
    /// Connections at most, [`Frontend::NO_LIMIT`] where the process's alone counts; 0 lets nobody in
    /// (`set maxconn frontend`).
    pub maxconn: AtomicU32,
    /// How many clients may connect in a second (`rate-limit sessions`).
    pub throttle: Throttle,
    /// Connections now (`scur`).
    pub sessions: Gauge,
    /// Totals.
    pub counters: Counters,
    /// Connections a second.
    pub session_rate: Rate,
    /// Requests a second.
    pub request_rate: Rate,
    /// What was refused last.
    pub errors: LastErrors,
    /// Lines that were logged of its sessions.
    pub logged: AtomicU64,
}

impl Frontend {
    /// More connections than there can be.
    pub const NO_LIMIT: u32 = u32::MAX;

    pub(super) fn new(index: usize, settings: settings::Frontend, shards: usize) -> Self {
        Self {
            index,
            enabled: AtomicBool::new(!settings.disabled),
            shut: AtomicBool::new(false),
            maxconn: AtomicU32::new(if settings.maxconn == 0 {
                Self::NO_LIMIT
            } else {
                settings.maxconn
            }),
            throttle: Throttle::new(0, settings.session_rate),
            sessions: Gauge::default(),
            counters: Counters::new(shards),
            session_rate: Rate::default(),
            request_rate: Rate::default(),
            errors: LastErrors::default(),
            logged: AtomicU64::new(0),
            settings,
        }
    }
}
