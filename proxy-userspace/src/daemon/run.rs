//! `teardown run`: the daemon, spoken to over its runtime socket.

use super::background::Background;
use super::manager::Manager;
use super::observe::{Observe, take_descriptors};
use super::proxy::{self, Origin, Planned, Prepared, Running};
use super::recording::{INCOMPLETE, Opened};
use super::stated::Stated;
use super::unprivileged::Unprivileged;
use super::{Daemon, Reader, attached, start};
use crate::admin::session::{Request, Terms};
use crate::admin::socket::{DEFAULT_PATH, RuntimeSocket};
use crate::admin::{self, session};
use crate::config::model::AccessLevel;
use crate::console::{endpoint, say, wait_for_nobody};
use crate::labels;
use crate::privilege;
use anyhow::Context;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Requests of sessions that wait for the loop; more make their sessions wait.
const REQUESTS: usize = 64;

/// How long the end waits for sessions to read their last words.
const GOODBYE: Duration = Duration::from_secs(1);

/// Arguments of `teardown run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Be the proxy of this haproxy.cfg, or of a folder of them; several are read in turn
    #[arg(short = 'f', value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only check the configuration of -f
    #[arg(short = 'c', long = "check")]
    check: bool,
    /// Stay in the foreground, whatever 'daemon' in the configuration says
    #[arg(long)]
    foreground: bool,
    /// Another proxy's haproxy.cfg: closes get its names, and what teardown does not know in it is
    /// passed over
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    names: Vec<PathBuf>,
    /// The runtime socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    socket: PathBuf,
    /// Serve the metrics for Prometheus over HTTP at this address (127.0.0.1:9436)
    #[arg(long, value_name = "ADDR:PORT", value_parser = endpoint)]
    metrics: Option<SocketAddr>,
    /// Send control segments to tails too
    #[arg(long)]
    segments: bool,
    #[command(flatten)]
    write: super::Write,
    #[command(flatten)]
    observe: Observe,
}

/// Runs until SIGTERM, SIGINT or SIGUSR1.
///
/// # Errors
/// Where the configuration cannot be read, the socket or the metrics' port not be taken, or the
/// kernel side not be started or read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.check {
        return proxy::check(&args.files);
    }
    let planned = match args.files.as_slice() {
        [] => None,
        files => Some(Planned::read(Origin::Files(files.to_vec()))?),
    };
    serve(args, planned, None)
}

