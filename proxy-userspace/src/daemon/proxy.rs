//! The proxy beside the observer: from a configuration to a running engine, and reloads.

mod descriptors;
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
use crate::console;
use crate::host;
use crate::http::engine::ReloadError;
use crate::http::listener::Listeners;
use crate::http::rules::Page;
use crate::http::settings::{Bind, BindAddress, Settings};
use crate::http::syslog::Style;
use anyhow::Context as _;
use stats_page::StatsPage;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// The configuration is wrong; what is wrong has been said.
#[derive(Debug, thiserror::Error)]
#[error("errors in the configuration: {0}")]
pub struct Refused(usize);

/// Nobody could ask anything of a proxy that listens nowhere.
#[derive(Debug, thiserror::Error)]
#[error("no enabled listener found: the configuration should have a 'bind'")]
pub struct NoListener;

/// `teardown run -c`: says everything that is wrong, and nothing more.
///
/// # Errors
/// A file that cannot be read.
pub fn check(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let origin = Origin::Files(files.to_vec());
    match read(&origin, &Arc::default(), &ServerNumbers::default(), Voice::Aloud) {
        Ok(read) => {
            if read.warnings > 0 {
                console::say("Warnings were found.");
            }
            if read.listens().is_err() {
                console::answer(
                    "Configuration file has no error but will not start (no listener) => exit(2).",
                )?;
                return Ok(ExitCode::from(console::USAGE));
            }
            console::answer("Configuration file is valid")?;
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

    /// Whether a reload can read it.
    ///
    /// # Errors
    /// Where it came from standard input, which is read once.
    fn can_be_read_again(&self) -> anyhow::Result<()> {
        let once = Path::new("/dev/stdin");
        match self {
            Self::Files(files) if files.iter().any(|file| file == once) => {
                anyhow::bail!(
                    "the configuration came from standard input, and cannot be read again: put it \
                     into a file, or start the daemon anew"
                )
            }
            Self::Files(_) | Self::BuiltIn(_) => Ok(()),
        }
    }

    /// Reads it strictly.
    fn load(&self) -> anyhow::Result<(Config, Findings)> {
        match self {
            Self::Files(files) if files.is_empty() => {
                let text = "no configuration is given: say -f FILE".to_owned();
                Err(console::Usage(text).into())
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

impl Read {
    /// Whether anything is listened on: a `stats socket` alone counts too, as in HAProxy.
    fn listens(&self) -> Result<(), NoListener> {
        let mut frontends = self.assembled.settings.frontends.iter();
        let has_binds = frontends.any(|frontend| !frontend.binds.is_empty());
        let has_socket = !self.config.global.stats_sockets.is_empty();
        if has_binds || has_socket { Ok(()) } else { Err(NoListener) }
    }
}

/// Whether findings are said, on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    Aloud,
    Silent,
}

/// A configuration read anew, what it needs open, and its sockets in place.
struct Renewed {
    config: Config,
    assembled: Assembled,
    styles: HashMap<String, Style>,
    labels: labels::Labels,
}

/// Reads a configuration anew; `place` puts its sockets in place. The steward does it as well, for
/// the answers: what is asked of the host must come in one order.
fn renew(
    origin: &Origin,
    (pages, numbers): (&Arc<OnceLock<Arc<Control>>>, &ServerNumbers),
    voice: Voice,
    place: impl FnOnce(Settings) -> Result<(), ReloadError>,
) -> anyhow::Result<Renewed> {
    let read = read(origin, pages, numbers, voice)?;
    read.listens()?;
    let Read { config, mut assembled, .. } = read;
    let mut findings = Findings::default();
    let styles = assemble::logs(&config, &host::addresses, &mut findings);
    say(&findings, voice)?;
    place(std::mem::take(&mut assembled.settings))?;
    let labels = labels::Labels::new(&config, &host::addresses);
    Ok(Renewed { config, assembled, styles, labels })
}

/// Reads a configuration as a reload does, in silence and without effect, but for new sockets.
pub(super) fn rehearse(origin: &Origin, workers: usize, kept: Vec<Bind>) {
    let place = |settings: Settings| {
        let binds = settings.frontends.iter().flat_map(|frontend| &frontend.binds);
        // What the daemon has inherited, only the daemon has.
        let inherited = binds.filter(|bind| matches!(bind.address, BindAddress::Fd(_)));
        let kept: Vec<Bind> = inherited.cloned().chain(kept).collect();
        let bound = Listeners::bind(&settings, workers, &Listeners::of_another(kept));
        bound.map(drop).map_err(ReloadError::from)
    };
    // Whatever comes of it comes of it in the daemon too, and is said there.
    let _ = renew(origin, (&Arc::default(), &ServerNumbers::default()), Voice::Silent, place);
}

/// Reads a configuration strictly, says what is to be said of it, and puts it together.
fn read(
    origin: &Origin,
    pages: &Arc<OnceLock<Arc<Control>>>,
    numbers: &ServerNumbers,
    voice: Voice,
) -> anyhow::Result<Read> {
    let (mut config, mut findings) = origin.load()?;
    let global = &mut config.global;
    global.maxconn = global.maxconn.or_else(|| descriptors::connections(global));
    let pages = |section: &Section| -> Vec<Arc<dyn Page>> {
        let stats = &section.settings.stats;
        if !stats.enabled {
            return Vec::new();
        }
        vec![Arc::new(StatsPage::new(&section.name, stats, Arc::clone(pages)))]
    };
    let mut assembled = assemble::assemble(&config, &host::addresses, &pages, &mut findings);
    let warnings = say(&findings, voice)?;
    for backend in &mut assembled.settings.backends {
        for server in &mut backend.servers {
            server.number = numbers.of(&backend.name, &server.name);
        }
    }
    Ok(Read { config, assembled, warnings })
}

/// Says the findings; how many warnings there were, or a refusal.
fn say(findings: &Findings, voice: Voice) -> Result<usize, Refused> {
    let count = |level| findings.list.iter().filter(|finding| finding.level == level).count();
    if voice == Voice::Aloud {
        findings.list.iter().for_each(console::say);
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
