//! The proxy beside the observer: from a configuration to a running engine, and reloads.

use super::labels::Labels;
use super::stated::ServerNumbers;
use crate::admin::proxy::{Control, OfConfig};
use crate::admin::session::Terms;
use crate::admin::socket::RuntimeSocket;
use crate::assemble::{self, Assembled};
use crate::config::model::{Config, Proxy as Section};
use crate::config::{self, Address, Findings, Strictness, labels};
use crate::http::closes::Closes;
use crate::http::engine::{self, Engine};
use crate::http::health::board::Board;
use crate::http::health::{self, Surroundings};
use crate::http::hooks::{Answer, Request};
use crate::http::listener::Listeners;
use crate::http::rules::Page;
use crate::http::syslog::{Logger, Style};
use crate::privilege;
use anyhow::{Context, bail};
use proxy_common::key::Endpoint;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The configuration is wrong; what is wrong has been said.
#[derive(Debug, thiserror::Error)]
#[error("errors in the configuration: {0}")]
pub struct Refused(usize);

/// `teardown run -c`: says everything that is wrong, and nothing more.
///
/// # Errors
/// A file that cannot be read.
pub fn check(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    match read(files, &Arc::default(), &ServerNumbers::default()) {
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

/// A configuration, read and put together.
struct Read {
    config: Config,
    assembled: Assembled,
    warnings: usize,
}

/// Reads `files` strictly, says what is to be said of them, and puts them together.
fn read(
    files: &[PathBuf],
    pages: &Arc<OnceLock<Arc<Control>>>,
    numbers: &ServerNumbers,
) -> anyhow::Result<Read> {
    if files.is_empty() {
        return Err(crate::cli::Usage("no configuration is given: say -f FILE".to_owned()).into());
    }
    let (config, mut findings) = config::load(files, Strictness::Strict)?;
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

/// A proxy with its sockets bound and its files open, not yet running.
pub struct Prepared {
    files: Vec<PathBuf>,
    config: Config,
    assembled: Assembled,
    styles: HashMap<String, Style>,
    listeners: Listeners,
    pages: Arc<OnceLock<Arc<Control>>>,
    numbers: Arc<ServerNumbers>,
}

/// A configuration that can be run; nothing of it was done yet.
pub struct Planned {
    files: Vec<PathBuf>,
    config: Config,
    assembled: Assembled,
    pages: Arc<OnceLock<Arc<Control>>>,
    numbers: Arc<ServerNumbers>,
}

impl Planned {
    /// Reads the configuration.
    ///
    /// # Errors
    /// A wrong one.
    pub fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let pages = Arc::new(OnceLock::new());
        let numbers = Arc::new(ServerNumbers::default());
        let Read { config, assembled, .. } = read(files, &pages, &numbers)?;
        Ok(Self { files: files.to_vec(), config, assembled, pages, numbers })
    }

    /// Whether it asks to be run in the background.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.config.global.daemon
    }

    /// Binds, with whatever privileges that takes.
    ///
    /// # Errors
    /// An address that cannot be bound, a syslog server that cannot be reached.
    pub fn prepare(self) -> anyhow::Result<Prepared> {
        let Self { files, config, assembled, pages, numbers } = self;
        raise_descriptors(&config)?;
        let settings = &assembled.settings;
        let listeners =
            Listeners::bind(settings, engine::workers(settings), &Listeners::default())?;
        let mut findings = Findings::default();
        let styles = assemble::logs(&config, &labels::resolve, &mut findings);
        say(&findings)?;
        if let Some(pidfile) = &config.global.pidfile {
            std::fs::write(pidfile, format!("{}\n", std::process::id()))
                .with_context(|| format!("cannot write the pidfile {}", pidfile.display()))?;
        }
        Ok(Prepared { files, config, assembled, styles, listeners, pages, numbers })
    }
}

impl Prepared {
    /// The names of its addresses.
    #[must_use]
    pub fn labels(&self) -> Labels {
        Labels::of_own(labels::Labels::new(&self.config, &labels::resolve), &self.numbers)
    }

    /// The `close` words of servers.
    #[must_use]
    pub fn policies(&self) -> Vec<ServerPolicy> {
        policies(&self.config)
    }

    /// Binds what `stats socket` lines ask for.
    ///
    /// # Errors
    /// An address that cannot be bound.
    pub fn sockets(&self) -> anyhow::Result<Vec<(RuntimeSocket, Terms)>> {
        let global = &self.config.global;
        let silence = global.stats_timeout_ms.unwrap_or(10_000);
        let silence = Some(Duration::from_millis(silence.into())).filter(|time| !time.is_zero());
        let most = usize::try_from(global.stats_maxconn.unwrap_or(10)).unwrap_or(usize::MAX);
        let places = Some(Arc::new(Semaphore::new(most)));
        let mut sockets = Vec::new();
        for said in &self.config.global.stats_sockets {
            let Address::Unix(path) = &said.address else {
                bail!(
                    "{}: 'stats socket' at '{}': teardown's runtime sockets are Unix sockets; \
                     give a path",
                    said.at,
                    said.address
                );
            };
            let socket = RuntimeSocket::bind(path)?;
            permit(path, said.mode, said.user, said.group)
                .with_context(|| format!("cannot change who may use {}", path.display()))?;
            let terms = Terms { level: said.level, silence, places: places.clone() };
            sockets.push((socket, terms));
        }
        Ok(sockets)
    }

    /// Goes into the `chroot`, and becomes the `group` and the `user`.
    ///
    /// # Errors
    /// Where the system refuses; then the daemon had better not run on.
    pub fn give_up_root(&self) -> anyhow::Result<()> {
        let global = &self.config.global;
        privilege::become_user(global.chroot.as_deref(), global.user, global.group)
            .context("cannot give up root")
    }

    /// Starts the workers and the checks, which tell `ear` of their connections.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(self, ear: Arc<dyn Closes>) -> anyhow::Result<Running> {
        let Self { files, config, assembled, styles, listeners, pages, numbers: stated } = self;
        let jail = config.global.chroot;
        let Assembled { settings, checks, rises, numbers, .. } = assembled;
        let logger = Arc::new(Logger::new(styles));
        let closes = ear;
        let log = Arc::clone(&logger);
        let heard = Arc::clone(&closes);
        // What reads the network's bytes needs no capability: the workers get theirs from the
        // thread that starts them.
        let starting = std::thread::spawn(move || -> anyhow::Result<Engine> {
            privilege::drop_all()?;
            Ok(Engine::start(settings, listeners, log, heard)?)
        });
        let engine = starting.join().map_err(|_| anyhow::anyhow!("cannot start the workers"))??;
        let engine = Arc::new(engine);
        let board = Arc::new(Board::new(&rises));
        let of_config = OfConfig { board: Arc::clone(&board), numbers: Arc::new(numbers) };
        let control = Arc::new(Control::new(Arc::clone(&engine), Arc::clone(&logger), of_config));
        // The pages were made before there was anything to show.
        let _ = pages.set(Arc::clone(&control));
        let running = Running {
            files,
            jail,
            engine,
            logger,
            control,
            closes,
            pages,
            numbers: stated,
            checks: Mutex::new(JoinSet::new()),
        };
        running.check(checks, &board);
        Ok(running)
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

/// Room for two descriptors a connection, where the system lets us.
fn raise_descriptors(config: &Config) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = config.global.maxconn.map(|most| u64::from(most) * 2 + 100);
    let Some(wanted) = config.global.ulimit_n.or(needed) else { return Ok(()) };
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let most = now.maximum.map_or(wanted, |most| most.max(wanted));
    let raised = Rlimit { current: Some(wanted), maximum: Some(most) };
    if setrlimit(Resource::Nofile, raised).is_err() {
        if config.global.ulimit_n.is_some() {
            bail!("cannot raise the limit of descriptors to {wanted} ('ulimit-n')");
        }
        eprintln!(
            "[WARNING] {wanted} descriptors are needed for maxconn, and the limit is {}: \
             connections may be refused",
            now.current.unwrap_or_default()
        );
    }
    Ok(())
}

fn permit(
    path: &Path,
    mode: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if user.is_some() || group.is_some() {
        std::os::unix::fs::chown(path, user, group)?;
    }
    match mode {
        Some(mode) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)),
        None => Ok(()),
    }
}

