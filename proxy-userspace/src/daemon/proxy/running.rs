//! The proxy while it runs: its checks, reloads, and its end.

use super::{Origin, Reloaded, Renewed, Voice, policies, renew};
use crate::admin::proxy::{Control, OfConfig};
use crate::assemble::Assembled;
use crate::daemon::stated::ServerNumbers;
use crate::daemon::steward::{Steward, Wish};
use crate::ends::endpoint;
use crate::host::{self, Answers};
use crate::http::closes::Closes;
use crate::http::engine::{Engine, ReloadError};
use crate::http::health::board::Board;
use crate::http::health::{self, Surroundings};
use crate::http::syslog::Logger;
use anyhow::ensure;
use proxy_common::key::Endpoint;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// A running proxy.
pub struct Running {
    pub(super) origin: Origin,
    /// Who reads the configuration for a reload, where this process may not.
    pub(super) steward: Option<Steward>,
    pub(super) engine: Arc<Engine>,
    pub(super) logger: Arc<Logger>,
    pub(super) control: Arc<Control>,
    pub(super) closes: Arc<dyn Closes>,
    pub(super) pages: Arc<OnceLock<Arc<Control>>>,
    pub(super) numbers: Arc<ServerNumbers>,
    /// Where checks run: what reads their answers needs no capability.
    pub(super) outside: Handle,
    pub(super) checks: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Running").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Running {
    /// The commands of the runtime socket.
    #[must_use]
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The servers' numbers for the kernel side.
    pub(in crate::daemon) fn numbers(&self) -> &ServerNumbers {
        &self.numbers
    }

    /// Where it listens.
    pub(in crate::daemon) fn doors(&self) -> Vec<Endpoint> {
        let addresses = self.engine.addresses();
        addresses.into_iter().map(|(_, address)| endpoint(address)).collect()
    }

    /// Ends the checks that run and starts these.
    pub(super) fn check(&self, plans: Vec<health::Plan>, board: &Arc<Board>) {
        let proxies = self.engine.proxies();
        let mut tasks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        // With the set the ended tasks' memory goes, too.
        *tasks = JoinSet::new();
        let engine = Arc::clone(&self.engine);
        let shut: Arc<dyn Fn() + Send + Sync> = Arc::new(move || engine.look());
        for (index, plan) in plans.iter().enumerate() {
            let (backend, server) = plan.server;
            let Some(backend) = proxies.backends.get(backend) else { continue };
            let Some(server) = backend.servers.get(server) else { continue };
            let around = Surroundings {
                backend: Arc::clone(backend),
                server: Arc::clone(server),
                proxies: Arc::clone(&proxies),
                board: Arc::clone(board),
                events: Arc::clone(&self.logger) as Arc<dyn health::Events>,
                closes: Arc::clone(&self.closes),
                shut: Arc::clone(&shut),
            };
            let check = health::run(plan.clone(), around, health::first_after(&plans, index));
            tasks.spawn_on(check, &self.outside);
        }
    }

    /// Has the steward ask the host whatever a reload wants to know. Waits until names are looked up:
    /// not for a loop that others wait for. `None` where there is nothing to ask.
    ///
    /// # Errors
    /// Where the configuration cannot be read a second time, the daemon is stopping, or the steward
    /// is gone.
    pub(in crate::daemon) fn ask_host(&self) -> anyhow::Result<Option<Answers>> {
        ensure!(!self.engine.is_stopping(), ReloadError::Stopping);
        self.origin.can_be_read_again()?;
        let Some(steward) = &self.steward else { return Ok(None) };
        let wish = Wish { workers: self.engine.workers(), kept: self.engine.binds() };
        steward.ask(&wish).map(Some)
    }

    /// Reads the configuration anew, by what the host has answered, and puts it in place.
    ///
    /// # Errors
    /// Why it was not: then the old one runs on.
    pub(in crate::daemon) fn reload(&self, answers: Option<Answers>) -> anyhow::Result<Reloaded> {
        match answers {
            Some(answers) => host::told(answers, || self.renew()),
            None => self.renew(),
        }
    }

    fn renew(&self) -> anyhow::Result<Reloaded> {
        let place = |settings| self.engine.reload(settings);
        let of_pages = (&self.pages, &*self.numbers);
        let Renewed { config, assembled, styles, labels } =
            renew(&self.origin, of_pages, Voice::Aloud, place)?;
        let Assembled { checks, healths, numbers, .. } = assembled;
        self.logger.reload(styles);
        let board = Arc::new(Board::new(&healths, &checks));
        self.control.reloaded(OfConfig { board: Arc::clone(&board), numbers: Arc::new(numbers) });
        self.check(checks, &board);
        Ok(Reloaded { labels, policies: policies(&config) })
    }

    /// Takes no more connections, and waits until those that are open have ended.
    pub async fn drain(&self) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.engine.stop();
        let (engine, logger) = (Arc::clone(&self.engine), Arc::clone(&self.logger));
        let end = move || {
            engine.join();
            logger.flush();
        };
        // A panic of a worker has been said on its way.
        let _ = tokio::task::spawn_blocking(end).await;
    }

    /// Closes everything at once.
    pub fn cut(&self) {
        self.engine.hard_stop();
    }
}
