//! From a checked configuration to what the proxy's engine, its checks and its logs are told.

use crate::config::address::{Address, Host, Port};
use crate::config::labels::Resolver;
use crate::config::log::{Format, LogTarget};
use crate::config::model::{self, Balance, Config, HashFunction, Kind, Proxy, Settings as Said};
use crate::config::options::{CloseMode, Switch};
use crate::config::{Findings, model::Mode};
use crate::http::balance::{self, Algorithm, Function, Hashing};
use crate::http::health::Plan;
use crate::http::logline::{self, LogFormat};
use crate::http::rules::{Page, Routes, RuleSet};
use crate::http::settings::{self, Connection, Settings};
use crate::http::syslog::{Header, Place, Style, Target};
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
            v6only: bind.v6only,
            backlog: bind.backlog.or(said.backlog).unwrap_or(0),
            transparent: bind.transparent,
            interface: bind.interface.clone(),
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
            let Some(told) = self.server(server) else { continue };
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

/// Each proxy's way of logging, its targets opened.
pub fn logs(
    config: &Config,
    resolver: Resolver<'_>,
    findings: &mut Findings,
) -> HashMap<String, Style> {
    let global = &config.global;
    let mut opened: Vec<(LogTarget, Target)> = Vec::new();
    let mut styles: HashMap<String, Style> = HashMap::new();
    for proxy in config.proxies.iter().filter(|proxy| !proxy.settings.disabled) {
        let said = &proxy.settings;
        let globals = global.logs.iter().filter(|_| said.log_global);
        let mut targets = Vec::new();
        for log in globals.chain(&said.logs) {
            let known = opened.iter().find(|entry| entry.0 == *log).map(|entry| entry.1.clone());
            let target = known.or_else(|| match target(log, resolver) {
                Ok(target) => {
                    opened.push((log.clone(), target.clone()));
                    Some(target)
                }
                Err(why) => {
                    let message = format!("cannot log to '{}': {why}", log.address);
                    findings.alert(proxy.at.clone(), message);
                    None
                }
            });
            targets.extend(target);
        }
        let format = match &said.log_format {
            model::LogFormat::Default => logline::DEFAULT,
            model::LogFormat::Tcp => logline::TCP,
            model::LogFormat::Http => logline::HTTP,
            model::LogFormat::Clf => logline::CLF,
            model::LogFormat::Custom(format) => format,
        };
        let format = LogFormat::parse(format).or_else(|_| LogFormat::parse(logline::DEFAULT));
        let Ok(format) = format else { continue };
        let own_name = || logline::Surroundings::here().host;
        let style = Style {
            targets,
            format,
            tag: said.log_tag.as_ref().or(global.log_tag.as_ref()).map_or("teardown", |t| t).into(),
            hostname: global
                .log_send_hostname
                .as_ref()
                .map(|name| if name.is_empty() { own_name() } else { name.clone() }),
            dont_log_normal: said.switches.has(Switch::DontLogNormal),
            separate_errors: said.switches.has(Switch::LogSeparateErrors),
        };
        // A frontend and a backend may share a name: the frontend's style is for its sessions.
        if proxy.kind.is_frontend() || !styles.contains_key(&proxy.name) {
            styles.insert(proxy.name.clone(), style);
        }
    }
    styles
}

