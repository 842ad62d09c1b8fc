//! What every way of running the daemon begins and ends with.

use anyhow::Context;
use std::future::Future;
use std::io;
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
