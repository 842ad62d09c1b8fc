//! HAProxy's commands for the proxy: statistics, and what may be changed while it runs.

mod checks;
mod columns;
mod commands;
mod csv;
mod fields;
mod frontends;
mod idle;
mod info;
mod json;
mod limits;
mod lists;
mod rows;
mod sessions;
mod set;
mod show;
mod state;
mod typed;

use crate::admin::session::DENIED;
use crate::assemble::Numbers;
use crate::config::address::Address;
use crate::config::model::AccessLevel;
use crate::http::engine::Engine;
use crate::http::health::board::Board;
use crate::http::live::{Backend, Proxies, Server};
use crate::http::syslog::Logger;
use commands::{COMMANDS, SHUT_SESSIONS};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// What the commands act on.
pub struct Control {
    engine: Arc<Engine>,
    logger: Arc<Logger>,
    /// What a reload replaces.
    of_config: Mutex<OfConfig>,
    sockets: Vec<(Address, AccessLevel)>,
    started: Instant,
    started_at: SystemTime,
    /// When `show info` last looked at the process's CPU time, and what it was.
    looked: Mutex<(Instant, Duration)>,
}

/// What belongs to one configuration.
#[derive(Debug, Clone)]
pub struct OfConfig {
    /// Where the checks' results stand.
    pub board: Arc<Board>,
    /// The proxies' and servers' numbers.
    pub numbers: Arc<Numbers>,
}

/// Everything at one moment.
struct Scene {
    proxies: Arc<Proxies>,
    board: Arc<Board>,
    numbers: Arc<Numbers>,
    logger: Arc<Logger>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Control").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Control {
    /// The commands of a running engine, which are taken at `sockets`.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        logger: Arc<Logger>,
        of_config: OfConfig,
        sockets: Vec<(Address, AccessLevel)>,
    ) -> Self {
        Self {
            sockets,
            engine,
            logger,
            of_config: Mutex::new(of_config),
            started: Instant::now(),
            started_at: SystemTime::now(),
            looked: Mutex::new((Instant::now(), info::cpu_time())),
        }
    }

    /// A reload has put another configuration in place.
    pub fn reloaded(&self, of_config: OfConfig) {
        *self.of_config.lock().unwrap_or_else(PoisonError::into_inner) = of_config;
    }

    fn scene(&self) -> Scene {
        let of_config = self.of_config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Scene {
            proxies: self.engine.proxies(),
            board: of_config.board,
            numbers: of_config.numbers,
            logger: Arc::clone(&self.logger),
        }
    }

    /// The lines of `help`.
    #[must_use]
    pub fn help(level: AccessLevel) -> String {
        let allowed = COMMANDS.iter().filter(|command| command.1 <= level);
        allowed.map(|command| format!("  {}\n", command.2)).collect()
    }

    /// Whether `words` are one of these commands.
    #[must_use]
    pub fn knows(words: &[String]) -> bool {
        COMMANDS.iter().any(|command| begins(words, command.0))
    }

    /// Carries a command out; `None` if it is none of the proxy's.
    pub async fn command(&self, words: &[String], level: AccessLevel) -> Option<String> {
        // The longest name that fits.
        let found = COMMANDS.iter().filter(|command| begins(words, command.0));
        let (name, least, _) = found.max_by_key(|command| command.0.len())?;
        if level < *least {
            return Some(DENIED.to_owned());
        }
        let rest: Vec<&str> =
            words.iter().skip(name.split(' ').count()).map(String::as_str).collect();
        let rest = rest.as_slice();
        let scene = self.scene();
        let answer = match *name {
            "show stat" => show::stat(&scene, rest, level >= AccessLevel::Operator),
            "show backend" => show::backends(&scene),
            "show cli level" => format!("{}\n", level.name()),
            "show cli sockets" => self.sockets(),
            "show version" => format!("{}\n", env!("CARGO_PKG_VERSION")),
            "show servers conn" => idle::servers(&scene, &self.engine.idle().await, rest),
            "show acl" => lists::patterns("ACL", rest),
            "show map" => lists::patterns("map", rest),
            "show table" => lists::tables(rest),
            "show env" => lists::env(rest),
            "show servers state" => show::servers_state(&scene, rest),
            "show errors" => sessions::errors(&scene, rest),
            "show sess" => sessions::list(self.engine.sessions().await, rest),
            "shutdown session" => sessions::kill(&self.engine, rest).await,
            "clear counters" => set::clear(&scene, rest, level),
            "disable agent" => checks::agent(&scene, rest, false),
            "enable agent" => checks::agent(&scene, rest, true),
            "disable health" => checks::health(&scene, rest, false),
            "enable health" => checks::health(&scene, rest, true),
            "disable frontend" => frontends::enable(&self.engine, &scene, rest, false),
            "enable frontend" => frontends::enable(&self.engine, &scene, rest, true),
            "shutdown frontend" => frontends::shut(&self.engine, &scene, rest),
            "disable server" => set::server(&scene, rest.first(), &["state", "maint"]),
            "enable server" => set::server(&scene, rest.first(), &["state", "ready"]),
            "set server" => set::server(&scene, rest.first(), rest.get(1..).unwrap_or_default()),
            "set weight" => {
                let value = rest.get(1).copied().unwrap_or_default();
                set::server(&scene, rest.first(), &["weight", value])
            }
            "get weight" => set::weight(&scene, rest),
            "set maxconn frontend" => frontends::maxconn(&scene, rest),
            "set maxconn global" => limits::maxconn(&scene, rest),
            "set rate-limit" => limits::rate(&scene, rest),
            "set maxconn server" => set::maxconn_server(&scene, rest),
            "shutdown sessions server" => set::shutdown_sessions(&scene, rest),
            _ => return None,
        };
        if SHUT_SESSIONS.contains(name) {
            self.engine.look();
        }
        Some(answer)
    }

    /// Where commands are taken, and what may be said there.
    fn sockets(&self) -> String {
        let lines = self.sockets.iter().map(|(at, level)| format!("{at} {} all\n", level.name()));
        format!("# socket lvl processes\n{}", lines.collect::<String>())
    }

    /// HAProxy's `show info`; in the plain form, to be followed by the observer's own lines.
    #[must_use]
    pub fn info(&self, words: &[&str]) -> String {
        info::show(self, &self.scene(), words)
    }

    /// The statistics as the page shows them: in a form of `show stat` if one is among `flags`, and
    /// without the lines that these leave out; with addresses and algorithms where `legends` says so; of
    /// these proxies alone, where there are any.
    #[must_use]
    pub fn table(&self, flags: &[&str], legends: bool, proxies: &[String]) -> String {
        show::page(&self.scene(), flags, legends, proxies)
    }
}

