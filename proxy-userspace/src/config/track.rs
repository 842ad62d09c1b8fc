//! `track`: whom servers follow.

use super::diag::Findings;
use super::model::{Config, Proxy, Server};
use crate::near;

/// The server that `server` of `proxy` tracks, and where it stands, if there is one.
pub(crate) fn target<'a>(
    config: &'a Config,
    proxy: &'a Proxy,
    server: &Server,
) -> Option<(&'a Proxy, &'a Server)> {
    let (backend, name) = server.settings.track.as_ref()?;
    let of = match backend {
        None => proxy,
        Some(backend) => {
            let mut known = config.proxies.iter().filter(|proxy| proxy.kind.is_backend());
            known.find(|proxy| proxy.name == *backend)?
        }
    };
    of.servers.iter().find(|server| server.name == *name).map(|server| (of, server))
}

/// A server, whom it tracks, and so on.
pub(crate) fn chain<'a>(
    config: &'a Config,
    proxy: &'a Proxy,
    server: &'a Server,
) -> impl Iterator<Item = &'a Server> {
    let next = |&(proxy, server): &(&'a Proxy, &'a Server)| target(config, proxy, server);
    // A circle is an error, but may be looked at before anybody has heard of it.
    let most = config.proxies.iter().map(|proxy| proxy.servers.len()).sum();
    std::iter::successors(Some((proxy, server)), next).map(|(_, server)| server).take(most)
}

/// Looks whether those whom a proxy's servers track exist, and have checks at the end of the chain.
pub(super) fn check(config: &Config, proxy: &Proxy, findings: &mut Findings) {
    for server in proxy.servers.iter().filter(|server| server.settings.track.is_some()) {
        if let Err(why) = follow(config, proxy, server) {
            findings.alert(server.at.clone(), format!("server '{}': {why}", server.name));
        }
    }
}

fn follow(config: &Config, proxy: &Proxy, server: &Server) -> Result<(), String> {
    if server.settings.check {
        return Err("'check' and 'track' exclude each other: say one of them".to_owned());
    }
    let (mut of, mut at) = (proxy, server);
    let most = config.proxies.iter().map(|proxy| proxy.servers.len()).sum();
    for _ in 0..most {
        let Some((backend, name)) = &at.settings.track else {
            return match at.settings.check {
                true => Ok(()),
                false => Err(format!("it tracks '{}/{}', which has no 'check'", of.name, at.name)),
            };
        };
        let Some(next) = target(config, of, at) else {
            let in_it = backend.as_deref().unwrap_or(&of.name);
            let known = config.proxies.iter().find(|proxy| proxy.name == in_it);
            let names = known.iter().flat_map(|proxy| &proxy.servers);
            let hint = near::hint(name, names.map(|server| server.name.as_str()));
            return Err(format!("it tracks '{in_it}/{name}', which does not exist{hint}"));
        };
        (of, at) = next;
        if of.settings.disabled {
            let path = format!("{}/{}", of.name, at.name);
            return Err(format!("it tracks '{path}', which is disabled with its section"));
        }
    }
    Err("it tracks itself in the end".to_owned())
}
