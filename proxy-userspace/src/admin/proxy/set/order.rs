//! What an operator orders of a server: `set server ... state` and `health`.

use super::super::{Scene, state};
use crate::http::health::told::{Turn, tell};
use crate::http::live::{Admin, Backend, Health, Server, State};
use std::sync::atomic::Ordering::Relaxed;

/// A server that is given an order, and how it and its backend were before.
pub(super) struct Order<'a> {
    pub(super) scene: &'a Scene,
    pub(super) backend: &'a Backend,
    pub(super) server: &'a Server,
    pub(super) before: State,
    /// Whether the backend had a server for requests.
    pub(super) served: bool,
}

impl Order<'_> {
    fn at(&self) -> (usize, usize) {
        (self.backend.index, self.server.index)
    }

    /// `state ready|drain|maint`.
    pub(super) fn state(&self, word: &str) -> String {
        let admin = match word {
            "ready" => Admin::Ready,
            "drain" => Admin::Drain,
            "maint" => Admin::Maintenance,
            _ => {
                return "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n"
                    .to_owned();
            }
        };
        let server = self.server;
        let own = server.own_admin();
        let turn = match (self.before.admin, server.held_by(admin)) {
            (before, after) if before == after => {
                server.set_admin(admin);
                if own != admin && own == before {
                    let via = state::tracked(self.scene, server);
                    let via = via.map(|via| format!(" via {via}")).unwrap_or_default();
                    self.tell(Turn::Remains(before), 0, &via);
                }
                return String::new();
            }
            (before, Admin::Maintenance) if server.is_up() => {
                Turn::Maintenance { drained: server.is_stopping() || before == Admin::Drain }
            }
            (_, Admin::Maintenance) => Turn::DownMaintenance,
            (Admin::Maintenance, Admin::Drain) => Turn::ReadyToDrain,
            (_, Admin::Drain) => Turn::Drain,
            (Admin::Drain, Admin::Ready) => Turn::Undrained,
            (_, Admin::Ready) => Turn::Ready,
        };
        if matches!(turn, Turn::Maintenance { .. }) {
            self.scene.board.set_health(self.at(), 0);
        }
        if self.before.admin == Admin::Maintenance {
            self.leave_maintenance();
        }
        server.set_admin(admin);
        let requeued = self.backend.changed(server, self.before);
        self.went();
        self.tell(turn, requeued, "");
        String::new()
    }

    /// It counts as up until its first bad check, and as whom it tracks.
    pub(super) fn leave_maintenance(&self) {
        let Scene { board, numbers, proxies, .. } = self.scene;
        if self.server.checking.load(Relaxed) {
            board.set_health(self.at(), numbers.rise_and_fall(self.at()).0);
        }
        let leader = self.server.settings.tracks.and_then(|at| proxies.server(at));
        self.server.set_health(leader.map_or(Health::Up, |(_, leader)| leader.health()));
    }

    /// `health up|stopping|down`.
    pub(super) fn health(&self, word: &str) -> String {
        if self.server.settings.tracks.is_some() {
            return "cannot change health on a tracking server.\n".to_owned();
        }
        let health = match word {
            "up" => Health::Up,
            "down" => Health::Down,
            "stopping" => Health::Stopping,
            _ => {
                return "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n"
                    .to_owned();
            }
        };
        let (rise, fall) = self.scene.numbers.rise_and_fall(self.at());
        let checks = if health == Health::Down { 0 } else { rise + fall - 1 };
        self.scene.board.with(self.at(), |standing| {
            standing.health = checks;
            // It comes up when it leaves maintenance, whatever is said of it there.
            if self.before.admin != Admin::Maintenance {
                self.server.set_health(health);
            }
        });
        if self.before.admin != Admin::Maintenance && health != self.before.health {
            let requeued = self.backend.changed(self.server, self.before);
            self.went();
            self.tell(health.into(), requeued, ", changed from CLI");
        }
        String::new()
    }

    /// It may run now, or no more.
    pub(super) fn went(&self) {
        self.scene.board.went(self.at(), self.server.is_running(), self.backend);
    }

    fn tell(&self, turn: Turn, requeued: usize, why: &str) {
        let of = (self.backend, self.server);
        tell(&*self.scene.logger, of, turn, requeued, self.served, why);
    }
}