fn target(log: &LogTarget, resolver: Resolver<'_>) -> std::io::Result<Target> {
    let place = match &log.address {
        Address::Tcp { host, port: Port::Fixed(port) } => {
            let ip = match host {
                Host::Ip(ip) if ip.is_unspecified() => Some(std::net::Ipv4Addr::LOCALHOST.into()),
                Host::Ip(ip) => Some(*ip),
                Host::Name(name) => resolver(name).first().copied(),
            };
            let unknown = || std::io::Error::other("the host name is not known");
            Place::Udp(SocketAddr::new(ip.ok_or_else(unknown)?, *port))
        }
        Address::Unix(path) => Place::Unix(path.clone()),
        Address::Fd(fd) => Place::Fd(*fd),
        _ => return Err(std::io::Error::other("this kind of address takes no log lines")),
    };
    let header = match log.format {
        Format::Local => Header::Local,
        Format::Rfc3164 => Header::Rfc3164,
        Format::Rfc5424 => Header::Rfc5424,
        Format::Priority => Header::Priority,
        Format::Short => Header::Short,
        Format::Timed => Header::Timed,
        Format::Iso => Header::Iso,
        Format::Raw => Header::Raw,
    };
    let mut target = Target::open(place)?;
    target.header = header;
    target.facility = log.facility;
    target.level = log.level;
    target.min_level = log.min_level;
    target.length = usize::try_from(log.length).unwrap_or(usize::MAX);
    Ok(target)
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

/// 0 is for ever, as not set is.
fn time(ms: Option<u32>) -> Option<Duration> {
    ms.filter(|ms| *ms > 0).map(millis)
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
mod tests {
    use super::*;
    use crate::config::{Strictness, parse, source::Source};
    use crate::http::hooks::Request;

    fn put_together(text: &str) -> (Assembled, Findings) {
        let source = Source { name: "t.cfg".into(), text: text.as_bytes().to_vec() };
        let (config, mut findings) = parse(&[source], Strictness::Strict, &|_| None);
        assert!(!findings.is_fatal(), "{findings}");
        let resolver =
            |name: &str| if name == "web" { vec![[10, 0, 0, 9].into()] } else { Vec::new() };
        let assembled = assemble(&config, &resolver, &|_| Vec::new(), &mut findings);
        (assembled, findings)
    }

    const TEXT: &str = "\
defaults
 mode http
 timeout client 1m
 timeout server 0
 timeout connect 5s
 option http-server-close
frontend in
 bind 127.0.0.1:80-81
 acl api path_beg -i /API/
 use_backend api if api
 http-request deny if { hdr(x-bad) -m found } !api
 http-request set-header X-Who %[src]:%cp
 default_backend web
backend web
 balance source
 server w1 web:8080 check rise 4 close passive rst
 server w2 10.0.0.2:8080 backup
backend api
 server a1 127.0.0.1:9000
listen both
 bind :90
 mode tcp
 server x /run/x.sock
";

    #[test]
    fn sections_become_frontends_and_backends() {
        let (assembled, findings) = put_together(TEXT);
        assert!(!findings.is_fatal(), "{findings}");
        let settings = &assembled.settings;
        let names = |list: &mut dyn Iterator<Item = &String>| list.cloned().collect::<Vec<_>>();
        assert_eq!(names(&mut settings.frontends.iter().map(|f| &f.name)), ["in", "both"]);
        assert_eq!(names(&mut settings.backends.iter().map(|b| &b.name)), ["web", "api", "both"]);
        let front = &settings.frontends[0];
        assert_eq!((front.binds.len(), front.default_backend), (2, Some(0)));
        assert_eq!(front.connection, Connection::ServerClose);
        let web = &settings.backends[0];
        assert_eq!((web.timeouts.server, web.timeouts.connect), (None, Some(millis(5_000))));
        assert_eq!(web.servers[0].address, SocketAddr::from(([10, 0, 0, 9], 8080)).into());
        assert!(web.servers[0].checked && web.servers[1].backup);
        assert_eq!(settings.frontends[1].default_backend, Some(2));
        assert_eq!((assembled.checks.len(), &assembled.rises[0]), (1, &vec![4, 2]));
        assert!(assembled.closes.contains_key(&(0, 0)));
    }

    #[test]
    fn rules_and_routes_do_what_they_say() {
        let (assembled, _) = put_together(TEXT);
        let front = &assembled.settings.frontends[0];
        let bad = [httparse::Header { name: "X-Bad", value: b"1" }];
        let client: Option<SocketAddr> = "192.0.2.7:4000".parse().ok();
        let request = |target, fields| Request {
            method: "GET",
            target,
            minor: 1,
            fields,
            client,
            local: None,
        };
        let route = front.route.as_ref().unwrap();
        assert_eq!(route.backend(Some(&request("/api/x", &[])), client), Some(1));
        assert_eq!(route.backend(Some(&request("/apix", &[])), client), None);
        let rules = front.rules.as_ref().unwrap();
        let mut edits = Vec::new();
        let decision = rules.request(&request("/", &bad), &mut edits);
        assert_eq!(decision, crate::http::hooks::Decision::Deny(403));
        let decision = rules.request(&request("/api/", &bad), &mut edits);
        assert_eq!(decision, crate::http::hooks::Decision::Pass);
        let set = crate::http::hooks::Edit::Set("X-Who".into(), b"192.0.2.7:4000".to_vec());
        assert_eq!(edits, [set]);
    }

    #[test]
    fn names_that_nobody_knows_are_found() {
        let (_, findings) = put_together(
            "listen a\n bind :1\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n \
             server s nowhere:80\n server t 10.0.0.1\n",
        );
        let said = findings.to_string();
        assert!(said.contains("t.cfg:6:9: the host name 'nowhere' is not known"), "{said}");
        assert!(said.contains("server 't' at '10.0.0.1'"), "{said}");
    }
}
