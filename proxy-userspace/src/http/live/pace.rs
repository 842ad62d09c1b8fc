//! How fast a server may go: `maxconn` follows the backend's load where there is a `minconn`, and both
//! that and the weight grow while a server that came up warms up (`slowstart`).

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{Backend, Server};

/// What a unit of weight is divided into: a server that warms up has some of it.
pub const SHARES: u32 = 16;

/// How warm a server is.
#[derive(Debug)]
pub(super) struct Warmth {
    /// Seconds that it takes; 0 is none.
    takes: u32,
    /// Of [`SHARES`], those of its weight that it has; all where it is warm.
    shares: AtomicU32,
    /// Since when it warms up; none where it does not.
    since: Mutex<Option<Instant>>,
}

impl Warmth {
    /// A server is warm when the proxy starts.
    pub(super) fn new(takes: u32) -> Self {
        Self { takes, shares: AtomicU32::new(SHARES), since: Mutex::new(None) }
    }

    /// The server came up, or went down.
    pub(super) fn begin(&self, up: bool) {
        if self.takes > 0 {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = up.then(Instant::now);
            self.look();
        }
    }

    /// Whole seconds that it has been warming up.
    fn seconds(&self) -> Option<u32> {
        if self.takes == 0 {
            return None;
        }
        let since = (*self.since.lock().unwrap_or_else(PoisonError::into_inner))?;
        u32::try_from(since.elapsed().as_secs()).ok().filter(|&seconds| seconds < self.takes)
    }

    /// Looks how warm it is by now; says whether it is still warming up.
    fn look(&self) -> bool {
        let seconds = self.seconds();
        let shares = seconds.map_or(SHARES, |seconds| (SHARES * seconds + self.takes) / self.takes);
        self.shares.store(shares, Relaxed);
        seconds.is_some()
    }
}

impl Server {
    /// Concurrent requests at most, now; 0 is no limit.
    pub fn limit(&self, backend: &Backend) -> u32 {
        let most = self.maxconn.load(Relaxed);
        let least = self.settings.minconn;
        if most == 0 || (least == 0 && self.settings.slowstart == 0) {
            return most;
        }
        let (load, full) = (backend.sessions.now(), backend.settings.fullconn);
        let limit = if least == 0 || load >= full {
            most
        } else {
            let part = u64::from(load) * u64::from(most) / u64::from(full);
            least.max(u32::try_from(part).unwrap_or(most))
        };
        match self.warmth.seconds() {
            Some(seconds) => {
                let percent = 100 * u64::from(seconds) / u64::from(self.settings.slowstart);
                u32::try_from(u64::from(limit) * percent / 100).map_or(limit, |part| part.max(1))
            }
            None => limit,
        }
    }

    /// Whether it serves as many requests as it may.
    pub fn full(&self, backend: &Backend) -> bool {
        let limit = self.limit(backend);
        limit > 0 && (self.sessions.now() >= limit || !self.queue.is_empty())
    }

    /// Whether one more may be served or wait in its own queue: `leastconn` counts those places, too.
    pub fn has_place(&self, backend: &Backend) -> bool {
        let limit = self.limit(backend);
        let load = self.sessions.now().saturating_add(self.queue.len());
        limit == 0 || load < limit.saturating_add(self.settings.maxqueue)
    }

    /// Its share of the load, of which [`SHARES`] are a unit of weight: while it warms up, and where
    /// weights may change, it has less.
    pub fn shares(&self, backend: &Backend) -> u32 {
        let full = self.weight() * SHARES;
        if self.settings.slowstart == 0 || !backend.settings.balance.is_dynamic() {
            return full;
        }
        self.weight() * self.warmth.shares.load(Relaxed)
    }

    /// Whether it is warming up.
    pub fn is_cold(&self) -> bool {
        self.settings.slowstart > 0 && self.warmth.shares.load(Relaxed) < SHARES
    }

    /// To be called every second: whether it can do more than a second before.
    pub(super) fn warms(&self) -> bool {
        self.settings.slowstart > 0 && {
            let before = self.warmth.shares.load(Relaxed);
            self.warmth.look() || before < SHARES
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::balance::{Algorithm, Balance, Hashing};
    use crate::http::{
        live::{Health, Proxies},
        settings,
    };
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    /// A backend of one server with these limits.
    fn backend(algorithm: Algorithm, server: settings::Server, fullconn: u32) -> Arc<Backend> {
        let balance = Arc::new(Balance::new(algorithm, Hashing::default(), 1));
        let mut backend = settings::Backend::new("b", balance);
        backend.fullconn = fullconn;
        backend.servers.push(server);
        let settings = settings::Settings { backends: vec![backend], ..Default::default() };
        Arc::clone(&Proxies::new(settings, 1, Arc::default()).backends[0])
    }

    fn server() -> settings::Server {
        settings::Server::new("s", SocketAddr::from(([127, 0, 0, 1], 1)).into())
    }

    #[test]
    fn the_limit_follows_the_backends_load() {
        let server = settings::Server { minconn: 3, maxconn: 10, ..server() };
        let backend = backend(Algorithm::RoundRobin, server, 20);
        let limits: Vec<u32> = (0..22)
            .map(|_| {
                let limit = backend.servers[0].limit(&backend);
                backend.sessions.rise();
                limit
            })
            .collect();
        let want = [3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10];
        assert_eq!(limits, want);
    }

    #[test]
    fn a_server_that_came_up_warms_up() {
        let said = settings::Server { slowstart: 10, maxconn: 50, weight: 3, ..server() };
        for (algorithm, cold) in [(Algorithm::LeastConn, true), (Algorithm::Source, false)] {
            let backend = backend(algorithm, said.clone(), 1);
            let server = &backend.servers[0];
            let now = || (server.limit(&backend), server.shares(&backend), server.is_cold());
            let warm = (50, 48, false);
            assert_eq!(now(), warm);
            server.set_health(Health::Down);
            server.set_health(Health::Up);
            let after = |seconds| {
                let since = Instant::now().checked_sub(Duration::from_secs(seconds));
                *server.warmth.since.lock().unwrap() = since;
                server.warms();
                now()
            };
            let shares = |part: u32| if cold { 3 * part } else { 48 };
            assert_eq!(after(0), (1, shares(1), true));
            assert_eq!(after(5), (25, shares(9), true));
            assert_eq!(after(9), (45, shares(15), true));
            assert_eq!(after(10), warm);
            assert!(!server.warms());
            // Out of maintenance, too; what goes down is not warming up.
            server.set_admin(super::super::Admin::Maintenance);
            server.set_admin(super::super::Admin::Ready);
            assert_eq!(now(), (1, shares(1), true));
            server.set_health(Health::Down);
            assert!(!server.is_cold());
        }
    }
}
