//! The running proxies: settings with their state, counters and queues.
//!
//! Workers, balancing, health checks, statistics and the runtime socket all see these. They are
//! built anew by a reload; sessions of the old ones keep them alive.

mod admin;
mod frontend;
mod observed;
mod pace;
mod queue;
mod refused;
mod state;

pub use admin::Admin;
pub use frontend::Frontend;
pub use observed::{Alarm, Layer, Observe, Sign};
pub use pace::SHARES;
pub use queue::Queue;
pub use refused::{Invalid, LastErrors, refused};
pub use state::{Health, State};

use observed::Observed;
use pace::Warmth;
use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Instant,
};

use super::{
    counters::{Count, Counters, Gauge, Rate},
    settings::{self, ServerAddress, Settings},
    termination::Cause,
    throttle::Throttle,
};

/// All proxies of one configuration.
#[derive(Debug)]
pub struct Proxies {
    /// What holds for the whole process.
    pub global: settings::Global,
    /// Where clients connect.
    pub frontends: Vec<Arc<Frontend>>,
    /// Where requests go.
    pub backends: Vec<Arc<Backend>>,
    /// Threads that serve, each with counters of its own.
    pub workers: usize,
    /// Client connections at most, 0 is no limit (`set maxconn global`).
    pub maxconn: AtomicU32,
    /// How many clients may connect in a second (`set rate-limit`).
    pub throttle: Throttle,
    /// Client connections of the process. Shared by the configurations before and after a reload.
    pub connections: Arc<Gauge>,
    /// Connections a second, of all frontends.
    pub session_rate: Rate,
    /// When these were built.
    pub since: Instant,
}

impl Proxies {
    /// Builds the running state of `settings` for `workers` threads.
    pub fn new(settings: Settings, workers: usize, connections: Arc<Gauge>) -> Self {
        let frontends = settings.frontends.into_iter().enumerate();
        let backends = settings.backends.into_iter().enumerate();
        let proxies = Self {
            maxconn: AtomicU32::new(settings.global.maxconn.unwrap_or(0)),
            throttle: Throttle::new(settings.global.connection_rate, settings.global.session_rate),
            global: settings.global,
            frontends: frontends.map(|(i, f)| Arc::new(Frontend::new(i, f, workers))).collect(),
            backends: backends.map(|(i, b)| Arc::new(Backend::new(i, b, workers))).collect(),
            workers,
            connections,
            session_rate: Rate::default(),
            since: Instant::now(),
        };
        proxies.inherit();
        proxies
    }

    /// The server at that place, and its backend.
    pub fn server(&self, (backend, server): (usize, usize)) -> Option<(&Backend, &Server)> {
        let backend = self.backends.get(backend)?;
        Some((backend, backend.servers.get(server)?))
    }

    /// The backend of that name.
    pub fn backend(&self, name: &str) -> Option<&Arc<Backend>> {
        self.backends.iter().find(|backend| backend.settings.name == name)
    }

    /// The frontend of that name.
    pub fn frontend(&self, name: &str) -> Option<&Arc<Frontend>> {
        self.frontends.iter().find(|frontend| frontend.settings.name == name)
    }

    /// The backend of a `listen`, of which that is the frontend.
    pub fn other_half(&self, frontend: &Frontend) -> Option<&Arc<Backend>> {
        let backend = self.backend(&frontend.settings.name)?;
        backend.settings.of_listen.then_some(backend)
    }

    /// Sessions of all frontends so far.
    pub fn sessions(&self) -> u64 {
        self.frontends.iter().map(|frontend| frontend.counters.total(Count::Sessions)).sum()
    }

    /// Takes the rates' samples; the engine calls it once a second.
    pub fn sample(&self) {
        self.session_rate.sample(self.sessions());
        for frontend in &self.frontends {
            frontend.session_rate.sample(frontend.counters.total(Count::Sessions));
            frontend.request_rate.sample(frontend.counters.total(Count::Requests));
        }
        for backend in &self.backends {
            backend.session_rate.sample(backend.counters.total(Count::Sessions));
            for server in &backend.servers {
                server.session_rate.sample(server.counters.total(Count::Sessions));
                if server.warms() {
                    backend.changed(server, server.state());
                }
            }
        }
    }
}

