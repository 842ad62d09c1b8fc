//! The configuration's names, by address.

use super::stated::ServerNumbers;
use crate::config;
use crate::kernel::{Covered, Scope};
use crate::report::label::Label;
use proxy_common::abi::{CLASS_CHECK, CLASS_TRAFFIC, CLASS_TUNNEL};
use proxy_common::key::Endpoint;
use proxy_common::verdict::Close;
use std::collections::HashMap;
use std::sync::Arc;

/// Names for endpoints.
#[derive(Debug, Default)]
pub struct Labels {
    configured: config::labels::Labels,
    /// Servers that no configuration names: those of the built-in traffic.
    added: HashMap<Endpoint, (&'static str, &'static str)>,
    /// The servers of this host's own proxy, by the numbers that it states.
    own: HashMap<u16, Arc<config::labels::Label>>,
}

impl Labels {
    /// The names of a configuration.
    #[must_use]
    pub fn of_config(configured: config::labels::Labels) -> Self {
        Self { configured, ..Self::default() }
    }

    /// The names of this host's own proxy, which states whose each connection is.
    #[must_use]
    pub fn of_own(configured: config::labels::Labels, numbers: &ServerNumbers) -> Self {
        let number = |label: &config::labels::Label| {
            Some(numbers.of(label.backend.as_deref()?, label.server.as_deref()?))
        };
        let own = configured
            .named_servers()
            .filter_map(|label| Some((number(label)?, Arc::clone(label))))
            .collect();
        Self { configured, own, ..Self::default() }
    }

    /// Calls `end` the server `server` of `backend`.
    pub fn add(&mut self, end: Endpoint, backend: &'static str, server: &'static str) {
        self.added.insert(end, (backend, server));
    }

    /// What a rule for a server covers: by its name, and its backend's if that is given. Of this
    /// host's own proxy these are the connections that it states, and nobody else's to the same
    /// address.
    #[must_use]
    pub fn scope(&self, backend: Option<&str>, server: &str) -> Scope {
        let is_it = |its_backend: Option<&str>, its_server: Option<&str>| {
            its_server == Some(server) && backend.is_none_or(|name| its_backend == Some(name))
        };
        if !self.own.is_empty() {
            let numbers = self
                .own
                .iter()
                .filter(|(_, label)| is_it(label.backend.as_deref(), label.server.as_deref()))
                .map(|(number, _)| *number);
            let classes = [CLASS_TRAFFIC, CLASS_CHECK, CLASS_TUNNEL];
            let stated = numbers.flat_map(|number| classes.map(|class| (number, class))).collect();
            return Scope { stated, ..Scope::default() };
        }
        let configured = self
            .configured
            .servers()
            .filter(|(_, label)| is_it(label.backend.as_deref(), label.server.as_deref()));
        let added =
            self.added.iter().filter(|(_, (backend, server))| is_it(Some(backend), Some(server)));
        let ends = configured.map(|(end, _)| end).chain(added.map(|(end, _)| end));
        Scope { peers: ends.map(Covered::one).collect(), ..Scope::default() }
    }

    /// Whether any connection can be called so.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        let added = self.added.values().map(|&(backend, server)| demo(backend, server));
        self.configured.all().map(named).chain(added).any(|label| label.is_called(name))
    }

    /// The names of a server by the number that this host's own proxy stated.
    #[must_use]
    pub fn of_number(&self, number: u16) -> Option<Label<'_>> {
        self.own.get(&number).map(|label| named(label))
    }

    /// The names of connections to `resp`.
    #[must_use]
    pub fn of(&self, resp: &Endpoint) -> Label<'_> {
        if let Some(label) = self.configured.of(resp) {
            return named(label);
        }
        match self.added.get(resp) {
            Some(&(backend, server)) => demo(backend, server),
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

/// Those of the built-in traffic.
fn demo(backend: &'static str, server: &'static str) -> Label<'static> {
    Label { proxy: Some(backend), backend: Some(backend), server: Some(server) }
}

fn named(label: &config::labels::Label) -> Label<'_> {
    Label {
        proxy: label.proxy.as_deref(),
        backend: label.backend.as_deref(),
        server: label.server.as_deref(),
    }
}
