//! What can only be seen once every section is there: names that must exist, or exist once.

use super::diag::Findings;
use super::model::{Config, ErrorWord, Kind, LogFormat, Proxy};
use super::token::Position;
use super::{track, unused};
use crate::http::capture::Captures;
use crate::http::live::Layer;
use crate::http::rules::Action;
use crate::http::sample::Message;
use crate::http::settings::Mode;
use crate::near;
use std::collections::{HashMap, HashSet};

/// Checks the references between sections.
pub(super) fn check(config: &mut Config, findings: &mut Findings) {
    names(config, findings);
    rules_of_defaults(config, findings);
    http_errors(config, findings);
    ids(config, findings);
    number(config.proxies.iter_mut().map(|proxy| &mut proxy.id).collect(), 2);
    for proxy in &mut config.proxies {
        number(proxy.servers.iter_mut().map(|server| &mut server.id).collect(), 1);
    }
    let most = config.global.cookielen.unwrap_or(63);
    for proxy in config.proxies.iter_mut().filter(|proxy| !proxy.settings.disabled) {
        captures(most, proxy, findings);
        slots(proxy, findings);
    }
    for proxy in &config.proxies {
        if proxy.settings.disabled {
            continue;
        }
        servers(proxy, findings);
        responses(proxy, findings);
        listeners(proxy, findings);
        timeouts(proxy, findings);
        log_format(proxy, findings);
        unused::check(&config.global, proxy, findings);
        backends(config, proxy, findings);
        track::check(config, proxy, findings);
    }
    for proxy in &mut config.proxies {
        // A backend has no clients, and a frontend no servers, whatever its defaults say.
        if !proxy.kind.is_frontend() {
            proxy.settings.default_backend = None;
        }
    }
}

/// Rules on what servers send are those of `mode tcp`.
fn responses(proxy: &Proxy, findings: &mut Findings) {
    let is_http = proxy.settings.mode == Mode::Http;
    if is_http && proxy.kind.is_backend() && !proxy.tcp_response.content.is_empty() {
        findings.alert(
            proxy.at.clone(),
            format!(
                "{} '{}' has 'tcp-response content' in mode http, which teardown has not got: \
                 'http-response' has rules on responses",
                proxy.kind.as_str(),
                proxy.name
            ),
        );
    }
}

/// Of a captured cookie no more is kept than all may have.
fn captures(most: usize, proxy: &mut Proxy, findings: &mut Findings) {
    if let Some(cookie) = proxy.captures.cookie.as_mut().filter(|cookie| cookie.length > most) {
        cookie.length = most;
        findings.warn(
            proxy.at.clone(),
            format!(
                "{} '{}' keeps {most} characters of a cookie at most: 'tune.http.cookielen' says so",
                proxy.kind.as_str(),
                proxy.name
            ),
        );
    }
}

/// Looks for rules of frontends that keep something in slots that are not there. Those of backends are
/// for the slots of whichever frontend a request came from.
fn slots(proxy: &Proxy, findings: &mut Findings) {
    if !proxy.kind.is_frontend() {
        return;
    }
    let rules = proxy.http_request.iter().chain(&proxy.http_response);
    let captured = rules.filter_map(|rule| match rule.action {
        Action::Capture(of, at, _) => Some((of, at)),
        _ => None,
    });
    let is_missing = |(of, at): &(Message, usize)| {
        let Captures { request, response, .. } = &proxy.captures;
        *at >= if *of == Message::Request { request } else { response }.len()
    };
    if let Some((of, at)) = { captured }.find(is_missing) {
        let side = if of == Message::Request { "request" } else { "response" };
        findings.alert(
            proxy.at.clone(),
            format!(
                "{} '{}' has a rule that captures into slot {at}, which is not there: the first \
                 'declare capture {side}' makes slot 0",
                proxy.kind.as_str(),
                proxy.name
            ),
        );
    }
}