/// A running proxy.
pub struct Running {
    files: Vec<PathBuf>,
    /// The `chroot` that it lives in.
    jail: Option<PathBuf>,
    engine: Arc<Engine>,
    logger: Arc<Logger>,
    control: Arc<Control>,
    closes: Arc<dyn Closes>,
    pages: Arc<OnceLock<Arc<Control>>>,
    numbers: Arc<ServerNumbers>,
    checks: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Running").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Running {
    /// The commands of the runtime socket.
    #[must_use]
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The servers' numbers for the kernel side.
    pub(super) fn numbers(&self) -> &ServerNumbers {
        &self.numbers
    }

    /// Where it listens.
    pub(super) fn doors(&self) -> Vec<Endpoint> {
        let addresses = self.engine.addresses();
        addresses.into_iter().map(|(_, address)| labels::endpoint(address)).collect()
    }

    /// Ends the checks that run and starts these.
    fn check(&self, plans: Vec<health::Plan>, board: &Arc<Board>) {
        let proxies = self.engine.proxies();
        let mut tasks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
        for (index, plan) in plans.iter().enumerate() {
            let (backend, server) = plan.server;
            let Some(backend) = proxies.backends.get(backend) else { continue };
            let Some(server) = backend.servers.get(server) else { continue };
            let around = Surroundings {
                backend: Arc::clone(backend),
                server: Arc::clone(server),
                board: Arc::clone(board),
                events: Arc::clone(&self.logger) as Arc<dyn health::Events>,
                closes: Arc::clone(&self.closes),
            };
            tasks.spawn(health::run(plan.clone(), around, health::first_after(&plans, index)));
        }
    }

