//! From a configuration that can be run to bound sockets, and to what runs on them.

use super::running::Running;
use super::{Origin, Read, ServerPolicy, Voice, descriptors, policies, read, say};
use crate::admin::proxy::{Control, OfConfig};
use crate::admin::session::Terms;
use crate::admin::socket::RuntimeSocket;
use crate::assemble::{self, Assembled};
use crate::config::model::{AccessLevel, Config};
use crate::config::{Address, Findings, labels};
use crate::daemon::stated::ServerNumbers;
use crate::daemon::steward::Steward;
use crate::host;
use crate::http::closes::Closes;
use crate::http::engine::{self, Engine};
use crate::http::health::board::Board;
use crate::http::listener::Listeners;
use crate::http::syslog::{Logger, Style};
use crate::labels::Labels;
use crate::privilege;
use anyhow::{Context, bail};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A configuration that can be run; nothing of it was done yet.
pub struct Planned {
    origin: Origin,
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
    pub fn read(origin: Origin) -> anyhow::Result<Self> {
        let pages = Arc::new(OnceLock::new());
        let numbers = Arc::new(ServerNumbers::default());
        let read = read(&origin, &pages, &numbers, Voice::Aloud)?;
        read.listens()?;
        let Read { config, assembled, .. } = read;
        Ok(Self { origin: origin.absolute()?, config, assembled, pages, numbers })
    }

    /// Whether it asks to be run in the background.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.config.global.daemon
    }

    /// Starts the process that reads the configuration for reloads. To be called before other
    /// threads are started.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn steward(&self, in_background: bool) -> anyhow::Result<Option<Steward>> {
        match &self.origin {
            Origin::Files(files) => Steward::start(files, in_background).map(Some),
            Origin::BuiltIn(_) => Ok(None),
        }
    }

    /// Binds, with whatever privileges that takes.
    ///
    /// # Errors
    /// An address that cannot be bound, a syslog server that cannot be reached.
    pub fn prepare(self) -> anyhow::Result<Prepared> {
        let Self { origin, config, assembled, pages, numbers } = self;
        descriptors::raise(&config.global)?;
        let settings = &assembled.settings;
        let listeners =
            Listeners::bind(settings, engine::workers(settings), &Listeners::default())?;
        let mut findings = Findings::default();
        let styles = assemble::logs(&config, &host::addresses, &mut findings);
        say(&findings, Voice::Aloud)?;
        Ok(Prepared { origin, config, assembled, styles, listeners, pages, numbers })
    }
}

/// A proxy with its sockets bound and its files open, not yet running.
pub struct Prepared {
    origin: Origin,
    config: Config,
    assembled: Assembled,
    styles: HashMap<String, Style>,
    listeners: Listeners,
    pages: Arc<OnceLock<Arc<Control>>>,
    numbers: Arc<ServerNumbers>,
}

impl Prepared {
    /// The names of its addresses.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let configured = labels::Labels::new(&self.config, &host::addresses);
        Labels::of_own(configured, |backend, server| self.numbers.of(backend, server))
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

    /// Writes the `pidfile`: once nothing is in the way any more, as it may be a living daemon's.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn write_pidfile(&self) -> anyhow::Result<()> {
        let Some(pidfile) = &self.config.global.pidfile else { return Ok(()) };
        std::fs::write(pidfile, format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write the pidfile {}", pidfile.display()))
    }

    /// Goes into the `chroot`, and becomes the `group` and the `user`.
    ///
    /// # Errors
    /// Where the system refuses; then the daemon had better not run on.
    pub fn give_up_root(&self) -> anyhow::Result<()> {
        let global = &self.config.global;
        Ok(privilege::become_user(global.chroot.as_deref(), global.user, global.group)?)
    }

    /// Starts the workers, and the checks on the runtime `outside`, which tell `ear` of their
    /// connections. The `steward` reads the configuration for reloads; without one they are read here.
    /// The daemon's own runtime socket is at `socket`.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(
        self,
        ear: Arc<dyn Closes>,
        outside: &Handle,
        steward: Option<Steward>,
        socket: &Path,
    ) -> anyhow::Result<Running> {
        let Self { origin, config, assembled, styles, listeners, pages, numbers: stated, .. } =
            self;
        let Assembled { settings, checks, healths, numbers, .. } = assembled;
        let logger = Arc::new(Logger::new(styles));
        let closes = ear;
        let log = Arc::clone(&logger);
        let heard = Arc::clone(&closes);
        // Who reads requests needs no capability: the workers get theirs, none, from the thread that
        // starts them.
        let starting = std::thread::spawn(move || -> anyhow::Result<Engine> {
            privilege::drop_all()?;
            Ok(Engine::start(settings, listeners, log, heard)?)
        });
        let engine = starting.join().map_err(|_| anyhow::anyhow!("cannot start the workers"))??;
        let engine = Arc::new(engine);
        let board = Arc::new(Board::new(&healths, &checks));
        let of_config = OfConfig { board: Arc::clone(&board), numbers: Arc::new(numbers) };
        let own = (Address::Unix(socket.to_owned()), AccessLevel::Admin);
        let more = config.global.stats_sockets.into_iter().map(|said| (said.address, said.level));
        let sockets = [own].into_iter().chain(more).collect();
        let (acted_on, told) = (Arc::clone(&engine), Arc::clone(&logger));
        let control = Arc::new(Control::new(acted_on, told, of_config, sockets));
        // The pages were made before there was anything to show.
        let _ = pages.set(Arc::clone(&control));
        let running = Running {
            origin,
            steward,
            engine,
            logger,
            control,
            closes,
            pages,
            numbers: stated,
            outside: outside.clone(),
            checks: Mutex::new(JoinSet::new()),
        };
        running.check(checks, &board);
        Ok(running)
    }
}

fn permit(
    path: &Path,
    mode: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // The mode first: it is the owner's to set, and soon that may be somebody else.
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    if user.is_some() || group.is_some() {
        std::os::unix::fs::chown(path, user, group)?;
    }
    Ok(())
}
