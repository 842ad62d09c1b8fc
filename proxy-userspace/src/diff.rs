//! `teardown diff`: how closes differ between two captures.

mod files;
mod groups;

use crate::capture::Options;
use crate::capture::detect::Kind;
use crate::capture::input::shown;
use crate::capture::table::Patience;
use crate::console::{USAGE, Usage, is_reader_gone, say};
use crate::explain::names::Placeholders;
use crate::explain::{How, read};
use crate::labels::{self, Labels};
use crate::report::diff::{Diff, Tallies, json, text};
use crate::report::filter::Filter;
use crate::report::ladder::text::Strokes;
use groups::{Grouped, Map};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

pub use groups::{By, MapError};

/// The arguments of `diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The capture from before, or a folder of them
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The capture from now, or a folder of them
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// The proxy's haproxy.cfg, or a folder of them: `--backend` chooses by its names
    #[arg(short = 'f', value_name = "FILE")]
    pub names: Vec<PathBuf>,
    /// What makes a group of connections
    #[arg(long, value_enum, default_value = "backend")]
    pub by: By,
    /// This address of the old capture has become that of the new one; ports may be said too
    #[arg(long = "map", value_name = "OLD=NEW")]
    pub maps: Vec<Map>,
    /// Points of a hundred by which a share may differ without being a change
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    pub tolerance: f64,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// What the files are, instead of finding out
    #[arg(long, value_enum, value_name = "KIND")]
    pub format: Option<Kind>,
    /// What is compared at all.
    #[command(flatten)]
    pub filter: Filter,
}

/// Exit code: something changed, as in diff(1).
const CHANGED: u8 = 1;

/// Carries the command out. As in diff(1), what keeps it from comparing is exit code 2.
///
/// # Errors
/// Where the command makes no sense, or nobody reads the comparison.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !(0.0..=100.0).contains(&args.tolerance) {
        return Err(Usage("--tolerance is a percentage, from 0 to 100".into()).into());
    }
    match compare(args) {
        Ok(code) => Ok(code),
        Err(error) if is_reader_gone(&error) => Err(error),
        Err(error) => {
            say(format_args!("teardown: {error:#}"));
            Ok(ExitCode::from(USAGE))
        }
    }
}

fn compare(args: &Args) -> anyhow::Result<ExitCode> {
    let labels = Rc::new(labels::of_files(&args.names)?);
    if !args.names.is_empty() {
        labels.warn_of_unknown(&args.filter);
    }
    let mut notes = Vec::new();
    let read = tallies(args, &labels, &args.old, &args.maps, &mut notes)
        .and_then(|old| Ok((old, tallies(args, &labels, &args.new, &[], &mut notes)?)));
    let (mut old, mut new) = match read {
        Ok((old, new)) if old.is_empty() && new.is_empty() => {
            tell(&notes);
            anyhow::bail!("nothing to compare: no connection of either capture passes the filters")
        }
        Ok(both) => both,
        Err(error) => {
            tell(&notes);
            return Err(error);
        }
    };
    if args.by == By::Backend && !old.keys().any(|name| new.contains_key(name)) {
        // Addresses or ports have changed: what both captures have is compared as a whole.
        let by_address = groups::joined_by_address(&old, &new);
        let (what, joined) = match by_address {
            Some(joined) => ("addresses without their ports", joined),
            None => ("all connections together", groups::joined(&old, &new)),
        };
        notes.push(format!(
            "no backend is in both captures: {what} are compared (--map OLD=NEW says which \
             belong together)"
        ));
        (old, new) = joined;
    }
    let diff = Diff::new(old, new, args.tolerance / 100.0);
    let paths = [&args.old, &args.new];
    let mut out = io::stdout().lock();
    if args.json {
        let titles = paths.map(|path| path.display().to_string());
        writeln!(out, "{}", json::object(&diff, titles.each_ref().map(String::as_str)))?;
    } else {
        let titles = paths.map(|path| shown(path));
        let mut said = String::new();
        let strokes = Strokes::of_terminal(out.is_terminal());
        text::put(&mut said, &diff, titles.each_ref().map(String::as_str), strokes);
        out.write_all(said.as_bytes())?;
    }
    out.flush()?;
    tell(&notes);
    Ok(ExitCode::from(if diff.any_changed() { CHANGED } else { 0 }))
}

fn tell(notes: &[String]) {
    for note in notes {
        say(format_args!("teardown: {note}"));
    }
}

/// The groups of one capture or of a folder of them. What is to be said of the reading is added to
/// `notes`.
///
/// # Errors
/// Where one cannot be read, or holds no TCP connection.
fn tallies(
    args: &Args,
    labels: &Rc<Labels>,
    path: &Path,
    maps: &[Map],
    notes: &mut Vec<String>,
) -> anyhow::Result<Tallies> {
    let how = How {
        options: Options { kind: args.format, ..Options::default() },
        patience: Patience::Long,
        filter: args.filter.clone(),
        only: None,
        labels: Rc::clone(labels),
        progress: io::stderr().is_terminal(),
    };
    let mut groups = Tallies::new();
    let mut connections = 0;
    for files in files::captures(path, args.format, notes)? {
        let names = Rc::new(Placeholders::default());
        let output = Grouped::new(groups, args.by, maps, Rc::clone(&names));
        let (output, reading) = read(&files, &how, output, &names)?;
        groups = output.groups;
        connections += reading.connections;
        notes.extend(crate::explain::notes::notes(&reading));
    }
    anyhow::ensure!(connections > 0, "{}: no TCP connection is in it", shown(path));
    Ok(groups)
}