    /// Reads the configuration anew and puts it in place.
    ///
    /// # Errors
    /// Why it was not: then the old one runs on.
    pub fn reload(&self) -> anyhow::Result<Reloaded> {
        let Read { config, assembled, .. } = read(&self.files, &self.pages, &self.numbers)
            .map_err(|error| match &self.jail {
                Some(jail) if !error.is::<Refused>() => {
                    let jail = jail.display();
                    error.context(format!("a reload looks for its files within the chroot {jail}"))
                }
                _ => error,
            })?;
        let mut findings = Findings::default();
        let styles = assemble::logs(&config, &labels::resolve, &mut findings);
        say(&findings)?;
        let Assembled { settings, checks, rises, numbers, .. } = assembled;
        self.engine.reload(settings)?;
        self.logger.reload(styles);
        let board = Arc::new(Board::new(&rises));
        self.control.reloaded(OfConfig { board: Arc::clone(&board), numbers: Arc::new(numbers) });
        self.check(checks, &board);
        let labels = labels::Labels::new(&config, &labels::resolve);
        Ok(Reloaded { labels, policies: policies(&config) })
    }

    /// Takes no more connections, and waits until those that are open have ended.
    pub async fn drain(&self) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.engine.stop();
        let engine = Arc::clone(&self.engine);
        // A panic of a worker has been said on its way.
        let _ = tokio::task::spawn_blocking(move || engine.join()).await;
    }

    /// Closes everything at once.
    pub fn cut(&self) {
        self.engine.hard_stop();
    }
}

/// `stats uri`: the page, and with `;csv` behind it the numbers.
struct StatsPage {
    uri: String,
    refresh_ms: Option<u32>,
    of: Arc<OnceLock<Arc<Control>>>,
}

impl std::fmt::Debug for StatsPage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("StatsPage").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Page for StatsPage {
    fn answer(&self, request: &Request<'_>) -> Option<Answer> {
        let rest = request.target.strip_prefix(self.uri.as_str())?;
        if !matches!(request.method, "GET" | "HEAD") {
            return None;
        }
        let csv = rest.contains(";csv");
        let control = self.of.get()?;
        let mut fields = vec![("Cache-Control".to_owned(), b"no-cache".to_vec())];
        if let Some(ms) = self.refresh_ms.filter(|_| !csv) {
            fields.push(("Refresh".to_owned(), (ms / 1_000).to_string().into_bytes()));
        }
        Some(Answer {
            status: 200,
            content_type: Some(if csv { "text/plain" } else { "text/html" }.to_owned()),
            fields,
            body: control.table(csv).into_bytes(),
            stats: true,
        })
    }
}
