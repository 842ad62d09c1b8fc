//! From a checked configuration to what the proxy's engine, its checks and its logs are told.

mod logs;

pub use logs::logs;

use crate::config::address::{Address, Host, Port};
use crate::config::labels::Resolver;
use crate::config::model::{self, Balance, Config, HashFunction, Kind, Proxy, Settings as Said};
use crate::config::options::{CloseMode, Switch};
use crate::config::{Findings, model::Mode};
use crate::http::balance::{self, Algorithm, Function, Hashing};
use crate::http::health::Plan;
use crate::http::rules::{Page, Routes, RuleSet};
use crate::http::settings::{self, Connection, Settings};
use crate::policy::words::Wishes;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a configuration asks for.
#[derive(Debug)]
pub struct Assembled {
    /// For the engine.
    pub settings: Settings,
    /// For the health checks.
    pub checks: Vec<Plan>,
    /// Each server's `rise`, by backend and place: what its health begins with.
    pub rises: Vec<Vec<u32>>,
    /// Each server's `close`, by backend and place.
    pub closes: HashMap<(usize, usize), Wishes>,
    /// The numbers and names that statistics show.
    pub numbers: Numbers,
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
    /// Each server's `id`, `rise` and `fall`, by backend and place.
    pub servers: Vec<Vec<(u32, u32, u32)>>,
    /// Each backend's `fullconn`: without one, a tenth of what its frontends let in.
    pub fullconns: Vec<u32>,
    /// Each backend's `balance`, by its name.
    pub algorithms: Vec<&'static str>,
}

impl Numbers {
    /// A server's `id`.
    #[must_use]
    pub fn server(&self, (backend, server): (usize, usize)) -> u32 {
        self.servers.get(backend).and_then(|list| list.get(server)).map_or(0, |numbers| numbers.0)
    }

    /// A server's `rise` and `fall`.
    #[must_use]
    pub fn rise_and_fall(&self, (backend, server): (usize, usize)) -> (u32, u32) {
        let numbers = self.servers.get(backend).and_then(|list| list.get(server));
        numbers.map_or((2, 3), |numbers| (numbers.1, numbers.2))
    }
}

/// Makes the pages that a proxy serves itself.
pub type Pages<'a> = &'a dyn Fn(&Proxy) -> Vec<Arc<dyn Page>>;

/// Puts `config` together. What only now turns out wrong, such as a name that nobody knows, goes to
/// `findings`.
#[must_use]
pub fn assemble(
    config: &Config,
    resolver: Resolver<'_>,
    pages: Pages<'_>,
    findings: &mut Findings,
) -> Assembled {
    let running = || config.proxies.iter().filter(|proxy| !proxy.settings.disabled);
    let backends: Vec<&Proxy> = running().filter(|proxy| proxy.kind.is_backend()).collect();
    let fronts: Vec<&Proxy> = running().filter(|proxy| proxy.kind.is_frontend()).collect();
    let index: HashMap<&str, usize> =
        backends.iter().enumerate().map(|(index, proxy)| (proxy.name.as_str(), index)).collect();
    let mut builder = Builder { config, resolver, pages, findings, index };
    let mut assembled = Assembled {
        settings: Settings { global: global(config), ..Settings::default() },
        checks: Vec::new(),
        rises: Vec::new(),
        closes: HashMap::new(),
        numbers: Numbers {
            node: config.global.node.clone(),
            description: config.global.description.clone(),
            frontends: fronts.iter().map(|proxy| proxy.id).collect(),
            backends: backends.iter().map(|proxy| proxy.id).collect(),
            servers: Vec::new(),
            fullconns: backends.iter().map(|proxy| fullconn(config, &fronts, proxy)).collect(),
            algorithms: backends.iter().map(|proxy| algorithm_name(proxy)).collect(),
        },
    };
    for (place, proxy) in backends.iter().enumerate() {
        builder.backend(place, proxy, &mut assembled);
    }
    for proxy in &fronts {
        let frontend = builder.frontend(proxy);
        assembled.settings.frontends.push(frontend);
    }
    assembled
}

fn fullconn(config: &Config, fronts: &[&Proxy], backend: &Proxy) -> u32 {
    let global = config.global.maxconn.unwrap_or(0);
    let users = fronts.iter().filter(|front| {
        front.backends().any(|name| name == backend.name)
            || (front.name == backend.name && backend.kind == Kind::Listen)
    });
    let all: u32 = users.map(|front| front.settings.maxconn.unwrap_or(global)).sum();
    backend.settings.fullconn.unwrap_or(all.div_ceil(10))
}