fn names(config: &Config, findings: &mut Findings) {
    let mut front: HashMap<&str, &Proxy> = HashMap::new();
    let mut back: HashMap<&str, &Proxy> = HashMap::new();
    for proxy in &config.proxies {
        let mut first = None;
        if proxy.kind.is_frontend() {
            first = front.insert(&proxy.name, proxy);
        }
        if proxy.kind.is_backend() {
            first = back.insert(&proxy.name, proxy).or(first);
        }
        if let Some(first) = first {
            findings.alert(
                proxy.at.clone(),
                format!(
                    "{} '{}' has the name of the {} at {}: names must differ",
                    proxy.kind.as_str(),
                    proxy.name,
                    first.kind.as_str(),
                    first.at
                ),
            );
        }
    }
}

/// Looks for `defaults` whose rules would be both a frontend's and a backend's: twice a request's.
fn rules_of_defaults(config: &Config, findings: &mut Findings) {
    let mut first: Vec<(&Position, &Proxy)> = Vec::new();
    for proxy in &config.proxies {
        let Some(defaults) = &proxy.rules_from else { continue };
        let (kind, name) = (proxy.kind.as_str(), &proxy.name);
        let known = first.iter().find(|(at, _)| *at == defaults).map(|(_, other)| other);
        let why = match known {
            _ if proxy.kind == Kind::Listen => "a 'listen' cannot have such".to_owned(),
            _ if proxy.kind == Kind::Backend && proxy.tcp_request.is_of_frontends() => {
                "a backend cannot have 'tcp-request connection' or 'session'".to_owned()
            }
            Some(other) if other.kind != proxy.kind => {
                format!("{} '{}' has them too", other.kind.as_str(), other.name)
            }
            _ => {
                first.push((defaults, proxy));
                continue;
            }
        };
        findings.alert(
            proxy.at.clone(),
            format!(
                "{kind} '{name}' has the rules of the 'defaults' at {defaults}: these are for \
                 frontends or for backends, and {why}"
            ),
        );
    }
}

/// Looks for sections of error pages that are missing, or there twice.
fn http_errors(config: &Config, findings: &mut Findings) {
    let mut known: HashMap<&str, &Position> = HashMap::new();
    for section in &config.http_errors {
        if let Some(first) = known.insert(&section.name, &section.at) {
            let message = format!(
                "http-errors '{}' has the name of the one at {first}: names must differ",
                section.name
            );
            findings.alert(section.at.clone(), message);
        }
    }
    let mut seen = Vec::new();
    for word in config.proxies.iter().flat_map(|proxy| &proxy.settings.error_words) {
        let ErrorWord::Section { name, at, .. } = word else { continue };
        // What stands in 'defaults' is every proxy's.
        if !known.contains_key(name.as_str()) && !seen.contains(&at) {
            seen.push(at);
            let hint = near::hint(name, known.keys().copied());
            findings.alert(at.clone(), format!("there is no section 'http-errors {name}'{hint}"));
        }
    }
}

/// Looks for numbers that were given twice.
fn ids(config: &Config, findings: &mut Findings) {
    let mut first: HashMap<u32, &Proxy> = HashMap::new();
    for proxy in &config.proxies {
        let mut of_binds: HashMap<u32, &Position> = HashMap::new();
        for bind in &proxy.binds {
            if let Some(other) = bind.id.and_then(|id| of_binds.insert(id, &bind.at)) {
                let message =
                    format!("this 'bind' has the id of the one at {other}: ids must differ");
                findings.alert(bind.at.clone(), message);
            }
        }
        let Some(at) = &proxy.id_at else { continue };
        if let Some(other) = first.insert(proxy.id, proxy) {
            let [kind, its] = [proxy, other].map(|proxy| proxy.kind.as_str());
            let message = format!(
                "{kind} '{}' has the id {} of {its} '{}' at {}: ids must differ",
                proxy.name, proxy.id, other.name, other.at
            );
            findings.alert(at.clone(), message);
        }
    }
}

/// Numbers those that have no `id` by their places from `first` on, past what is taken, as HAProxy does.
fn number(ids: Vec<&mut u32>, first: u32) {
    let mut taken: HashSet<u32> = ids.iter().map(|id| **id).collect();
    let mut next = first;
    for id in ids {
        if *id == 0 {
            while !taken.insert(next) {
                next += 1;
            }
            *id = next;
        }
        next += 1;
    }
}

