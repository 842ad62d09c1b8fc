//! `teardown explain`: how the connections of a capture closed.

pub mod collect;
pub mod columns;
pub mod filtered;
pub mod lines;
pub mod names;
pub mod notes;
pub mod output;
pub mod pace;

use crate::capture::detect::Kind;
use crate::capture::input::{Input, Progress};
use crate::capture::table::{Patience, Table};
use crate::capture::{self, Account, Options, pipe};
use crate::console::Usage;
use crate::labels::{self, Labels};
use crate::report::filter::Filter;
use crate::report::story::time;
use clap::ValueEnum;
use collect::{Collector, Feed};
use names::Placeholders;
use output::Shown;
use pace::Pace;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

/// The arguments of `explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Captures: pcap, pcapng, either with gzip or zstd, or the text of tcpdump; `-` is standard
    /// input. Several are read as one, in this order
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The proxy's haproxy.cfg, or a folder of them: closes get its names
    #[arg(short = 'f', value_name = "FILE")]
    pub names: Vec<PathBuf>,
    /// What the files are, instead of finding out
    #[arg(long, value_enum, value_name = "KIND")]
    pub format: Option<Kind>,
    /// One JSON object a line, as in `tail`
    #[arg(long, conflicts_with_all = ["ladder", "svg", "all"])]
    pub json: bool,
    /// Write the connections in another program's words
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with_all = ["json", "ladder", "svg", "all"])]
    pub format_out: Option<Foreign>,
    /// Show what each end sent, and what it means
    #[arg(long)]
    pub ladder: bool,
    /// Only the connection with this number, and its ladder
    #[arg(long, short = 'c', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub connection: Option<u64>,
    /// Write the ladder of the one connection as a picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// A line for every connection, however many there are
    #[arg(long, short = 'a')]
    pub all: bool,
    /// Leave out segments with a wrong TCP checksum. Hosts that leave the sum to the network card
    /// have wrong ones in their own captures
    #[arg(long)]
    pub checksums: bool,
    /// Judge as Zeek does: a connection is over after five minutes of silence (sooner where it was
    /// not established), and data that the snap length cut off is a gap. `--format-out zeek`
    /// implies it
    #[arg(long)]
    pub zeek: bool,
    /// This address is the proxy: the ladders say so
    #[arg(long, value_name = "ADDR")]
    pub proxy: Option<std::net::IpAddr>,
    /// What is shown at all.
    #[command(flatten)]
    pub filter: Filter,
}

/// Other programs' words for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Foreign {
    /// Zeek's conn.log
    Zeek,
    /// Suricata's eve.json, event type `flow`
    Eve,
    /// One JSON object a line with IPFIX's information elements, both directions in one
    IpfixJson,
}

/// What a reading came to.
#[derive(Debug, Default)]
pub struct Reading {
    /// Each file with its account.
    pub accounts: Vec<(String, Account)>,
    /// Connections in all.
    pub connections: u64,
    /// Connections that were not judged.
    pub doubtful: u64,
    /// The first and the last segment's time.
    pub span_ns: Option<(u64, u64)>,
}

impl Reading {
    /// Whether any file is damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.accounts.iter().any(|(_, account)| account.damage.is_some())
    }
}

/// How files are read.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// What they are, and whether checksums count.
    pub options: Options,
    /// When a connection is over.
    pub patience: Patience,
    /// Which connections are shown.
    pub filter: Filter,
    /// Only this one.
    pub only: Option<u64>,
    /// What a configuration calls them.
    pub labels: Rc<Labels>,
    /// Say on a terminal how far the reading is.
    pub progress: bool,
}

