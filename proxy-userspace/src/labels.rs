//! The configuration's names, by address.

use crate::config::{self, Finding, Level, Strictness};
use crate::console::say;
use crate::host;
use crate::report::filter::Filter;
use crate::report::label::Label;
use anyhow::bail;
use proxy_common::key::Endpoint;
use proxy_common::verdict::Close;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The servers of a name.
#[derive(Debug)]
pub enum Called {
    /// Of this host's own proxy, by the numbers that it states.
    Numbers(Vec<u16>),
    /// Of others, by their addresses.
    Ends(Vec<Endpoint>),
}

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

    /// The names of this host's own proxy, which states whose each connection is: by the `number` of
    /// a backend's server.
    #[must_use]
    pub fn of_own(configured: config::labels::Labels, number: impl Fn(&str, &str) -> u16) -> Self {
        let number = |label: &config::labels::Label| {
            Some(number(label.backend.as_deref()?, label.server.as_deref()?))
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

    /// Who is called so: by the server's name, and its backend's if that is given. Of this host's own
    /// proxy these are the connections that it states, and nobody else's to the same address.
    #[must_use]
    pub fn called(&self, backend: Option<&str>, server: &str) -> Called {
        let is_it = |its_backend: Option<&str>, its_server: Option<&str>| {
            its_server == Some(server) && backend.is_none_or(|name| its_backend == Some(name))
        };
        if !self.own.is_empty() {
            let numbers = self
                .own
                .iter()
                .filter(|(_, label)| is_it(label.backend.as_deref(), label.server.as_deref()))
                .map(|(number, _)| *number);
            return Called::Numbers(numbers.collect());
        }
        let configured = self
            .configured
            .servers()
            .filter(|(_, label)| is_it(label.backend.as_deref(), label.server.as_deref()));
        let added =
            self.added.iter().filter(|(_, (backend, server))| is_it(Some(backend), Some(server)));
        let ends = configured.map(|(end, _)| end).chain(added.map(|(end, _)| end));
        Called::Ends(ends.copied().collect())
    }

    /// Whether any connection can be called so.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        let added = self.added.values().map(|&(backend, server)| demo(backend, server));
        self.configured.all().map(named).chain(added).any(|label| label.is_called(name))
    }

    /// Says which names of a filter belong to nothing, so that nothing will be shown for them.
    pub fn warn_of_unknown(&self, filter: &Filter) {
        for warning in self.unknown(filter) {
            say(format_args!("[WARNING] {warning}"));
        }
    }

    /// A warning for each name of a filter that belongs to nothing.
    pub fn unknown(&self, filter: &Filter) -> impl Iterator<Item = String> {
        let nothing = self.configured.is_empty() && self.added.is_empty();
        let why = match nothing {
            true => "without a configuration nothing has a name",
            false => "the configuration has no proxy, backend or server of this name",
        };
        let unknown = filter.backends.iter().filter(|name| !self.knows(name));
        unknown.map(move |name| format!("--backend '{name}': {why}"))
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

/// The names of a configuration: the real proxy's own, in which what teardown does not know is
/// passed over.
pub fn of_files(files: &[PathBuf]) -> anyhow::Result<Labels> {
    if files.is_empty() {
        return Ok(Labels::default());
    }
    let (config, findings) = config::load(files, Strictness::Lenient)?;
    for finding in &findings.list {
        // A `server` or `bind` that cannot be read is a name that will be missed.
        if ["server '", "bind '", "'bind'"].iter().any(|word| finding.message.starts_with(word)) {
            let seen = Finding { level: Level::Warning, ..finding.clone() };
            say(format_args!("{seen}; its connections are shown by address"));
        } else {
            tracing::info!("passed over: {finding}");
        }
    }
    let servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
    for server in servers.filter(|server| server.settings.close.is_some()) {
        let (at, name) = (&server.at, &server.name);
        say(format_args!(
            "[WARNING] {at}: 'close' of server '{name}' is for 'teardown run'; to watch with a rule \
             say --policy '{name} WORDS'"
        ));
    }
    let labels = config::labels::Labels::new(&config, &host::addresses);
    for unresolved in &labels.unresolved {
        say(format_args!("[WARNING] {unresolved}; its connections are shown by address"));
    }
    if labels.is_empty() {
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        bail!(
            "{}: no 'bind' and no 'server' with an address in it; it should be the configuration \
             of the proxy that is watched",
            names.join(", ")
        );
    }
    Ok(Labels::of_config(labels))
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