/// A running backend.
#[derive(Debug)]
pub struct Backend {
    /// What it was told. The servers' running state is in [`Backend::servers`].
    pub settings: settings::Backend,
    /// Its place among the backends.
    pub index: usize,
    /// Its servers, in order.
    pub servers: Vec<Arc<Server>>,
    /// Requests being served (`scur`).
    pub sessions: Gauge,
    /// Requests that wait for any server.
    pub queue: Queue,
    /// Totals.
    pub counters: Counters,
    /// Requests a second.
    pub session_rate: Rate,
    /// What was refused last.
    pub errors: LastErrors,
    /// Whether its `listen` was shut down: nothing of it is checked or changed any more.
    pub shut: AtomicBool,
}

impl Backend {
    fn new(index: usize, settings: settings::Backend, shards: usize) -> Self {
        let servers = settings.servers.iter().enumerate();
        Self {
            index,
            servers: servers.map(|(i, s)| Arc::new(Server::new(i, s.clone(), shards))).collect(),
            sessions: Gauge::default(),
            queue: Queue::default(),
            counters: Counters::new(shards),
            session_rate: Rate::default(),
            errors: LastErrors::default(),
            shut: AtomicBool::new(false),
            settings,
        }
    }

    /// The server of that name.
    pub fn server(&self, name: &str) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.settings.name == name)
    }

    /// To be called when a server's state, weight or limit has changed; `before` is what its state
    /// was. Who waits may be served now, or has to wait elsewhere, and the backups' sessions may have
    /// to end. Says how many requests that waited go elsewhere, or came here.
    pub fn changed(&self, server: &Server, before: State) -> usize {
        let (settings, now) = (&server.settings, server.state());
        let came_up = !before.is_running() && now.is_running() && server.weight() > 0;
        if came_up && settings.up_shuts_backups && !settings.backup {
            let backups = self.servers.iter().filter(|server| server.settings.backup);
            backups.for_each(|backup| backup.shutdown_sessions(Cause::Up));
        }
        let leaves = now != before && !now.is_open();
        let left = if leaves { self.send_away(server) } else { 0 };
        let came = self.hand_out(server.index);
        self.hand_out_all();
        left + came
    }

    /// Whether it has a server for requests.
    pub fn serves(&self) -> bool {
        self.servers.iter().any(|server| server.usable())
    }

    /// The servers that may be chosen: the usable ones, or without any the first backup, or with
    /// `option allbackups` all of these.
    pub fn candidates(&self) -> impl Iterator<Item = &Server> + Clone {
        let servers = || self.servers.iter().map(AsRef::as_ref).filter(|server| server.usable());
        let on_backups = servers().all(|server| server.settings.backup);
        let most = if on_backups && !self.settings.all_backups { 1 } else { usize::MAX };
        servers().filter(move |server| server.settings.backup == on_backups).take(most)
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// What it was told; address, weight and maxconn may have changed since.
    pub settings: settings::Server,
    /// Its place among the backend's servers.
    pub index: usize,
    health: AtomicU8,
    /// Whether its checks run, if it has any (`disable health`).
    pub checking: AtomicBool,
    /// What holds: the stricter of what was said of it and of whom it tracks.
    admin: AtomicU8,
    /// What was said of it.
    own_admin: AtomicU8,
    /// What was said of the server that it tracks (`track`).
    inherited: AtomicU8,
    /// Its name has no address yet (`init-addr none`).
    unresolved: AtomicBool,
    weight: AtomicU32,
    warmth: Warmth,
    observed: Observed,
    /// Concurrent requests at most, 0 is no limit (`set maxconn server`).
    pub maxconn: AtomicU32,
    address: RwLock<ServerAddress>,
    /// Counts the times at which all its sessions were to be shut down.
    shutdowns: AtomicU32,
    /// Why that was, the last time.
    shut_by: Mutex<Cause>,
    /// Counts changes of the address: pooled connections of before are stale.
    moves: AtomicU32,
    /// Requests being served (`scur`).
    pub sessions: Gauge,
    /// Requests that wait for it.
    pub queue: Queue,
    /// Idle connections in the workers' pools.
    pub idle: Gauge,
    /// Totals.
    pub counters: Counters,
    /// Requests a second.
    pub session_rate: Rate,
    /// When its last session began, in seconds since [`Proxies::since`], counted from 1; 0 is never.
    pub last_session: AtomicU64,
    /// When its health or the admin state last changed.
    changed: Mutex<Instant>,
}

