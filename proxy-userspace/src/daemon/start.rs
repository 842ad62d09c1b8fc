//! What every way of running the daemon begins and ends with.

use super::labels::Labels;
use crate::config::{self, Finding, Level, Strictness};
use crate::console::say;
use crate::report::filter::Filter;
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
    let labels = config::labels::Labels::new(&config, &crate::host::addresses);
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

/// Says which names of a filter belong to nothing, so that nothing will be shown for them.
pub(crate) fn warn_of_unknown(labels: &Labels, filter: &Filter) {
    for warning in unknown(labels, filter) {
        say(format_args!("[WARNING] {warning}"));
    }
}

/// A warning for each name of a filter that belongs to nothing.
pub(super) fn unknown(labels: &Labels, filter: &Filter) -> impl Iterator<Item = String> {
    filter.backends.iter().filter(|name| !labels.knows(name)).map(|name| {
        format!(
            "--backend '{name}': the configuration (-f) has no proxy, backend or server of this name"
        )
    })
}

/// Done when SIGINT, SIGTERM or SIGUSR1 (HAProxy's soft stop) comes, or `after` has passed.
pub(super) fn stop(after: Option<Duration>) -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut soft = signal(SignalKind::user_defined1())?;
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
            _ = soft.recv() => {}
            () = time_is_up => {}
        }
    })
}

/// Done when the terminal goes: it ends a watch as Ctrl-C does, with its summary and a whole
/// recording. Never where SIGHUP is ignored (nohup).
pub(super) fn hangup() -> io::Result<impl Future<Output = ()>> {
    // Without /proc it counts as not ignored.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut hangups = match ignores(&status, libc::SIGHUP) {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    Ok(async move {
        match &mut hangups {
            Some(hangups) => drop(hangups.recv().await),
            None => std::future::pending().await,
        }
    })
}

/// Whether a process ignores a signal, by its `/proc/PID/status`.
fn ignores(status: &str, signal: i32) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    ignored.is_some_and(|bits| bits >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::ignores;

    #[test]
    fn a_signal_that_is_ignored_is_seen() {
        assert!(ignores("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n", libc::SIGHUP));
        assert!(!ignores("SigIgn:\t0000000000001000\n", libc::SIGHUP));
        assert!(!ignores("", libc::SIGHUP));
    }
}
