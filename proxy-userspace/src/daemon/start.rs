//! What every way of running the daemon begins and ends with.

use super::labels::Labels;
use crate::config::{self, Finding, Level, Strictness};
use anyhow::{Context, bail};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// The daemon's runtime: one thread.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")
}

/// The names of a configuration: the real proxy's own, in which what teardown does not know is
/// passed over.
pub(crate) fn labels(files: &[PathBuf]) -> anyhow::Result<Labels> {
    if files.is_empty() {
        return Ok(Labels::default());
    }
    let (config, findings) = config::load(files, Strictness::Lenient)?;
    for finding in &findings.list {
        // A `server` or `bind` that cannot be read is a name that will be missed.
        if ["server '", "bind '", "'bind'"].iter().any(|word| finding.message.starts_with(word)) {
            let seen = Finding { level: Level::Warning, ..finding.clone() };
            eprintln!("{seen}; its connections are shown by address");
        } else {
            tracing::info!("passed over: {finding}");
        }
    }
    let servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
    for server in servers.filter(|server| server.settings.close.is_some()) {
        let (at, name) = (&server.at, &server.name);
        eprintln!(
            "[WARNING] {at}: 'close' of server '{name}' is for 'teardown run'; to watch with a rule \
             say --policy '{name} WORDS'"
        );
    }
    let labels = config::labels::Labels::new(&config, &crate::host::addresses);
    for unresolved in &labels.unresolved {
        eprintln!("[WARNING] {unresolved}; its connections are shown by address");
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

/// Done when SIGINT or SIGTERM comes, or `after` has passed.
pub(super) fn stop(after: Option<Duration>) -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let time_is_up = async {
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = time_is_up => {}
        }
    })
}