impl Server {
    fn new(index: usize, settings: settings::Server, shards: usize) -> Self {
        let admin = if settings.disabled { Admin::Maintenance } else { Admin::Ready };
        let effective = if settings.unresolved { Admin::Maintenance } else { admin };
        Self {
            index,
            health: AtomicU8::new(Health::Up as u8),
            checking: AtomicBool::new(settings.checked),
            admin: AtomicU8::new(effective as u8),
            own_admin: AtomicU8::new(admin as u8),
            inherited: AtomicU8::new(Admin::Ready as u8),
            unresolved: AtomicBool::new(settings.unresolved),
            weight: AtomicU32::new(settings.weight),
            warmth: Warmth::new(settings.slowstart),
            observed: Observed::default(),
            maxconn: AtomicU32::new(settings.maxconn),
            address: RwLock::new(settings.address.clone()),
            shutdowns: AtomicU32::new(0),
            shut_by: Mutex::default(),
            moves: AtomicU32::new(0),
            sessions: Gauge::default(),
            queue: Queue::default(),
            idle: Gauge::default(),
            counters: Counters::new(shards),
            session_rate: Rate::default(),
            last_session: AtomicU64::new(0),
            changed: Mutex::new(Instant::now()),
            settings,
        }
    }

    fn touch(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When it last went up, down or into another administrative state.
    pub fn changed(&self) -> Instant {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its share of the load.
    pub fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    /// Changes its share of the load.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Relaxed);
    }

    /// Where it listens now.
    pub fn address(&self) -> ServerAddress {
        self.address.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Moves it; connections to the old address are used up, not reused.
    pub fn set_address(&self, address: ServerAddress) {
        *self.address.write().unwrap_or_else(PoisonError::into_inner) = address;
        self.moves.fetch_add(1, SeqCst);
        self.resolve();
    }

    /// Changes of the address so far.
    pub fn moves(&self) -> u32 {
        self.moves.load(Relaxed)
    }

    /// Ends all its sessions, which then log `why`. The workers see it within a second, or at once
    /// where the [engine](super::engine::Engine::look) is told to look.
    pub fn shutdown_sessions(&self, why: Cause) {
        *self.shut_by.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.shutdowns.fetch_add(1, SeqCst);
    }

    /// Times at which all sessions were to be shut down.
    pub fn shutdowns(&self) -> u32 {
        self.shutdowns.load(Relaxed)
    }

    /// Why all its sessions were last shut down.
    pub fn shut_by(&self) -> Cause {
        *self.shut_by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_all_frontends_is_one_of_one_second() {
        let frontends = vec![settings::Frontend::default(); 2];
        let settings = Settings { frontends, ..Default::default() };
        let proxies = Proxies::new(settings, 1, Arc::default());
        let rates = |sessions: [u64; 2]| {
            for (frontend, count) in proxies.frontends.iter().zip(sessions) {
                frontend.counters.add(0, Count::Sessions, count);
            }
            proxies.sample();
            (proxies.session_rate.last(), proxies.session_rate.max())
        };
        assert_eq!([rates([3, 4]), rates([5, 0]), rates([0, 6])], [(7, 7), (5, 7), (6, 7)]);
    }
}