/// What a daemon that shows itself has beside it.
pub(super) struct Shown {
    /// What is said once it runs.
    pub(super) greeting: String,
    /// Its tail on stdout.
    pub(super) reader: Reader,
    /// Traffic for the proxy, begun once that listens.
    pub(super) traffic: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Runs the daemon, with a proxy if one is planned.
///
/// # Errors
/// As [`run`].
pub(super) fn serve(
    args: &Args,
    planned: Option<Planned>,
    shown: Option<Shown>,
) -> anyhow::Result<ExitCode> {
    let manager = Manager::connect();
    let stays = args.foreground || manager.waits();
    let background = match &planned {
        Some(planned) if planned.is_daemon() && !stays => Some(Background::begin()?),
        _ => None,
    };
    let steward = match &planned {
        Some(planned) => planned.steward(background.is_some())?,
        None => None,
    };
    // First of all that is bound: a second daemon must not take connections from the first one's ports.
    let socket = RuntimeSocket::bind(&args.socket)?;
    let prepared = planned.map(Planned::prepare).transpose()?;
    let labels = match &prepared {
        Some(prepared) => prepared.labels(),
        None => labels::of_files(&args.names)?,
    };
    let more_sockets = prepared.as_ref().map_or_else(|| Ok(Vec::new()), Prepared::sockets)?;
    start::runtime()?.block_on(async {
        let mut listeners = Vec::new();
        let own = (&socket, Terms::free(AccessLevel::Admin));
        let more = more_sockets.iter().map(|(socket, terms)| (socket, terms.clone()));
        for (socket, terms) in [own].into_iter().chain(more) {
            let listener = socket.listener().context("cannot wait on the runtime socket")?;
            listeners.push((listener, terms));
        }
        let metrics = args.metrics.map(listen_at).transpose()?;
        let segments = args.segments || args.write.is_wanted();
        if prepared.is_none() {
            take_descriptors();
        }
        // Whoever reads the pidfile may send one.
        let stop = start::stop(None).context("cannot wait for signals")?;
        let hangups = hangups()?;
        let mut observer = args.observe.start(segments, args.write.payload(), true)?;
        let recording = args.write.open().context("cannot write the recording")?;
        if let Some(prepared) = &prepared {
            prepared.write_pidfile()?;
            prepared.give_up_root()?;
        }
        privilege::drop_unneeded()?;
        wait_for_nobody().context("cannot start a thread for stderr")?;
        let recording = recording.map(Opened::start).transpose().context("cannot record")?;
        for missing in observer.missing() {
            say(format_args!("teardown: {missing}"));
        }
        let attached = attached::shown(&observer);
        let socket = args.socket.display();
        say(format_args!("teardown: watching {attached}; runtime socket {socket}"));
        let policies = prepared.as_ref().map(Prepared::policies).unwrap_or_default();
        let ear = Arc::new(Stated::new(observer.take_statements()));
        let (requests, received) = mpsc::channel(REQUESTS);
        let mut daemon = Daemon::new(observer, labels, received);
        // Before the first connection is made.
        daemon.put_policies(policies)?;
        let outside = Unprivileged::start()?;
        let running = prepared
            .map(|prepared| prepared.start(ear.clone(), outside.runtime(), steward, &args.socket))
            .transpose()?
            .map(Arc::new);
        daemon.record(recording, args.segments);
        let mut beside = JoinSet::new();
        if let Some(metrics) = metrics {
            let _waits_there = outside.runtime().enter();
            let metrics = TcpListener::from_std(metrics)?;
            beside.spawn_on(admin::endpoint::serve(metrics, requests.clone()), outside.runtime());
        }
        for (listener, terms) in listeners {
            beside.spawn(session::accept(listener, terms, requests.clone()));
        }
        if let Some(running) = &running {
            daemon.set_proxy(Arc::clone(running), ear);
        }
        beside.spawn(reload_on_hangup(requests.clone(), hangups));
        drop(requests);
        let is_shown = shown.is_some();
        let traffic = shown.map(|Shown { greeting, reader, traffic }| {
            say(greeting);
            daemon.add_reader(reader);
            tokio::spawn(traffic)
        });
        let stop = async move {
            stop.await;
            // Its connections are not to be waited for.
            traffic.iter().for_each(JoinHandle::abort);
        };
        manager.tell("READY=1");
        if let Some(background) = background {
            background.ready()?;
        }
        daemon.run(drained(stop, running), is_shown).await?;
        manager.tell("STOPPING=1");
        let recorded = daemon.recorded();
        daemon.about_to_detach();
        // Sessions end by themselves once the daemon takes no requests; tails get their summary.
        drop(daemon);
        let _ = timeout(GOODBYE, beside.join_all()).await;
        recorded.context(INCOMPLETE)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Where the metrics are served.
fn listen_at(at: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(at)
        .with_context(|| format!("cannot serve the metrics at {at}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn hangups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot wait for SIGHUP")
}

/// SIGHUP is `reload` on the runtime socket.
async fn reload_on_hangup(daemon: mpsc::Sender<Request>, mut hangups: Signal) {
    loop {
        tokio::select! {
            () = daemon.closed() => return,
            hangup = hangups.recv() => if hangup.is_none() { return },
        }
        let (answer, answered) = oneshot::channel();
        let (words, level) = (vec!["reload".to_owned()], AccessLevel::Admin);
        if daemon.send(Request::Command { words, level, answer }).await.is_err() {
            return;
        }
        if let Ok(text) = answered.await {
            say(format_args!("teardown: reload: {}", text.trim_end()));
        }
    }
}

/// Done when `stop` is and the proxy's connections have ended. Asked a second time, it waits no
/// longer for them.
async fn drained(stop: impl Future<Output = ()>, running: Option<Arc<Running>>) {
    stop.await;
    let Some(running) = running else { return };
    let Ok(again) = start::stop(None) else { return running.cut() };
    tokio::select! {
        () = running.drain() => {}
        () = again => {
            running.cut();
            running.drain().await;
        }
    }
}