fn algorithm_name(backend: &Proxy) -> &'static str {
    match backend.settings.balance {
        Balance::RoundRobin => "roundrobin",
        Balance::StaticRoundRobin => "static-rr",
        Balance::LeastConn => "leastconn",
        Balance::First => "first",
        Balance::Source => "source",
        Balance::Uri { .. } => "uri",
        Balance::Header { .. } => "hdr",
        Balance::Random { .. } => "random",
    }
}

fn global(config: &Config) -> settings::Global {
    let said = &config.global;
    let mut global = settings::Global::default();
    let size = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
    global.threads = said.nbthread.map_or(0, size);
    global.maxconn = said.maxconn.filter(|most| *most > 0);
    global.hard_stop_after = said.hard_stop_after_ms.map(millis);
    global.bufsize = said.bufsize.map_or(global.bufsize, size);
    global.maxrewrite = said.maxrewrite.map_or(global.maxrewrite, size);
    global.max_headers = said.maxhdr.map_or(global.max_headers, size);
    // The pools have one clock: it is set to the longest of the servers' delays.
    let servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
    if let Some(longest) = servers.map(|server| server.settings.pool_purge_delay_ms).max() {
        global.pool_purge_delay = millis(longest);
    }
    global
}

struct Builder<'a> {
    config: &'a Config,
    resolver: Resolver<'a>,
    pages: Pages<'a>,
    findings: &'a mut Findings,
    /// The place of each running backend, by name.
    index: HashMap<&'a str, usize>,
}

