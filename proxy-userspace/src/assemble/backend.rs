//! A backend, its servers and their checks.

use super::numbers::OfServer;
use super::terms::{connection, error_pages, millis, redispatch, tcp, time};
use super::{Assembled, Builder};
use crate::config::address::{Address, Host, Port};
use crate::config::model::{self, InitAddr, Kind, Proxy, ServerSettings};
use crate::config::options::Switch;
use crate::config::token::Position;
use crate::config::track;
use crate::http::balance;
use crate::http::cookie;
use crate::http::health::Plan;
use crate::http::health::board::Place;
use crate::http::live::Observe;
use crate::http::proxy_line::Version;
use crate::http::rules::UseServer;
use crate::http::settings;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

impl Builder<'_> {
    /// Puts the backend of a section that holds servers into `to`, at `place`.
    pub(super) fn backend(&mut self, place: usize, proxy: &Proxy, to: &mut Assembled) {
        let fullconn = to.numbers.fullconns.get(place).copied().unwrap_or_default();
        let backend = settings::Backend { fullconn, ..self.section(place, proxy) };
        let backend = self.servers(place, proxy, backend, to);
        to.settings.backends.push(backend);
    }

    /// A backend without its servers.
    fn section(&mut self, place: usize, proxy: &Proxy) -> settings::Backend {
        let said = &proxy.settings;
        let timeouts = &said.timeouts;
        let seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::try_from(place).unwrap_or(0) + 1);
        let balance = balance::Balance::new(said.balance.clone(), said.hash_type, seed);
        let mut backend = settings::Backend::new(&proxy.name, Arc::new(balance));
        backend.of_listen = proxy.kind.is_frontend();
        backend.mode = said.mode;
        backend.all_backups = said.switches.has(Switch::AllBackups);
        backend.cookie = said.cookie.clone();
        backend.persist = said.switches.has(Switch::Persist);
        backend.persist_rules = proxy.persist_rules.clone();
        backend.retries = said.retries;
        backend.retry_on = said.retry_on.clone();
        backend.redispatch = redispatch(said.redispatch);
        backend.reuse = said.http_reuse;
        backend.connection = connection(said.close_mode);
        backend.timeouts = settings::ServerTimeouts {
            connect: time(timeouts.connect),
            server: time(timeouts.server),
            server_fin: time(timeouts.server_fin),
            queue: time(timeouts.queue),
            tunnel: time(timeouts.tunnel),
            tarpit: time(timeouts.tarpit.or(timeouts.connect)),
        };
        backend.prefer_last = said.switches.has(Switch::PreferLastServer);
        backend.pretend_keepalive = said.switches.has(Switch::PretendKeepAlive);
        backend.nolinger = said.switches.has(Switch::NoLinger);
        backend.buffers_requests = said.switches.has(Switch::BufferRequests);
        backend.abortonclose = said.switches.has(Switch::AbortOnClose);
        backend.smart_connect = said.switches.has(Switch::SmartConnect);
        backend.error_pages = error_pages(self.config, said);
        backend.hearing = self.inspection(&proxy.tcp_response.content, proxy.tcp_response.delay);
        // A `listen` is one proxy: its rules and its forwardfor stand in its frontend half.
        if proxy.kind == Kind::Backend {
            backend.forwardfor = said.forward_for.clone();
            backend.originalto = said.original_to.clone();
            backend.rules = self.rules(proxy);
            backend.inspection =
                self.inspection(&proxy.tcp_request.content, proxy.tcp_request.delay);
        }
        let place_of = |name: &str| proxy.servers.iter().position(|server| server.name == name);
        let rules: Vec<_> = proxy
            .use_servers
            .iter()
            .filter_map(|rule| Some((place_of(&rule.name)?, rule.condition.clone())))
            .collect();
        backend.server_rules = (!rules.is_empty()).then(|| Arc::new(UseServer { rules }) as _);
        backend
    }

    /// The backend with its servers, and what belongs to them.
    fn servers(
        &mut self,
        place: usize,
        proxy: &Proxy,
        mut backend: settings::Backend,
        to: &mut Assembled,
    ) -> settings::Backend {
        let said = &proxy.settings;
        let cookie_key = said.dynamic_cookie_key.as_deref().filter(|_| said.dynamic_cookie);
        let cookie_key: Option<Arc<str>> = cookie_key.map(Arc::from);
        let mut ids = Vec::new();
        let mut healths = Vec::new();
        for server in &proxy.servers {
            let Some(mut told) = self.server(server) else { continue };
            told.cookie_key = cookie_key.clone().filter(|_| told.cookie.is_none());
            self.same_cookie(&backend, server, &told);
            let user_timeout = server.settings.user_timeout_ms;
            told.tcp = tcp(said, Switch::ServerTcpKeepAlive, said.server_probes, user_timeout);
            told.id = server.id;
            let source = server.settings.source.as_ref().or(said.source.as_ref());
            told.source = source.and_then(|source| self.source(source, &told, &server.at));
            told.tracks = self.tracked(proxy, server);
            let at = (place, backend.servers.len());
            let unresolved = told.unresolved;
            backend.servers.push(told);
            let &model::Server { id, says_id, ref settings, .. } = server;
            ids.push(OfServer { id, says_id, rise: settings.rise, fall: settings.fall });
            // In maintenance nobody is well.
            let well = !unresolved
                && !track::chain(self.config, proxy, server).any(|it| it.settings.disabled);
            healths.push(if well { server.settings.rise } else { 0 });
            if server.settings.check {
                to.checks.push(self.plan(at, proxy, server));
            }
        }
        to.numbers.servers.push(ids);
        to.healths.push(healths);
        backend
    }

    /// Where connections to a server come from.
    fn source(
        &mut self,
        source: &Address,
        to: &settings::Server,
        at: &Position,
    ) -> Option<SocketAddr> {
        let Address::Tcp { host, .. } = source else { return None };
        let source = SocketAddr::new(self.lookup(host, at)?, source.port().unwrap_or(0));
        match &to.address {
            settings::ServerAddress::Inet(address) if address.is_ipv4() == source.is_ipv4() => {
                Some(source).filter(|source| !source.ip().is_unspecified() || source.port() > 0)
            }
            settings::ServerAddress::Inet(address) => {
                let message = format!(
                    "server '{}' at {address} cannot be reached from the source {source}: \
                     they are of different families",
                    to.name
                );
                self.findings.alert(at.clone(), message);
                None
            }
            settings::ServerAddress::Unix(_) => None,
        }
    }

    /// The places of whom a server tracks.
    fn tracked(&self, proxy: &Proxy, server: &model::Server) -> Option<(usize, usize)> {
        let (of, tracked) = track::target(self.config, proxy, server)?;
        let place = of.servers.iter().position(|it| std::ptr::eq(it, tracked))?;
        Some((*self.index.get(of.name.as_str())?, place))
    }

    /// Warns where the value that is made of a server's address is that of one before it.
    fn same_cookie(
        &mut self,
        backend: &settings::Backend,
        server: &model::Server,
        told: &settings::Server,
    ) {
        let made = |of: &settings::Server| cookie::made(of.cookie_key.as_deref()?, &of.address);
        let Some(value) = made(told) else { return };
        if let Some(other) = backend.servers.iter().find(|of| made(of).as_ref() == Some(&value)) {
            let message = format!(
                "server '{}' has the cookie of server '{}', as it has its address: who is bound to it \
                 goes there",
                server.name, other.name
            );
            self.findings.warn(server.at.clone(), message);
        }
    }

    /// A server's first address, or that it has none to begin with; nothing where that is an error.
    fn initial(&mut self, host: &Host, server: &model::Server) -> Option<Option<IpAddr>> {
        let Host::Name(name) = host else { return self.lookup(host, &server.at).map(Some) };
        for way in &server.settings.init_addr {
            let ip = match way {
                InitAddr::Last => None,
                InitAddr::Libc => (self.resolver)(name).first().copied(),
                InitAddr::Ip(ip) => Some(*ip),
                InitAddr::None => {
                    let message = format!(
                        "server '{}': the host name '{name}' is not known: it is in maintenance \
                         until 'set server ... addr' gives it an address",
                        server.name
                    );
                    self.findings.warn(server.at.clone(), message);
                    return Some(None);
                }
            };
            if ip.is_some() {
                return Some(ip);
            }
        }
        if server.settings.init_addr.is_empty() {
            return self.lookup(host, &server.at).map(Some);
        }
        let message = format!("no way of 'init-addr' has an address of the host name '{name}'");
        self.findings.alert(server.at.clone(), message);
        None
    }

    fn server(&mut self, server: &model::Server) -> Option<settings::Server> {
        let mut found = Some(Ipv4Addr::UNSPECIFIED.into());
        let address = match &server.address {
            Address::Tcp { host, port: Port::Fixed(port) } => {
                found = self.initial(host, server)?;
                let ip = found.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
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
            cookie: said.cookie.clone(),
            backup: said.backup,
            disabled: said.disabled,
            unresolved: found.is_none(),
            // As HAProxy: the greater one where it is alone, or not the lesser.
            maxconn: said.maxconn.max(said.minconn),
            minconn: if said.minconn < said.maxconn { said.minconn } else { 0 },
            slowstart: said.slowstart_ms.div_ceil(1_000),
            maxqueue: said.maxqueue,
            shutdown_on_down: said.on_marked_down_shutdown,
            up_shuts_backups: said.on_marked_up_shutdown_backup,
            pool_max_conn: said.pool_max_conn,
            pool_purge_delay: millis(said.pool_purge_delay_ms),
            max_reuse: said.max_reuse,
            send_proxy: match said {
                ServerSettings { send_proxy_v2: true, .. } => Some(Version::V2),
                ServerSettings { send_proxy: true, .. } => Some(Version::V1),
                _ => None,
            },
            checked: said.check,
            observe: said
                .observe
                .filter(|_| said.check)
                .map(|layer| Observe { layer, limit: said.error_limit }),
            host: match &server.address {
                Address::Tcp { host: Host::Name(name), .. } => Some(name.clone()),
                _ => None,
            },
            ..settings::Server::new(&server.name, address)
        })
    }

    fn plan(&mut self, at: (usize, usize), proxy: &Proxy, server: &model::Server) -> Plan {
        let said = &server.settings;
        let ip = match &said.check_addr {
            Some(Address::Tcp { host, .. }) => self.lookup(host, &server.at),
            _ => None,
        };
        let timeouts = &proxy.settings.timeouts;
        let elsewhere = said.check_port.is_some() || said.check_addr.is_some();
        Plan {
            server: at,
            script: Arc::new(proxy.settings.check.clone()),
            interval: millis(said.inter_ms),
            fast: said.fast_inter_ms.map(millis),
            down: said.down_inter_ms.map(millis),
            rise: said.rise,
            fall: said.fall,
            place: Place { ip, port: said.check_port },
            sends_proxy: said.check_send_proxy
                || (!elsewhere && (said.send_proxy || said.send_proxy_v2)),
            connect_timeout: time(timeouts.connect),
            check_timeout: time(timeouts.check),
            spread: self.config.global.spread_checks,
            on_error: said.on_error,
            log_each: proxy.settings.switches.has(Switch::LogHealthChecks),
        }
    }
}
