//! What the checks of every server have found, for statistics and the runtime socket.

use super::Plan;
use super::outcome::{Outcome, Status};
use crate::http::live::Backend;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The results of every server's checks, and the ups and downs of backends.
#[derive(Debug, Default)]
pub struct Board {
    servers: Vec<Vec<Mutex<Standing>>>,
    backends: Vec<Mutex<Ups>>,
}

/// Where a server stands with its checks.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The last result; [`Status::Unknown`] before the first check.
    pub status: Status,
    /// The last answer's status code; 0 without one.
    pub code: u16,
    /// What else is to say of it.
    pub info: String,
    /// How long the last check took.
    pub took: Duration,
    /// From 0 to `rise + fall - 1`; `rise` and more is up.
    pub health: u32,
    /// Bad checks while it was not wholly down (`chkfail`).
    pub failed: u64,
    /// Its ups and downs.
    pub ups: Ups,
    /// Where it is checked.
    pub place: Place,
}

impl Standing {
    /// Takes a check's result in: a good one counts up to `rise`, from where all of `fall` are left,
    /// and a bad one down. Says whether it counted.
    pub(super) fn take_in(&mut self, plan: &Plan, outcome: &Outcome, took: Duration) -> bool {
        let full = plan.rise + plan.fall - 1;
        let health = match (outcome.status.is_good(), self.health) {
            (true, health) if health + 1 >= plan.rise => full,
            (true, health) => health + 1,
            (false, health) if health <= plan.rise => 0,
            (false, health) => health - 1,
        };
        let counted = health != self.health;
        self.failed += u64::from(counted && !outcome.status.is_good());
        self.health = health;
        self.status = outcome.status;
        self.code = outcome.code;
        self.info.clone_from(&outcome.info);
        self.took = took;
        counted
    }
}

/// Where a server is checked, as far as that is not where it serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `addr`, `set server ... check-addr`.
    pub ip: Option<IpAddr>,
    /// `port`, `set server ... check-port`; 0 is the server's own.
    pub port: Option<u16>,
}

/// Ups and downs of a server or a backend.
#[derive(Clone, Debug)]
pub struct Ups {
    /// How often it went down (`chkdown`).
    pub downs: u64,
    /// Since when it is as it is (`lastchg`).
    pub since: Instant,
    /// How long it was down before `since` (`downtime`).
    pub downtime: Duration,
    /// Whether it is up now.
    pub up: bool,
}

impl Ups {
    fn new() -> Self {
        Self { downs: 0, since: Instant::now(), downtime: Duration::ZERO, up: true }
    }

    fn set(&mut self, up: bool) {
        if self.up == up {
            return;
        }
        if up {
            self.downtime += self.since.elapsed();
        } else {
            self.downs += 1;
        }
        self.up = up;
        self.since = Instant::now();
    }

    /// How long it was down in all.
    #[must_use]
    pub fn total_downtime(&self) -> Duration {
        if self.up { self.downtime } else { self.downtime + self.since.elapsed() }
    }
}

impl Board {
    /// For backends with servers that begin with this health, and are checked by these plans.
    #[must_use]
    pub fn new(begin: &[Vec<u32>], plans: &[Plan]) -> Self {
        let standing = |&health: &u32| {
            Mutex::new(Standing {
                status: Status::Unknown,
                code: 0,
                info: String::new(),
                took: Duration::ZERO,
                health,
                failed: 0,
                ups: Ups::new(),
                place: Place::default(),
            })
        };
        let board = Self {
            servers: begin.iter().map(|list| list.iter().map(standing).collect()).collect(),
            backends: begin.iter().map(|_| Mutex::new(Ups::new())).collect(),
        };
        for plan in plans {
            board.set_place(plan.server, |place| *place = plan.place);
        }
        board
    }

    fn of(&self, (backend, server): (usize, usize)) -> Option<MutexGuard<'_, Standing>> {
        let cell = self.servers.get(backend)?.get(server)?;
        Some(cell.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a server stands.
    #[must_use]
    pub fn get(&self, server: (usize, usize)) -> Option<Standing> {
        self.of(server).map(|standing| standing.clone())
    }

    /// A backend's ups and downs.
    #[must_use]
    pub fn backend(&self, backend: usize) -> Option<Ups> {
        let cell = self.backends.get(backend)?;
        Some(cell.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The server's health.
    #[must_use]
    pub fn health(&self, server: (usize, usize)) -> u32 {
        self.of(server).map_or(0, |standing| standing.health)
    }

    /// Does what belongs together with where a server stands, and with nothing in between.
    pub fn with<T>(
        &self,
        server: (usize, usize),
        change: impl FnOnce(&mut Standing) -> T,
    ) -> Option<T> {
        self.of(server).map(|mut standing| change(&mut standing))
    }

    /// Says that an operator has decided about its health; the next checks go on from there.
    pub fn set_health(&self, server: (usize, usize), health: u32) {
        self.with(server, |standing| standing.health = health);
    }

    /// Changes where a server is checked, from its next check on.
    pub fn set_place(&self, server: (usize, usize), change: impl FnOnce(&mut Place)) {
        self.with(server, |standing| change(&mut standing.place));
    }

    pub(super) fn place(&self, server: (usize, usize)) -> Place {
        self.of(server).map_or_else(Place::default, |standing| standing.place)
    }

    /// A server went up or down, and with it perhaps its backend.
    pub fn went(&self, server: (usize, usize), up: bool, backend: &Backend) {
        if let Some(mut standing) = self.of(server) {
            standing.ups.set(up);
        }
        if let Some(cell) = self.backends.get(server.0) {
            cell.lock().unwrap_or_else(PoisonError::into_inner).set(backend.serves());
        }
    }

    /// Forgets the servers' counts (`clear counters all`); backends keep theirs, as HAProxy's do.
    pub fn clear(&self) {
        for cell in self.servers.iter().flatten() {
            let mut standing = cell.lock().unwrap_or_else(PoisonError::into_inner);
            standing.failed = 0;
            standing.ups.downs = 0;
        }
    }
}
