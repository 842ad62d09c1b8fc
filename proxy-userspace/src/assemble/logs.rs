//! Where and how each proxy logs, by the configuration.

use crate::config::Findings;
use crate::config::address::{Address, Host, Port};
use crate::config::format::{self, Place as Filled};
use crate::config::labels::Resolver;
use crate::config::log::LogTarget;
use crate::config::model::{self, Config, Proxy};
use crate::config::options::Switch;
use crate::http::format::Surroundings;
use crate::http::logline;
use crate::http::settings::Mode;
use crate::http::syslog::{Place, Style, Target};
use std::collections::HashMap;
use std::net::SocketAddr;

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
        let mut targets = Vec::new();
        for log in logs_of(config, proxy) {
            let known = opened.iter().find(|entry| entry.0 == *log).map(|entry| entry.1.clone());
            let target = known.or_else(|| match target(log, resolver) {
                Ok(target) => {
                    opened.push((log.clone(), target.clone()));
                    Some(target)
                }
                Err(why) => {
                    refuse(log, &why, findings);
                    None
                }
            });
            targets.extend(target);
        }
        let named = |text| format::format(text, Filled::Log).unwrap_or_default();
        let format = match &said.log_format {
            // There is no request that its line could show: as HAProxy, which says so.
            model::LogFormat::Http | model::LogFormat::Clf if said.mode == Mode::Tcp => {
                named(logline::TCP)
            }
            model::LogFormat::Default => named(logline::DEFAULT),
            model::LogFormat::Tcp => named(logline::TCP),
            model::LogFormat::Http => named(logline::HTTP),
            model::LogFormat::Clf => named(logline::CLF),
            model::LogFormat::Custom(format, _) => format.clone(),
        };
        let own_name = || Surroundings::here().host.clone();
        let style = Style {
            targets,
            format,
            tag: said.log_tag.as_ref().or(global.log_tag.as_ref()).map_or("teardown", |t| t).into(),
            hostname: global
                .log_send_hostname
                .as_ref()
                .map(|name| if name.is_empty() { own_name() } else { name.clone() }),
            dont_log_normal: said.switches.has(Switch::DontLogNormal),
            unique_id: said.unique_id_format.clone().filter(|_| said.mode == Mode::Tcp),
            separate_errors: said.switches.has(Switch::LogSeparateErrors),
        };
        // A frontend and a backend may share a name: the frontend's style is for its sessions.
        if proxy.kind.is_frontend() || !styles.contains_key(&proxy.name) {
            styles.insert(proxy.name.clone(), style);
        }
    }
    styles
}

/// Tells, once each, of log servers that nobody knows the name of: the sockets are opened only at the
/// start.
pub(super) fn names(config: &Config, resolver: Resolver<'_>, findings: &mut Findings) {
    let mut seen: Vec<&LogTarget> = Vec::new();
    for proxy in config.proxies.iter().filter(|proxy| !proxy.settings.disabled) {
        for log in logs_of(config, proxy) {
            if seen.contains(&log) {
                continue;
            }
            seen.push(log);
            if let Err(why) = place(log, resolver) {
                refuse(log, &why, findings);
            }
        }
    }
}

/// Where a proxy logs.
fn logs_of<'a>(config: &'a Config, proxy: &'a Proxy) -> impl Iterator<Item = &'a LogTarget> {
    let globals = config.global.logs.iter().filter(|_| proxy.settings.log_global);
    globals.chain(&proxy.settings.logs)
}

fn refuse(log: &LogTarget, why: &std::io::Error, findings: &mut Findings) {
    findings.alert(log.at.clone(), format!("cannot log to '{}': {why}", log.address));
}

fn place(log: &LogTarget, resolver: Resolver<'_>) -> std::io::Result<Place> {
    Ok(match &log.address {
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
    })
}

fn target(log: &LogTarget, resolver: Resolver<'_>) -> std::io::Result<Target> {
    let mut target = Target::open(place(log, resolver)?)?;
    target.header = log.format;
    target.facility = log.facility;
    target.level = log.level;
    target.min_level = log.min_level;
    target.length = usize::try_from(log.length).unwrap_or(usize::MAX);
    Ok(target)
}