/// Whether `words` begin with those of `name`.
fn begins(words: &[String], name: &str) -> bool {
    let mut given = words.iter();
    name.split(' ').all(|part| given.next().is_some_and(|word| word == part))
}

impl Scene {
    /// The number of the proxy that a word names, by name, as `#2` or by the number alone; -1 is all.
    fn proxy(&self, word: &str) -> Result<i64, String> {
        let frontend = self.proxies.frontend(word).map(|it| self.numbers.frontends.get(it.index));
        let backend = self.proxies.backend(word).map(|it| self.numbers.backends.get(it.index));
        let named = frontend.or(backend).flatten().copied().map(i64::from);
        match named.unwrap_or_else(|| limits::number(word.trim_start_matches('#'))) {
            0 => Err("No such proxy.\n".to_owned()),
            number => Ok(number),
        }
    }

    /// The backend and server that `BACKEND/SERVER` names, to be changed.
    fn server(&self, name: Option<&&str>) -> Result<(&Arc<Backend>, &Arc<Server>), String> {
        let (backend, server) = self.find(name)?;
        if backend.shut.load(Relaxed) {
            return Err("Proxy is disabled.\n".to_owned());
        }
        Ok((backend, server))
    }

    /// The backend and server that `BACKEND/SERVER` names.
    fn find(&self, name: Option<&&str>) -> Result<(&Arc<Backend>, &Arc<Server>), String> {
        let name = name.copied().unwrap_or_default();
        let Some((backend, server)) = name.split_once('/') else {
            return Err("Require 'backend/server'.\n".to_owned());
        };
        let Some(backend) = self.proxies.backend(backend) else {
            return Err("No such backend.\n".to_owned());
        };
        let server = backend.server(server).ok_or("No such server.\n")?;
        Ok((backend, server))
    }
}
