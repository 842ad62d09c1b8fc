//! What may be changed while the proxy runs.

mod order;

use super::{Scene, checks};
use crate::admin::session::DENIED;
use crate::config::model::AccessLevel;
use crate::http::counters::{Count, Counters};
use crate::http::event::Cause;
use crate::http::health::follow;
use crate::http::live::{Admin, Backend, Server};
use crate::http::settings::ServerAddress;
use order::Order;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

/// `set server <b>/<s> state|weight|addr|health ...`. An empty answer is a good one, as in HAProxy.
pub(super) fn server(scene: &Scene, name: Option<&&str>, words: &[&str]) -> String {
    let (backend, server) = match scene.server(name) {
        Ok(found) => found,
        Err(why) => return why,
    };
    let order = Order { scene, backend, server, before: server.state(), served: backend.serves() };
    let answer = change(&order, words);
    if server.state() != order.before {
        let at = (backend.index, server.index);
        follow::follow(&scene.proxies, &scene.board, &*scene.logger, at);
    }
    answer
}

fn change(order: &Order<'_>, words: &[&str]) -> String {
    const USAGE: &str = "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port \
         | agent-send | check-addr | check-port | fqdn | health | ssl | state | weight\n";
    let &Order { scene, backend, server, before, .. } = order;
    let value = words.get(1).copied().unwrap_or_default();
    match words.first().copied() {
        Some("state") => order.state(value),
        Some("health") => order.health(value),
        Some(what @ ("weight" | "addr")) => {
            let answer = match what {
                "weight" => set_weight(backend, server, value),
                _ => address(server, words),
            };
            if before.admin == Admin::Maintenance && server.admin() != before.admin {
                // It had no address.
                order.leave_maintenance();
            }
            backend.changed(server, before);
            // Without weight it is no server for requests.
            order.went();
            answer
        }
        Some(what @ ("check-addr" | "check-port")) => {
            if !server.checking.load(Relaxed) {
                return "health checks are not enabled on this server".to_owned();
            }
            let (at, words) = ((backend.index, server.index), words.get(1..).unwrap_or_default());
            let done = match what {
                "check-addr" => checks::address(scene, at, words),
                _ => checks::set_port(scene, at, words),
            };
            done.err().unwrap_or_default()
        }
        // As HAProxy where a server has none of it.
        Some("agent" | "agent-send") => "agent checks are not enabled on this server.\n".to_owned(),
        Some("agent-addr" | "agent-port") => {
            "agent checks are not enabled on this server".to_owned()
        }
        Some("fqdn") => {
            "set server <b>/<s> fqdn failed because no resolution is configured.\n".to_owned()
        }
        Some("ssl") => "'set server <srv> ssl' cannot be set.  default-server should define ssl \
                        settings\n"
            .to_owned(),
        _ => USAGE.to_owned(),
    }
}

fn set_weight(backend: &Backend, server: &Server, value: &str) -> String {
    let initial = i64::from(server.settings.weight);
    let weight = match leading_number(value) {
        _ if value.is_empty() => return "Require <weight> or <weight%>.\n".to_owned(),
        None => return "Empty weight string empty or preceded by garbage".to_owned(),
        Some((..0, "%")) => return "Relative weight must be positive.\n".to_owned(),
        Some((percent, "%")) => initial.saturating_mul(percent).saturating_div(100).min(256),
        Some((weight @ 0..=256, "")) => weight,
        Some((0..=256, _)) => return "Trailing garbage in weight string".to_owned(),
        Some(_) => {
            return "Absolute weight can only be between 0 and 256 inclusive.\n".to_owned();
        }
    };
    if weight != 0 && weight != initial && !backend.settings.balance.is_dynamic() {
        return "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n"
            .to_owned();
    }
    server.set_weight(u32::try_from(weight).unwrap_or_default());
    String::new()
}

/// The number that a word begins with, and what stands behind it, as C's `strtol` finds them.
pub(super) fn leading_number(word: &str) -> Option<(i64, &str)> {
    let digits = word.trim_start_matches(['+', '-']);
    let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let end = word.len() - digits.len() + length;
    Some((word[..end].parse().ok()?, &word[end..]))
}

fn address(server: &Server, words: &[&str]) -> String {
    let Some(text) = words.get(1) else {
        return "set server <b>/<s> addr requires an address and optionally a port.\n".to_owned();
    };
    let said = moved(server, text, words.get(2..).unwrap_or_default());
    format!("{said} by 'stats socket command'\n")
}

/// Moves a server, and says what has changed.
fn moved(server: &Server, text: &str, words: &[&str]) -> String {
    let Ok(ip) = text.parse::<IpAddr>() else { return format!("Invalid addr '{text}'") };
    let ServerAddress::Inet(old) = server.address() else {
        return "Update for the current server address family is only supported through \
                configuration file"
            .to_owned();
    };
    let ip_part = if old.ip() == ip {
        "no need to change the addr".to_owned()
    } else {
        format!("IP changed from '{}' to '{ip}'", old.ip())
    };
    let (port, port_part) = match words {
        ["port", rest @ ..] => {
            let text = rest.first().copied().unwrap_or_default();
            let Ok(port) = text.parse() else {
                return format!("{ip_part}, problem converting port '{text}' to an int");
            };
            match old.port() {
                old if old == port => (port, ", no need to change the port".to_owned()),
                old => (port, format!(", port changed from '{old}' to '{port}'")),
            }
        }
        _ => (old.port(), String::new()),
    };
    let new = SocketAddr::new(ip, port);
    if new != old {
        server.set_address(new.into());
    }
    ip_part + &port_part
}

