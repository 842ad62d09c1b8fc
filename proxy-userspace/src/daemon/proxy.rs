//! The proxy beside the observer: from a configuration to a running engine, and reloads.

mod prepared;
mod running;
mod stats_page;

pub use prepared::{Planned, Prepared};
pub use running::Running;

use super::stated::ServerNumbers;
use crate::admin::proxy::Control;
use crate::assemble::{self, Assembled};
use crate::config::model::{Config, Proxy as Section};
use crate::config::source::Source;
use crate::config::{self, Findings, Strictness, labels};
use crate::http::rules::Page;
use anyhow::Context as _;
use stats_page::StatsPage;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// The configuration is wrong; what is wrong has been said.
#[derive(Debug, thiserror::Error)]
#[error("errors in the configuration: {0}")]
pub struct Refused(usize);

/// `teardown run -c`: says everything that is wrong, and nothing more.
///
/// # Errors
/// A file that cannot be read.
pub fn check(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let origin = Origin::Files(files.to_vec());
    match read(&origin, &Arc::default(), &ServerNumbers::default()) {
        Ok(read) => {
            if read.warnings > 0 {
                eprintln!("Warnings were found.");
            }
            println!("Configuration file is valid");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

/// Where a configuration comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Files and folders.
    Files(Vec<PathBuf>),
    /// A text of teardown's own.
    BuiltIn(String),
}

impl Origin {
    /// The same from any folder: a chroot, or the way into the background, changes the current one.
    fn absolute(self) -> anyhow::Result<Self> {
        Ok(match self {
            Self::Files(files) => {
                let files = files.iter().map(std::path::absolute).collect::<Result<_, _>>();
                Self::Files(files.context("the current folder is gone")?)
            }
            built_in @ Self::BuiltIn(_) => built_in,
        })
    }

    /// The same as it is found from within `jail`, a chroot: what lies in it has a shorter path.
    fn within(&self, jail: &Path) -> Self {
        let inside = |file: &PathBuf| match file.strip_prefix(jail) {
            Ok(rest) => Path::new("/").join(rest),
            Err(_) => file.clone(),
        };
        match self {
            Self::Files(files) => Self::Files(files.iter().map(inside).collect()),
            Self::BuiltIn(_) => self.clone(),
        }
    }

    /// Reads it strictly.
    fn load(&self) -> anyhow::Result<(Config, Findings)> {
        match self {
            Self::Files(files) if files.is_empty() => {
                let text = "no configuration is given: say -f FILE".to_owned();
                Err(crate::cli::Usage(text).into())
            }
            Self::Files(files) => Ok(config::load(files, Strictness::Strict)?),
            Self::BuiltIn(text) => {
                let source = Source { name: "built-in".into(), text: text.clone().into_bytes() };
                Ok(config::parse(&[source], Strictness::Strict, &|_| None))
            }
        }
    }
}

/// A configuration, read and put together.
struct Read {
    config: Config,
    assembled: Assembled,
    warnings: usize,
}

/// Reads a configuration strictly, says what is to be said of it, and puts it together.
fn read(
    origin: &Origin,
    pages: &Arc<OnceLock<Arc<Control>>>,
    numbers: &ServerNumbers,
) -> anyhow::Result<Read> {
    let (config, mut findings) = origin.load()?;
    let pages = |section: &Section| -> Vec<Arc<dyn Page>> {
        let stats = &section.settings.stats;
        if !stats.enabled {
            return Vec::new();
        }
        let uri = stats.uri.clone().unwrap_or_else(|| "/haproxy?stats".to_owned());
        vec![Arc::new(StatsPage { uri, refresh_ms: stats.refresh_ms, of: Arc::clone(pages) })]
    };
    let mut assembled = assemble::assemble(&config, &labels::resolve, &pages, &mut findings);
    let warnings = say(&findings)?;
    for backend in &mut assembled.settings.backends {
        for server in &mut backend.servers {
            server.number = numbers.of(&backend.name, &server.name);
        }
    }
    Ok(Read { config, assembled, warnings })
}

/// Says the findings; how many warnings there were, or a refusal.
fn say(findings: &Findings) -> Result<usize, Refused> {
    let count = |level| findings.list.iter().filter(|finding| finding.level == level).count();
    for finding in &findings.list {
        eprintln!("{finding}");
    }
    match count(config::Level::Alert) {
        0 => Ok(count(config::Level::Warning)),
        errors => Err(Refused(errors)),
    }
}

/// What a server's `close` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPolicy {
    /// `BACKEND/SERVER`.
    pub target: String,
    /// The words.
    pub words: String,
}

fn policies(config: &Config) -> Vec<ServerPolicy> {
    let running = config.proxies.iter().filter(|section| !section.settings.disabled);
    let servers = running.flat_map(|section| section.servers.iter().map(move |s| (section, s)));
    let policy = |(section, server): (&Section, &config::model::Server)| {
        let wishes = server.settings.close.as_ref()?;
        let target = format!("{}/{}", section.name, server.name);
        Some(ServerPolicy { target, words: wishes.to_string() })
    };
    servers.filter_map(policy).collect()
}

/// What a reload changes outside of the proxy.
#[derive(Debug)]
pub struct Reloaded {
    /// The names of the new configuration's addresses.
    pub labels: labels::Labels,
    /// The `close` words of its servers.
    pub policies: Vec<ServerPolicy>,
}