/// Carries the command out.
///
/// # Errors
/// Where a file cannot be read, or nothing can be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let labels = Rc::new(labels::of_files(&args.names)?);
    // Without a configuration the names may be those of a recording.
    if !args.names.is_empty() {
        labels.warn_of_unknown(&args.filter);
    }
    let zeek = args.zeek || args.format_out == Some(Foreign::Zeek);
    let how = How {
        options: Options { kind: args.format, checksums: args.checksums, gaps: zeek },
        patience: if zeek { Patience::Zeek } else { Patience::Long },
        filter: args.filter.clone(),
        only: args.connection,
        labels,
        progress: io::stderr().is_terminal(),
    };
    let placeholders = Rc::new(Placeholders::default());
    let shown = Shown::new(args, &how, Rc::clone(&placeholders));
    let (mut shown, reading) = read(&args.files, &how, shown, &placeholders)?;
    shown.finish(&reading)?;
    if let Some(number) = args.connection
        && shown.count() == 0
    {
        return Err(Usage(not_shown(number, &reading, &args.filter)).into());
    }
    let damaged = reading.is_damaged();
    Ok(if damaged { ExitCode::from(crate::console::FAILED) } else { ExitCode::SUCCESS })
}

/// Reads all `files` as one capture.
///
/// # Errors
/// Where a file cannot be read at all.
pub fn read<O: collect::Output>(
    files: &[PathBuf],
    how: &How,
    output: O,
    names: &Placeholders,
) -> anyhow::Result<(O, Reading)> {
    let mut reading = Reading::default();
    let collector = Collector::new(output, how);
    let mut table = Table::new(collector, how.patience);
    for (file, path) in (0..).zip(files) {
        let input = Input::open(path, how.options.kind)?;
        if input.is_pipe {
            pipe::end_at_interrupt();
        }
        let name = input.name.clone();
        table.observer.begins(how.options.kind.unwrap_or(input.kind));
        let progress = Rc::clone(&input.progress);
        let meter = how.progress && progress.total > LARGE;
        let mut feed = Feed {
            table: &mut table,
            names,
            progress: &mut || {
                if meter {
                    show_progress(&name, &progress);
                }
            },
            span_ns: &mut reading.span_ns,
            file,
            place: None,
            segments: 0,
            latest_ns: 0,
            set_back: None,
            pace: Pace::default(),
        };
        let mut account = capture::read(input, &how.options, &mut feed)?;
        let set_back = feed.set_back.map(|(number, ns)| set_back(account.kind, number, ns));
        account.notes.extend(set_back);
        if meter {
            // The meter's line goes away.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        reading.accounts.push((name, account));
    }
    let _ = table.finish();
    if let Some((_, account)) = reading.accounts.last_mut().filter(|_| table.observer.filtered.is())
    {
        account.notes.push(
            "only segments with SYN, FIN or RST are in it: what was acknowledged, and what was lost, \
             is not known"
                .into(),
        );
    }
    reading.connections = table.begun();
    reading.doubtful = table.observer.doubtful;
    Ok((table.observer.output, reading))
}

/// Why the connection with this number is not shown.
fn not_shown(number: u64, reading: &Reading, filter: &Filter) -> String {
    match reading.connections {
        0 => format!("there is no connection {number}: there is none at all"),
        most if number > most => format!("there is no connection {number}: they are 1 to {most}"),
        _ if *filter != Filter::default() => {
            format!("connection {number} does not pass the filters")
        }
        _ => format!("connection {number} is not judged: some of its lines may be another's"),
    }
}

/// The note on a clock that was set back within a file.
fn set_back(kind: Kind, number: u64, ns: u64) -> String {
    let what = if kind == Kind::Text { "line" } else { "packet" };
    format!(
        "its times go back by {} at {what} {number}: what spans that reads as shorter than it was",
        time(ns)
    )
}

/// Files above this size show how far they are read.
const LARGE: u64 = 32 << 20;

fn show_progress(name: &str, progress: &Progress) {
    let percent = progress.read.get().saturating_mul(100) / progress.total.max(1);
    let _ = write!(io::stderr(), "\r{name}: {percent} %");
}