/// `get weight <b>/<s>`.
pub(super) fn weight(scene: &Scene, words: &[&str]) -> String {
    match scene.find(words.first()) {
        Ok((_, server)) => format!("{} (initial {})\n", server.weight(), server.settings.weight),
        Err(why) => why,
    }
}

/// `set maxconn server <b>/<s> <value>`.
pub(super) fn maxconn_server(scene: &Scene, words: &[&str]) -> String {
    let (backend, server) = match scene.server(words.first()) {
        Ok(found) => found,
        Err(why) => return why,
    };
    let most = match words.get(1).map(|value| leading_number(value)) {
        None => return "Require <maxconn>.\n".to_owned(),
        Some(None) => return "maxconn string empty or preceded by garbage".to_owned(),
        Some(Some((most, ""))) => u32::try_from(most),
        Some(Some(_)) => return "Trailing garbage in maxconn string".to_owned(),
    };
    let Ok(most) = most else { return "A maxconn is 0 or more.\n".to_owned() };
    server.maxconn.store(most, Relaxed);
    backend.changed(server, server.state());
    String::new()
}

/// `shutdown sessions server <b>/<s>`.
pub(super) fn shutdown_sessions(scene: &Scene, words: &[&str]) -> String {
    match scene.server(words.first()) {
        Ok((_, server)) => {
            server.shutdown_sessions(Cause::Killed);
            String::new()
        }
        Err(why) => why,
    }
}

/// `clear counters [all]`: the highest values, or everything, which is for admins.
pub(super) fn clear(scene: &Scene, words: &[&str], level: AccessLevel) -> String {
    let everything = words.first() == Some(&"all");
    if everything && level < AccessLevel::Admin {
        return DENIED.to_owned();
    }
    let counters = |counters: &Counters| {
        if everything {
            counters.clear();
        } else {
            counters.clear_most();
        }
    };
    for frontend in &scene.proxies.frontends {
        counters(&frontend.counters);
        frontend.sessions.clear();
        frontend.session_rate.clear();
        frontend.request_rate.clear();
        resample(everything, &frontend.counters, &frontend.session_rate, Count::Sessions);
        resample(everything, &frontend.counters, &frontend.request_rate, Count::Requests);
    }
    scene.proxies.session_rate.clear();
    if everything {
        scene.proxies.session_rate.sample(scene.proxies.sessions());
    }
    for backend in &scene.proxies.backends {
        counters(&backend.counters);
        backend.sessions.clear();
        backend.queue.clear_max();
        backend.session_rate.clear();
        resample(everything, &backend.counters, &backend.session_rate, Count::Sessions);
        for server in &backend.servers {
            counters(&server.counters);
            server.sessions.clear();
            server.queue.clear_max();
            server.session_rate.clear();
            resample(everything, &server.counters, &server.session_rate, Count::Sessions);
        }
    }
    if everything {
        scene.board.clear();
    }
    String::new()
}

/// A rate is a difference of totals: after zeroing one, it begins anew.
fn resample(
    everything: bool,
    counters: &Counters,
    rate: &crate::http::counters::Rate,
    count: Count,
) {
    if everything {
        rate.sample(counters.total(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::balance::{Algorithm, Balance, Hashing};
    use crate::http::live::Proxies;
    use crate::http::settings;
    use std::sync::Arc;

    /// What a server of weight 10 says to each, and what it weighs in the end.
    fn said(algorithm: Algorithm, hashing: Hashing, values: &[&str]) -> (Vec<String>, u32) {
        let balance = Arc::new(Balance::new(algorithm, hashing, 1));
        let mut backend = settings::Backend::new("b", balance);
        let server = settings::Server::new("s", SocketAddr::from(([127, 0, 0, 1], 1)).into());
        backend.servers.push(settings::Server { weight: 10, ..server });
        let settings = settings::Settings { backends: vec![backend], ..Default::default() };
        let proxies = Proxies::new(settings, 1, Arc::default());
        let backend = &proxies.backends[0];
        let server = &backend.servers[0];
        let said = values.iter().map(|value| set_weight(backend, server, value)).collect();
        (said, server.weight())
    }

    /// As a running HAProxy 2.6.12 answers.
    #[test]
    fn weights_are_read_as_haproxy_reads_them() {
        let dynamic = |value: &str| {
            let (said, weight) = said(Algorithm::RoundRobin, Hashing::default(), &[value]);
            (said[0].clone(), weight)
        };
        for (value, weight) in [("+5", 5), ("300%", 30), ("99999%", 256), ("0", 0), ("256", 256)] {
            assert_eq!(dynamic(value), (String::new(), weight), "{value}");
        }
        for (value, part) in [
            ("", "Require"),
            ("x", "preceded by garbage"),
            ("%", "preceded by garbage"),
            ("10x", "Trailing garbage"),
            ("10%x", "Trailing garbage"),
            ("-1", "between 0 and 256"),
            ("257", "between 0 and 256"),
            ("-1%", "must be positive"),
        ] {
            let (said, weight) = dynamic(value);
            assert!(said.contains(part) && weight == 10, "{value}: {said}");
        }
    }

    #[test]
    fn static_algorithms_know_a_weight_or_none() {
        let consistent = Hashing { consistent: true, ..Hashing::default() };
        let values = ["50%", "20", "0", "10", "0%", "100%", "9"];
        for algorithm in [Algorithm::StaticRoundRobin, Algorithm::Source] {
            let (said, weight) = said(algorithm, Hashing::default(), &values);
            let refused: Vec<bool> = said.iter().map(|said| said.contains("static LB")).collect();
            assert_eq!(refused, [true, true, false, false, false, false, true]);
            assert_eq!(weight, 10);
        }
        assert_eq!(said(Algorithm::Source, consistent, &values), (vec![String::new(); 7], 9));
    }
}
