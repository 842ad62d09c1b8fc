//! The numbers and names of a configuration's proxies that statistics show.

use crate::config::model::{Config, Kind, Proxy};
use crate::http::balance::Algorithm;

/// The numbers of a server.
#[derive(Clone, Copy, Debug)]
pub struct OfServer {
    /// `id`.
    pub id: u32,
    /// Whether it says that.
    pub says_id: bool,
    /// `rise`.
    pub rise: u32,
    /// `fall`.
    pub fall: u32,
}

/// The numbers and names of a configuration's proxies that statistics show.
#[derive(Debug, Default)]
pub struct Numbers {
    /// `node`: this host's name, where it was given one.
    pub node: Option<String>,
    /// `description` of `global`.
    pub description: Option<String>,
    /// Each frontend's `id`.
    pub frontends: Vec<u32>,
    /// Each backend's `id`.
    pub backends: Vec<u32>,
    /// Where each frontend stands in the configuration.
    pub frontend_places: Vec<usize>,
    /// Where each backend stands in the configuration.
    pub backend_places: Vec<usize>,
    /// Whether each backend says its `id`.
    pub backends_say_id: Vec<bool>,
    /// Those of each server, by backend and place.
    pub servers: Vec<Vec<OfServer>>,
    /// Each backend's `fullconn`: without one, a tenth of what its frontends let in.
    pub fullconns: Vec<u32>,
    /// Each backend's `balance`, by its name.
    pub algorithms: Vec<&'static str>,
}

impl Numbers {
    /// Those of a configuration; servers are numbered as they are put together.
    pub(super) fn of(config: &Config, fronts: &[&Proxy], backends: &[&Proxy]) -> Self {
        let places = |list: &[&Proxy]| {
            let place =
                |proxy: &&Proxy| config.proxies.iter().position(|it| std::ptr::eq(it, *proxy));
            list.iter().filter_map(place).collect()
        };
        Self {
            node: config.global.node.clone(),
            description: config.global.description.clone(),
            frontends: fronts.iter().map(|proxy| proxy.id).collect(),
            backends: backends.iter().map(|proxy| proxy.id).collect(),
            backends_say_id: backends.iter().map(|proxy| proxy.id_at.is_some()).collect(),
            frontend_places: places(fronts),
            backend_places: places(backends),
            servers: Vec::new(),
            fullconns: backends.iter().map(|proxy| fullconn(config, fronts, proxy)).collect(),
            algorithms: backends.iter().map(|proxy| algorithm_name(proxy)).collect(),
        }
    }

    /// A server's `id`.
    #[must_use]
    pub fn server(&self, at: (usize, usize)) -> u32 {
        self.of_server(at).map_or(0, |of| of.id)
    }

    /// Whether a server says its `id`, and its backend.
    #[must_use]
    pub fn say_id(&self, at: (usize, usize)) -> (bool, bool) {
        let backend = self.backends_say_id.get(at.0).copied().unwrap_or_default();
        (self.of_server(at).is_some_and(|of| of.says_id), backend)
    }

    fn of_server(&self, (backend, server): (usize, usize)) -> Option<OfServer> {
        self.servers.get(backend)?.get(server).copied()
    }

    /// A server's `rise` and `fall`.
    #[must_use]
    pub fn rise_and_fall(&self, at: (usize, usize)) -> (u32, u32) {
        self.of_server(at).map_or((2, 3), |of| (of.rise, of.fall))
    }
}

fn fullconn(config: &Config, fronts: &[&Proxy], backend: &Proxy) -> u32 {
    let global = config.global.maxconn.unwrap_or(0);
    let users = fronts.iter().filter(|front| {
        front.backends().any(|name| name == backend.name)
            || (front.name == backend.name && backend.kind == Kind::Listen)
    });
    let all: u64 = users.map(|front| u64::from(front.settings.maxconn.unwrap_or(global))).sum();
    let tenth = u32::try_from(all.div_ceil(10).max(1)).unwrap_or(u32::MAX);
    backend.settings.fullconn.unwrap_or(tenth)
}

fn algorithm_name(backend: &Proxy) -> &'static str {
    match backend.settings.balance {
        Algorithm::RoundRobin => "roundrobin",
        Algorithm::StaticRoundRobin => "static-rr",
        Algorithm::LeastConn => "leastconn",
        Algorithm::First => "first",
        Algorithm::Source => "source",
        Algorithm::Uri { .. } => "uri",
        Algorithm::Header { .. } => "hdr",
        Algorithm::Random { .. } => "random",
    }
}
