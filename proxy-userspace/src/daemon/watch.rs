//! `teardown watch`: stands beside any proxy and shows on stdout how connections close.

use super::observe::{Observe, take_descriptors};
use super::recording::INCOMPLETE;
use super::{Daemon, Reader, attached, start};
use crate::admin::terminal::Terminal;
use crate::console::{Usage, say, wait_for_nobody};
use crate::kernel::Observer;
use crate::labels::{self, Labels};
use crate::policy::book;
use crate::privilege;
use crate::report::columns::Paint;
use crate::report::tail::{Look, Tail, time};
use crate::traffic::Traffic;
use anyhow::Context;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How much stdout may be behind before lines are left out, in bytes: a hundred thousand lines.
const BACKLOG: usize = 64 << 20;

/// Arguments of `teardown watch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The watched proxy's haproxy.cfg, or a folder of them: closes get its names
    #[arg(short = 'f', value_name = "FILE")]
    files: Vec<PathBuf>,
    /// End after this time (30s, 5m)
    #[arg(long, value_name = "T", value_parser = time)]
    duration: Option<Duration>,
    /// Show control segments too, one line each
    #[arg(long)]
    segments: bool,
    /// Make some traffic on loopback that closes in every way
    #[arg(long)]
    demo: bool,
    /// Change how connections to these peers close, as '10.0.0.5:80 passive rst'; may be given
    /// several times
    #[arg(long = "policy", value_name = "'SERVER|ADDR[/LEN][:PORT] WORDS'", value_parser = policy)]
    policies: Vec<String>,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    write: super::Write,
    #[command(flatten)]
    observe: Observe,
}

/// A rule that can be read; that its server exists is seen later.
fn policy(text: &str) -> Result<String, String> {
    book::read(text).map(|_| text.to_owned())
}

/// Runs until it is told to stop.
///
/// # Errors
/// Where the configuration cannot be read, the kernel side not be started, or stdout not be
/// written to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut labels = labels::of_files(&args.files)?;
    start::runtime()?.block_on(async {
        let observer = start_observer(args)?;
        let mut playing = JoinSet::new();
        if args.demo {
            let traffic =
                Traffic::bind().context("the built-in traffic needs ports of 127.0.0.1")?;
            traffic.servers().for_each(|(end, scene)| labels.add(end, "demo", scene));
            playing.spawn(traffic.play());
        }
        labels.warn_of_unknown(&args.look.filter);
        watch(observer, labels, args).await
    })
}

fn start_observer(args: &Args) -> Result<Observer, crate::kernel::Error> {
    let segments = args.segments || args.write.is_wanted();
    take_descriptors();
    args.observe.start(segments, args.write.payload(), !args.policies.is_empty())
}

async fn watch(observer: Observer, labels: Labels, args: &Args) -> anyhow::Result<ExitCode> {
    let recording = args.write.start().context("cannot write the recording")?;
    privilege::drop_unneeded()?;
    wait_for_nobody().context("cannot start a thread for stderr")?;
    let stop = start::stop(args.duration).context("cannot wait for signals")?;
    let hangup = start::hangup().context("cannot wait for SIGHUP")?;
    let stop = async move {
        tokio::select! {
            () = stop => {}
            () = hangup => {}
        }
    };
    for missing in observer.missing() {
        say(format_args!("teardown: {missing}"));
    }
    let attached = attached::shown(&observer);
    let (terminal, outlet) =
        Terminal::start(BACKLOG).context("cannot start a thread for stdout")?;
    let tail = Tail::new(args.look.clone(), Paint::of_stdout());
    // Nobody asks a watch anything: the channel is closed from the start.
    let (_, requests) = mpsc::channel(1);
    let mut daemon = Daemon::new(observer, labels, requests);
    for policy in &args.policies {
        daemon
            .set_policy(policy)
            .map_err(|error| Usage(format!("--policy '{policy}': {error}")))?;
    }
    // Whoever reads this may rely on the rules.
    say(format_args!("teardown: watching {attached}"));
    daemon.record(recording, args.segments);
    daemon.add_reader(Reader::new(tail, outlet, args.look.json));
    daemon.run(stop, true).await?;
    let rules = daemon.show_policies();
    let recorded = daemon.recorded();
    daemon.about_to_detach();
    drop(daemon);
    terminal.finish().context("stdout")?;
    if !args.policies.is_empty() {
        say(rules.trim_end());
    }
    recorded.context(INCOMPLETE)?;
    Ok(ExitCode::SUCCESS)
}