impl Builder<'_> {
    fn frontend(&mut self, proxy: &Proxy) -> settings::Frontend {
        let said = &proxy.settings;
        let timeouts = &said.timeouts;
        let rules = RuleSet {
            request: proxy.http_request.iter().chain(&proxy.redirects).cloned().collect(),
            response: proxy.http_response.clone(),
            pages: (self.pages)(proxy),
        };
        let is_idle =
            rules.request.is_empty() && rules.response.is_empty() && rules.pages.is_empty();
        let routes: Vec<_> = proxy
            .use_backends
            .iter()
            .filter_map(|rule| Some((*self.index.get(rule.name.as_str())?, rule.condition.clone())))
            .collect();
        let named = said.default_backend.as_ref().map(|(name, _)| name.as_str());
        let own = (proxy.kind == Kind::Listen).then_some(proxy.name.as_str());
        settings::Frontend {
            name: proxy.name.clone(),
            mode: mode(said.mode),
            binds: proxy.binds.iter().filter_map(|bind| self.bind(bind, said)).collect(),
            maxconn: said.maxconn.unwrap_or(0),
            disabled: false,
            connection: connection(said.close_mode),
            timeouts: settings::ClientTimeouts {
                client: time(timeouts.client),
                client_fin: time(timeouts.client_fin),
                http_request: time(timeouts.http_request),
                http_keep_alive: time(timeouts.http_keep_alive),
            },
            nolinger: said.switches.has(Switch::NoLinger),
            dontlognull: said.switches.has(Switch::DontLogNull),
            forwardfor: forward_for(said),
            error_pages: error_pages(said),
            rules: (!is_idle).then(|| Arc::new(rules) as _),
            route: (!routes.is_empty()).then(|| Arc::new(Routes { rules: routes }) as _),
            default_backend: named.or(own).and_then(|name| self.index.get(name).copied()),
        }
    }

    fn bind(&mut self, bind: &model::Bind, said: &Said) -> Option<settings::Bind> {
        let address = match &bind.address {
            Address::Tcp { host, port: Port::Fixed(port) } => {
                let ip = self.lookup(host, &bind.at)?;
                settings::BindAddress::Inet(SocketAddr::new(ip, *port))
            }
            Address::Unix(path) => settings::BindAddress::Unix(path.clone()),
            Address::Abstract(name) => settings::BindAddress::Abstract(name.clone().into_bytes()),
            Address::Fd(fd) => settings::BindAddress::Fd(*fd),
            Address::Tcp { .. } => return None,
        };
        Some(settings::Bind {
            defer_accept: bind.defer_accept,
            maxconn: bind.maxconn.unwrap_or(0),
            v6only: bind.v6only,
            backlog: bind.backlog.or(said.backlog).unwrap_or(0),
            transparent: bind.transparent,
            interface: bind.interface.clone(),
            keepalive: keeps_alive(said, Switch::ClientTcpKeepAlive),
            mss: bind.mss,
            unix_mode: bind.mode,
            unix_uid: bind.user,
            unix_gid: bind.group,
            ..settings::Bind::new(address)
        })
    }

    fn lookup(
        &mut self,
        host: &Host,
        at: &crate::config::token::Position,
    ) -> Option<std::net::IpAddr> {
        match host {
            Host::Ip(ip) => Some(*ip),
            Host::Name(name) => {
                let found = (self.resolver)(name).first().copied();
                if found.is_none() {
                    let message = format!("the host name '{name}' is not known");
                    self.findings.alert(at.clone(), message);
                }
                found
            }
        }
    }

    fn backend(&mut self, place: usize, proxy: &Proxy, to: &mut Assembled) {
        let said = &proxy.settings;
        let timeouts = &said.timeouts;
        let seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::try_from(place).unwrap_or(0) + 1);
        let balance = balance::Balance::new(
            algorithm(&said.balance),
            hashing(said),
            said.switches.has(Switch::AllBackups),
            seed,
        );
        let mut backend = settings::Backend::new(&proxy.name, Arc::new(balance));
        backend.mode = mode(said.mode);
        backend.retries = said.retries;
        backend.redispatch = redispatch(said.redispatch);
        backend.reuse = match said.http_reuse {
            model::Reuse::Never => settings::Reuse::Never,
            model::Reuse::Safe => settings::Reuse::Safe,
            model::Reuse::Aggressive => settings::Reuse::Aggressive,
            model::Reuse::Always => settings::Reuse::Always,
        };
        backend.connection = connection(said.close_mode);
        backend.timeouts = settings::ServerTimeouts {
            connect: time(timeouts.connect),
            server: time(timeouts.server),
            server_fin: time(timeouts.server_fin),
            queue: time(timeouts.queue),
            tunnel: time(timeouts.tunnel),
        };
        backend.prefer_last = said.switches.has(Switch::PreferLastServer);
        backend.pretend_keepalive = said.switches.has(Switch::PretendKeepAlive);
        backend.nolinger = said.switches.has(Switch::NoLinger);
        backend.abortonclose = said.switches.has(Switch::AbortOnClose);
        backend.error_pages = error_pages(said);
        // A `listen` is one proxy: its rules and its forwardfor stand in its frontend half.
        if proxy.kind == Kind::Backend {
            backend.forwardfor = forward_for(said);
            let rules = RuleSet {
                request: proxy.http_request.iter().chain(&proxy.redirects).cloned().collect(),
                response: proxy.http_response.clone(),
                pages: (self.pages)(proxy),
            };
            let is_idle =
                rules.request.is_empty() && rules.response.is_empty() && rules.pages.is_empty();
            backend.rules = (!is_idle).then(|| Arc::new(rules) as _);
        }
        let mut ids = Vec::new();
        let mut rises = Vec::new();
        for server in &proxy.servers {
            let Some(mut told) = self.server(server) else { continue };
            told.keepalive = keeps_alive(said, Switch::ServerTcpKeepAlive);
            let at = (place, backend.servers.len());
            backend.servers.push(told);
            ids.push((server.id, server.settings.rise, server.settings.fall));
            rises.push(server.settings.rise);
            if server.settings.check {
                to.checks.push(self.plan(at, proxy, server));
            }
            if let Some(wishes) = server.settings.close {
                to.closes.insert(at, wishes);
            }
        }
        to.settings.backends.push(backend);
        to.numbers.servers.push(ids);
        to.rises.push(rises);
    }

    fn server(&mut self, server: &model::Server) -> Option<settings::Server> {
        let address = match &server.address {
            Address::Tcp { host, port: Port::Fixed(port) } => {
                let ip = self.lookup(host, &server.at)?;
                settings::ServerAddress::Inet(SocketAddr::new(ip, *port))
            }
            Address::Unix(path) => settings::ServerAddress::Unix(path.clone()),
            other => {
                self.findings.alert(
                    server.at.clone(),
                    format!(
                        "server '{}' at '{other}': teardown needs an address with a port of its \
                         own, or a Unix socket's path",
                        server.name
                    ),
                );
                return None;
            }
        };
        let said = &server.settings;
        Some(settings::Server {
            weight: said.weight,
            backup: said.backup,
            disabled: said.disabled,
            maxconn: said.maxconn,
            maxqueue: said.maxqueue,
            shutdown_on_down: said.on_marked_down_shutdown,
            pool_max_conn: said.pool_max_conn,
            max_reuse: said.max_reuse,
            checked: said.check,
            ..settings::Server::new(&server.name, address)
        })
    }

    fn plan(&mut self, at: (usize, usize), proxy: &Proxy, server: &model::Server) -> Plan {
        let said = &server.settings;
        let address = match (&said.check_addr, said.check_port.or(server.address.port())) {
            (Some(Address::Tcp { host, .. }), Some(port)) => {
                self.lookup(host, &server.at).map(|ip| SocketAddr::new(ip, port))
            }
            _ => None,
        };
        let timeouts = &proxy.settings.timeouts;
        Plan {
            server: at,
            script: Arc::new(proxy.settings.check.clone()),
            interval: millis(said.inter_ms),
            fast: said.fast_inter_ms.map(millis),
            down: said.down_inter_ms.map(millis),
            rise: said.rise,
            fall: said.fall,
            address,
            port: said.check_port,
            connect_timeout: time(timeouts.connect),
            check_timeout: time(timeouts.check),
            spread: self.config.global.spread_checks,
            log_each: proxy.settings.switches.has(Switch::LogHealthChecks),
            up_shuts_backups: said.on_marked_up_shutdown_backup,
        }
    }
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

