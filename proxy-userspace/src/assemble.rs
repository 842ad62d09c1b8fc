//! From a checked configuration to what the proxy's engine, its checks and its logs are told.

mod backend;
mod frontend;
mod logs;
mod numbers;
mod terms;
#[cfg(test)]
mod tests;

pub use logs::logs;
pub use numbers::Numbers;

use crate::config::Findings;
use crate::config::address::Host;
use crate::config::labels::Resolver;
use crate::config::model::{Config, Proxy};
use crate::config::token::Position;
use crate::http::health::Plan;
use crate::http::hooks::Rules;
use crate::http::rules::{Admission, Inspection, Monitor, Page, RuleSet, TcpRule, TcpRules};
use crate::http::settings::Settings;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use terms::global;

/// Everything that a configuration asks for.
#[derive(Debug)]
pub struct Assembled {
    /// For the engine.
    pub settings: Settings,
    /// For the health checks.
    pub checks: Vec<Plan>,
    /// What each server's health begins with, by backend and place.
    pub healths: Vec<Vec<u32>>,
    /// The numbers and names that statistics show.
    pub numbers: Numbers,
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
        healths: Vec::new(),
        numbers: Numbers::of(config, &fronts, &backends),
    };
    for (place, proxy) in backends.iter().enumerate() {
        builder.backend(place, proxy, &mut assembled);
    }
    for proxy in &fronts {
        let frontend = builder.frontend(proxy);
        assembled.settings.frontends.push(frontend);
    }
    logs::names(config, resolver, findings);
    assembled
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
    /// A section's rules and pages, if it has any.
    fn rules(&self, proxy: &Proxy) -> Option<Arc<dyn Rules>> {
        let uri = proxy.settings.monitor_uri.clone().filter(|_| proxy.kind.is_frontend());
        let rules = RuleSet {
            request: proxy.http_request.clone(),
            response: proxy.http_response.clone(),
            last: proxy.http_after_response.clone(),
            pages: (self.pages)(proxy),
            redirects: proxy.redirects.clone(),
            monitor: uri.map(|uri| Monitor { uri, fails: proxy.monitor_fails.clone() }),
            longest: self.longest(),
        };
        let is_idle = rules.request.is_empty()
            && rules.response.is_empty()
            && rules.last.is_empty()
            && rules.pages.is_empty()
            && rules.redirects.is_empty()
            && rules.monitor.is_none();
        (!is_idle).then(|| Arc::new(rules) as _)
    }

    /// A section's rules on connections and sessions, if it has any.
    fn admission(&self, proxy: &Proxy) -> Option<Arc<Admission>> {
        let said = &proxy.tcp_request;
        said.is_of_frontends().then(|| {
            let (connection, session) = (self.tcp(&said.connection), self.tcp(&said.session));
            Arc::new(Admission { connection, session })
        })
    }

    /// A section's rules on what a side sends, if it has any.
    fn inspection(&self, rules: &[TcpRule], delay: Option<u32>) -> Option<Arc<Inspection>> {
        (!rules.is_empty())
            .then(|| Arc::new(Inspection { rules: self.tcp(rules), delay: terms::time(delay) }))
    }

    fn tcp(&self, rules: &[TcpRule]) -> TcpRules {
        TcpRules { rules: rules.to_vec(), longest: self.longest() }
    }

    /// How long a variable's text may be: HAProxy's samples are in buffers, with a byte for their end.
    fn longest(&self) -> usize {
        global(self.config).bufsize - 1
    }

    /// The address of a host; what is not known is a finding.
    fn lookup(&mut self, host: &Host, at: &Position) -> Option<IpAddr> {
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
}
