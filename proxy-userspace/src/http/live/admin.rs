//! What operators want of a server, and of those whom it tracks.

use std::sync::atomic::{
    AtomicU8,
    Ordering::{Relaxed, SeqCst},
};

use super::{Proxies, Server};
use crate::http::termination::Cause;

/// What an operator wants of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Admin {
    /// `ready`: health decides.
    Ready = 0,
    /// `drain`: no new requests.
    Drain = 1,
    /// `maint`: nothing, checks included.
    Maintenance = 2,
}

impl Admin {
    fn of(cell: &AtomicU8) -> Self {
        match cell.load(Relaxed) {
            0 => Self::Ready,
            1 => Self::Drain,
            _ => Self::Maintenance,
        }
    }
}

impl Server {
    /// What the operator wants, of this server or of the one that it tracks.
    pub fn admin(&self) -> Admin {
        Admin::of(&self.admin)
    }

    /// What the operator wants of this server.
    pub fn own_admin(&self) -> Admin {
        Admin::of(&self.own_admin)
    }

    /// What it has from the one that it tracks.
    pub fn inherited(&self) -> Admin {
        Admin::of(&self.inherited)
    }

    /// The operator's wish.
    pub fn set_admin(&self, admin: Admin) {
        self.own_admin.store(admin as u8, SeqCst);
        self.administrate();
    }

    /// The one that it tracks is in that state.
    pub fn inherit(&self, admin: Admin) {
        self.inherited.store(admin as u8, SeqCst);
        self.administrate();
    }

    /// Whether it has no address yet.
    pub fn is_unresolved(&self) -> bool {
        self.unresolved.load(Relaxed)
    }

    /// It has one now.
    pub(super) fn resolve(&self) {
        if self.unresolved.swap(false, SeqCst) {
            self.administrate();
        }
    }

    /// What holds where an operator wants that: the stricter of it and of what holds of whom it tracks;
    /// maintenance where it has no address.
    pub fn held_by(&self, own: Admin) -> Admin {
        let inherited = self.inherited();
        match own {
            _ if self.is_unresolved() => Admin::Maintenance,
            own if inherited as u8 > own as u8 => inherited,
            own => own,
        }
    }

    fn administrate(&self) {
        let admin = self.held_by(self.own_admin());
        let before = self.admin.swap(admin as u8, SeqCst);
        if before != admin as u8 {
            self.touch();
            if before == Admin::Maintenance as u8 {
                self.warmth.begin(true);
            }
            if admin == Admin::Maintenance && self.settings.shutdown_on_down {
                self.shutdown_sessions(Cause::Down);
            }
        }
    }
}

impl Proxies {
    /// Has servers begin in the maintenance that those which they track begin in.
    pub(super) fn inherit(&self) {
        for server in self.backends.iter().flat_map(|backend| &backend.servers) {
            let mut tracked = server.settings.tracks.and_then(|at| self.server(at));
            while let Some((_, leader)) = tracked {
                if leader.settings.disabled {
                    server.inherit(Admin::Maintenance);
                }
                tracked = leader.settings.tracks.and_then(|at| self.server(at));
            }
        }
    }
}
