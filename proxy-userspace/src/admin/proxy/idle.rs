//! `show servers conn`.

use super::Scene;
use crate::http::engine::{IdleByServer, IdleInfo};
use crate::http::settings::ServerAddress;
use std::fmt::Write;

/// `show servers conn [<backend>]`: the connections to each server, used and idle. How many are
/// needed is the most that requests ever used at once.
pub(super) fn servers(scene: &Scene, workers: &[IdleByServer], words: &[&str]) -> String {
    if words.first().is_some_and(|name| scene.proxies.backend(name).is_none()) {
        return "Can't find backend.\n".to_owned();
    }
    let mut out = format!(
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb \
         safe_nb idle_lim idle_cur idle_per_thr[{}]\n",
        workers.len()
    );
    for backend in &scene.proxies.backends {
        let name = &backend.settings.name;
        if words.first().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let number = scene.numbers.backends.get(backend.index).copied().unwrap_or_default();
        for server in &backend.servers {
            let at = (backend.index, server.index);
            let (address, port) = match server.address() {
                ServerAddress::Inet(address) => (address.ip().to_string(), address.port()),
                ServerAddress::Unix(_) => ("-".to_owned(), 0),
            };
            let idle: Vec<IdleInfo> =
                workers.iter().map(|all| all.get(&at).copied().unwrap_or_default()).collect();
            let fresh: usize = idle.iter().map(|info| info.fresh).sum();
            let proven: usize = idle.iter().map(|info| info.proven).sum();
            let limit = server.settings.pool_max_conn.map_or(-1, i64::from);
            let most = server.sessions.max();
            // Writing to a String does not fail.
            let _ = write!(
                out,
                "{name}/{} {number}/{} {address} {port} - {} {} {most} {most} {fresh} {proven} \
                 {limit} {}",
                server.settings.name,
                scene.numbers.server(at),
                server.settings.pool_purge_delay.as_millis(),
                server.sessions.now(),
                fresh + proven,
            );
            for info in idle {
                let _ = write!(out, " {}", info.fresh + info.proven);
            }
            out.push('\n');
        }
    }
    out
}