fn servers(proxy: &Proxy, findings: &mut Findings) {
    for rule in &proxy.use_servers {
        let mut names = proxy.servers.iter().map(|server| server.name.as_str());
        if !names.clone().any(|name| name == rule.name) {
            let hint = near::hint(&rule.name, &mut names);
            let message = format!("'{}' has no server '{}'{hint}", proxy.name, rule.name);
            findings.alert(rule.at.clone(), message);
        }
    }
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut ids: HashMap<u32, &str> = HashMap::new();
    for server in &proxy.servers {
        if server.settings.observe == Some(Layer::Seven) && proxy.settings.mode == Mode::Tcp {
            let message = "'observe layer7' is for mode http: there are no answers in mode tcp";
            findings.alert(server.at.clone(), format!("server '{}': {message}", server.name));
        }
        if let Some(line) = seen.insert(&server.name, server.at.line) {
            findings.alert(
                server.at.clone(),
                format!(
                    "'{}' already has a server '{}', in line {line}: names must differ",
                    proxy.name, server.name
                ),
            );
        }
        if let Some(other) = ids.insert(server.id, &server.name) {
            findings.alert(
                server.at.clone(),
                format!("server '{}' has the id {} of server '{other}'", server.name, server.id),
            );
        }
    }
}

fn listeners(proxy: &Proxy, findings: &mut Findings) {
    if proxy.kind.is_frontend() && proxy.binds.is_empty() {
        let kind = proxy.kind.as_str();
        findings.warn(
            proxy.at.clone(),
            format!("{kind} '{}' has no 'bind': nothing will connect to it", proxy.name),
        );
    }
}

fn timeouts(proxy: &Proxy, findings: &mut Findings) {
    let timeouts = &proxy.settings.timeouts;
    let mut missing = Vec::new();
    if proxy.kind.is_frontend() && timeouts.client.unwrap_or(0) == 0 {
        missing.push("client");
    }
    if proxy.kind.is_backend() && !proxy.servers.is_empty() {
        if timeouts.connect.unwrap_or(0) == 0 {
            missing.push("connect");
        }
        if timeouts.server.unwrap_or(0) == 0 {
            missing.push("server");
        }
    }
    if !missing.is_empty() {
        findings.warn(
            proxy.at.clone(),
            format!(
                "{} '{}' has no 'timeout {}': connections may hang for ever",
                proxy.kind.as_str(),
                proxy.name,
                missing.join("', 'timeout ")
            ),
        );
    }
}

fn log_format(proxy: &Proxy, findings: &mut Findings) {
    if let LogFormat::Custom(format, at) = &proxy.settings.log_format
        && proxy.kind.is_frontend()
        && proxy.settings.mode == Mode::Tcp
        && format.needs_http()
    {
        findings.alert(
            at.clone(),
            format!(
                "{} '{}' is in mode tcp and has a 'log-format' of mode http: without requests \
                 there is no %HM, %r, %tr, %TR, %Tr, %Ta and the like (%t, %Tt)",
                proxy.kind.as_str(),
                proxy.name
            ),
        );
    }
}

fn backends(config: &Config, proxy: &Proxy, findings: &mut Findings) {
    if !proxy.kind.is_frontend() {
        return;
    }
    let uses = proxy.use_backends.iter().map(|rule| (&rule.name, &rule.at));
    let default = proxy.settings.default_backend.iter().map(|(name, at)| (name, at));
    for (name, at) in uses.chain(default) {
        let known = || config.proxies.iter().filter(|proxy| proxy.kind.is_backend());
        let Some(backend) = known().find(|backend| backend.name == *name) else {
            let hint = near::hint(name, known().map(|backend| backend.name.as_str()));
            findings.alert(
                at.clone(),
                format!("'{}' sends to backend '{name}', which does not exist{hint}", proxy.name),
            );
            continue;
        };
        if proxy.settings.mode == Mode::Http && backend.settings.mode == Mode::Tcp {
            findings.alert(
                at.clone(),
                format!(
                    "'{}' is in mode http and its backend '{name}' (at {}) in mode tcp: \
                     give both the same mode",
                    proxy.name, backend.at
                ),
            );
        }
    }
}
