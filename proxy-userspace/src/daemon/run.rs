//! `teardown run`: the daemon, spoken to over its runtime socket.

use super::observe::Observe;
use super::{Daemon, Source, start};
use crate::admin::socket::{DEFAULT_PATH, RuntimeSocket};
use crate::admin::{endpoint, session};
use crate::privilege;
use anyhow::Context;
use sd_notify::NotifyState;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Requests of sessions that wait for the loop; more make their sessions wait.
const REQUESTS: usize = 64;

/// How long the end waits for sessions to read their last words.
const GOODBYE: Duration = Duration::from_secs(1);

/// Arguments of `teardown run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The watched proxy's haproxy.cfg, or a folder of them: closes get its names
    #[arg(short = 'f', value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The runtime socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    socket: PathBuf,
    /// Serve the metrics for Prometheus over HTTP at this address (127.0.0.1:9436)
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Send control segments to tails too
    #[arg(long)]
    segments: bool,
    #[command(flatten)]
    observe: Observe,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Where the configuration cannot be read, the socket or the metrics' port not be taken, or the
/// kernel side not be started or read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let labels = start::labels(&args.files)?;
    let socket = RuntimeSocket::bind(&args.socket)?;
    start::runtime()?.block_on(async {
        let listener = socket.listener().context("cannot wait on the runtime socket")?;
        let metrics = match args.metrics {
            Some(at) => Some(
                TcpListener::bind(at)
                    .await
                    .with_context(|| format!("cannot serve the metrics at {at}"))?,
            ),
            None => None,
        };
        let observer = args.observe.start(args.segments, true)?;
        privilege::drop_unneeded()?;
        let stop = start::stop(None).context("cannot wait for signals")?;
        for missing in observer.missing() {
            eprintln!("teardown: {missing}");
        }
        let attached = Source::attachments(&observer).join(", ");
        eprintln!("teardown: watching {attached}; runtime socket {}", args.socket.display());
        let (requests, received) = mpsc::channel(REQUESTS);
        let mut daemon = Daemon::new(observer, labels, received);
        let mut beside = JoinSet::new();
        if let Some(metrics) = metrics {
            beside.spawn(endpoint::serve(metrics, requests.clone()));
        }
        beside.spawn(session::accept(listener, requests));
        // Started by hand there is no service manager to tell.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        daemon.run(stop, false).await?;
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        // Sessions end by themselves once the daemon takes no requests; tails get their summary.
        drop(daemon);
        let _ = timeout(GOODBYE, beside.join_all()).await;
        Ok(ExitCode::SUCCESS)
    })
}