/// 0 is for ever, as not set is.
fn time(ms: Option<u32>) -> Option<Duration> {
    ms.filter(|ms| *ms > 0).map(millis)
}

/// Whether TCP keep-alive is asked for on one side, or on both.
fn keeps_alive(said: &Said, side: Switch) -> bool {
    said.switches.has(side) || said.switches.has(Switch::TcpKeepAlive)
}

fn mode(mode: Mode) -> settings::Mode {
    match mode {
        Mode::Http => settings::Mode::Http,
        Mode::Tcp => settings::Mode::Tcp,
    }
}

fn connection(mode: CloseMode) -> Connection {
    match mode {
        CloseMode::KeepAlive => Connection::KeepAlive,
        CloseMode::Tunnel => Connection::Tunnel,
        CloseMode::ServerClose => Connection::ServerClose,
        CloseMode::Close | CloseMode::ForceClose => Connection::Close,
    }
}

fn redispatch(said: Option<i32>) -> settings::Redispatch {
    match said {
        None | Some(0) => settings::Redispatch::Never,
        Some(-1) => settings::Redispatch::Last,
        Some(every @ 1..) => settings::Redispatch::Every(every.unsigned_abs()),
        Some(before) => settings::Redispatch::BeforeLast(before.unsigned_abs()),
    }
}

fn forward_for(said: &Said) -> Option<settings::ForwardFor> {
    said.forward_for.as_ref().map(|said| settings::ForwardFor {
        header: said.header.clone(),
        except: said.except,
        if_none: said.if_none,
    })
}

fn error_pages(said: &Said) -> settings::ErrorPages {
    let pages = said.error_files.iter();
    settings::ErrorPages(pages.map(|(code, text)| (*code, text.as_slice().into())).collect())
}

fn algorithm(said: &Balance) -> Algorithm {
    let size = |size: &u32| usize::try_from(*size).unwrap_or(usize::MAX);
    match said {
        Balance::RoundRobin => Algorithm::RoundRobin,
        Balance::StaticRoundRobin => Algorithm::StaticRoundRobin,
        Balance::LeastConn => Algorithm::LeastConn,
        Balance::First => Algorithm::First,
        Balance::Source => Algorithm::Source,
        Balance::Uri { length, depth, whole, path_only } => Algorithm::Uri {
            length: size(length),
            depth: size(depth),
            whole: *whole,
            path_only: *path_only,
        },
        Balance::Header { name, use_domain_only } => {
            Algorithm::header(name.clone(), *use_domain_only)
        }
        Balance::Random { draws } => Algorithm::Random { draws: *draws },
    }
}

fn hashing(said: &Said) -> Hashing {
    let hash = said.hash_type;
    Hashing {
        consistent: hash.consistent,
        function: match hash.function {
            HashFunction::Sdbm => Function::Sdbm,
            HashFunction::Djb2 => Function::Djb2,
            HashFunction::Wt6 => Function::Wt6,
            HashFunction::Crc32 => Function::Crc32,
        },
        avalanche: hash.avalanche,
    }
}

#[cfg(test)]
mod tests;
