//! Names for addresses: which proxy, backend and server a connection belongs to.

use super::address::{Address, Host};
use super::model::{Config, Proxy};
use crate::ends::endpoint;
use proxy_common::key::Endpoint;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What a connection is, by the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label {
    /// The `frontend` or `listen` that clients reach. `None` on a server's connection whose backend
    /// several frontends use, or none.
    pub proxy: Option<Arc<str>>,
    /// The `backend` or `listen` that the server stands in.
    pub backend: Option<Arc<str>>,
    /// The server.
    pub server: Option<Arc<str>>,
    /// The address is one that only health checks use (`port` or `addr` of a `server` line).
    pub check: bool,
}

/// Labels by address and port.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    servers: HashMap<Endpoint, Arc<Label>>,
    /// Servers without a port: whatever the port is.
    hosts: HashMap<[u8; 16], Arc<Label>>,
    binds: HashMap<Endpoint, Arc<Label>>,
    /// `bind :80`: whatever the address is.
    ports: HashMap<u16, Arc<Label>>,
    /// Every server, whatever its address is.
    named: Vec<Arc<Label>>,
    /// Names that could not be looked up, and what for.
    pub unresolved: Vec<String>,
}

/// Looks a host name up: [`crate::host::addresses`] outside of tests.
pub type Resolver<'a> = &'a dyn Fn(&str) -> Vec<IpAddr>;

impl Labels {
    /// The labels of `config`, names looked up with `resolver`.
    #[must_use]
    pub fn new(config: &Config, resolver: Resolver<'_>) -> Self {
        let mut labels = Self::default();
        let mut known: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for proxy in &config.proxies {
            labels.add_binds(proxy);
            let front = frontend_of(config, proxy);
            for server in &proxy.servers {
                let label = |check| {
                    Arc::new(Label {
                        proxy: front.clone(),
                        backend: Some(proxy.name.as_str().into()),
                        server: Some(server.name.as_str().into()),
                        check,
                    })
                };
                labels.named.push(label(false));
                let mut addresses = |host: &Host| match host {
                    Host::Ip(ip) => vec![*ip],
                    Host::Name(name) => {
                        known.entry(name.clone()).or_insert_with(|| resolver(name)).clone()
                    }
                };
                let Address::Tcp { host, .. } = &server.address else { continue };
                let list = addresses(host);
                if list.is_empty() {
                    let at = &server.at;
                    labels.unresolved.push(format!(
                        "{at}: the host name '{host}' of server '{}' is not known",
                        server.name
                    ));
                }
                for ip in &list {
                    labels.add_server(*ip, server.address.port(), label(false));
                }
                let check_hosts = match &server.settings.check_addr {
                    Some(Address::Tcp { host, .. }) => addresses(host),
                    _ => list,
                };
                let port = server.settings.check_port.or(server.address.port());
                let apart = server.settings.check_addr.is_some() || port != server.address.port();
                if apart && server.settings.check {
                    for ip in check_hosts {
                        labels.add_server(ip, port, label(true));
                    }
                }
            }
        }
        labels
    }

    /// The label of a connection that `orig` opened to `resp`, if the configuration names it.
    #[must_use]
    pub fn of(&self, resp: &Endpoint) -> Option<&Label> {
        self.servers
            .get(resp)
            .or_else(|| self.binds.get(resp))
            .or_else(|| self.hosts.get(&resp.addr))
            .or_else(|| self.ports.get(&resp.port))
            .map(AsRef::as_ref)
    }

    /// Every server's endpoint with its label: what rules by server name apply to.
    pub fn servers(&self) -> impl Iterator<Item = (&Endpoint, &Label)> {
        self.servers.iter().map(|(endpoint, label)| (endpoint, label.as_ref()))
    }

    /// Every label that there is, some more than once.
    pub fn all(&self) -> impl Iterator<Item = &Label> {
        let binds = self.binds.values().chain(self.ports.values());
        self.named.iter().chain(self.hosts.values()).chain(binds).map(Arc::as_ref)
    }

    /// Every server's names, also of those that share an address.
    pub fn named_servers(&self) -> impl Iterator<Item = &Arc<Label>> {
        self.named.iter()
    }

    /// Whether nothing is labelled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
            && self.hosts.is_empty()
            && self.binds.is_empty()
            && self.ports.is_empty()
    }

    fn add_server(&mut self, ip: IpAddr, port: Option<u16>, label: Arc<Label>) {
        let at = endpoint(SocketAddr::new(ip, port.unwrap_or_default()));
        // A server named twice keeps its first name, and a check's never hides traffic's.
        let keep_first = |old: &mut Arc<Label>| {
            if old.check && !label.check {
                *old = Arc::clone(&label);
            }
        };
        if port.is_some() {
            let entry = self.servers.entry(at).and_modify(keep_first);
            entry.or_insert_with(|| Arc::clone(&label));
        } else {
            let entry = self.hosts.entry(at.addr).and_modify(keep_first);
            entry.or_insert_with(|| Arc::clone(&label));
        }
    }

    fn add_binds(&mut self, proxy: &Proxy) {
        let label = Arc::new(Label {
            proxy: Some(proxy.name.as_str().into()),
            backend: None,
            server: None,
            check: false,
        });
        for bind in &proxy.binds {
            let Address::Tcp { host: Host::Ip(ip), .. } = &bind.address else { continue };
            let Some(port) = bind.address.port() else { continue };
            if ip.is_unspecified() {
                self.ports.entry(port).or_insert_with(|| Arc::clone(&label));
            } else {
                let at = endpoint(SocketAddr::new(*ip, port));
                self.binds.entry(at).or_insert_with(|| Arc::clone(&label));
            }
        }
    }
}

/// The name of the one frontend that sends to `backend`; itself for a `listen`.
fn frontend_of(config: &Config, backend: &Proxy) -> Option<Arc<str>> {
    if backend.kind.is_frontend() {
        return Some(backend.name.as_str().into());
    }
    let mut users = config.proxies.iter().filter(|proxy| {
        proxy.kind.is_frontend() && proxy.backends().any(|name| name == backend.name)
    });
    let first = users.next()?;
    users.next().is_none().then(|| first.name.as_str().into())
}
