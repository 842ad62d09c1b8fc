//! The configuration's names, by address.

use crate::config;
use crate::kernel::Covered;
use crate::report::label::Label;
use proxy_common::key::Endpoint;
use proxy_common::verdict::Close;
use std::collections::HashMap;

/// Names for endpoints.
#[derive(Debug, Default)]
pub struct Labels {
    configured: config::labels::Labels,
    /// Servers that no configuration names: those of the built-in traffic.
    added: HashMap<Endpoint, (&'static str, &'static str)>,
}

impl Labels {
    /// The names of a configuration.
    #[must_use]
    pub fn of_config(configured: config::labels::Labels) -> Self {
        Self { configured, added: HashMap::new() }
    }

    /// Calls `end` the server `server` of `backend`.
    pub fn add(&mut self, end: Endpoint, backend: &'static str, server: &'static str) {
        self.added.insert(end, (backend, server));
    }

    /// The addresses of a server by its name, and its backend's if that is given.
    #[must_use]
    pub fn addresses(&self, backend: Option<&str>, server: &str) -> Vec<Covered> {
        let configured = self.configured.servers().filter(|(_, label)| {
            label.server.as_deref() == Some(server)
                && backend.is_none_or(|backend| label.backend.as_deref() == Some(backend))
        });
        let added = self.added.iter().filter(|(_, (its_backend, its_server))| {
            *its_server == server && backend.is_none_or(|backend| *its_backend == backend)
        });
        let ends = configured.map(|(end, _)| end).chain(added.map(|(end, _)| end));
        ends.map(Covered::one).collect()
    }

    /// The names of connections to `resp`.
    #[must_use]
    pub fn of(&self, resp: &Endpoint) -> Label<'_> {
        if let Some(label) = self.configured.of(resp) {
            return Label {
                proxy: label.proxy.as_deref(),
                backend: label.backend.as_deref(),
                server: label.server.as_deref(),
            };
        }
        match self.added.get(resp) {
            Some(&(backend, server)) => {
                Label { proxy: Some(backend), backend: Some(backend), server: Some(server) }
            }
            None => Label::default(),
        }
    }

    /// The names of a connection. An address that we only listen on by a wildcard is not ours where
    /// the connection leads away from this host.
    #[must_use]
    pub fn of_close(&self, close: &Close) -> Label<'_> {
        let label = self.of(&close.resp.endpoint);
        let leads_away = close.orig.is_local && !close.resp.is_local;
        if label.server.is_none() && leads_away { Label::default() } else { label }
    }
}
