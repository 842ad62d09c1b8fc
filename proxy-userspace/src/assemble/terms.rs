//! What single words of the configuration are in the engine's terms.

use crate::config::model::{self, Balance, Config, HashFunction, Mode, Settings as Said};
use crate::config::options::{CloseMode, Switch};
use crate::http::balance::{Algorithm, Function, Hashing};
use crate::http::settings::{self, Connection};
use std::time::Duration;

/// What holds for the whole process.
pub(super) fn global(config: &Config) -> settings::Global {
    let said = &config.global;
    let mut global = settings::Global::default();
    let size = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
    global.threads = said.nbthread.map_or(0, size);
    global.maxconn = said.maxconn.filter(|most| *most > 0);
    global.hard_stop_after = said.hard_stop_after_ms.map(millis);
    global.bufsize = said.bufsize.map_or(global.bufsize, size);
    global.maxrewrite = said.maxrewrite.map_or(global.maxrewrite, size);
    global.max_headers = said.maxhdr.map_or(global.max_headers, size);
    // The pools have one clock: it is set to the longest of the servers' delays.
    let servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
    if let Some(longest) = servers.map(|server| server.settings.pool_purge_delay_ms).max() {
        global.pool_purge_delay = millis(longest);
    }
    global
}

/// A time in milliseconds.
pub(super) fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

/// 0 is for ever, as not set is.
pub(super) fn time(ms: Option<u32>) -> Option<Duration> {
    ms.filter(|ms| *ms > 0).map(millis)
}

/// Whether TCP keep-alive is asked for on one side, or on both.
pub(super) fn keeps_alive(said: &Said, side: Switch) -> bool {
    said.switches.has(side) || said.switches.has(Switch::TcpKeepAlive)
}

/// `mode`.
pub(super) fn mode(mode: Mode) -> settings::Mode {
    match mode {
        Mode::Http => settings::Mode::Http,
        Mode::Tcp => settings::Mode::Tcp,
    }
}

/// The options about HTTP closes.
pub(super) fn connection(mode: CloseMode) -> Connection {
    match mode {
        CloseMode::KeepAlive => Connection::KeepAlive,
        CloseMode::Tunnel => Connection::Tunnel,
        CloseMode::ServerClose => Connection::ServerClose,
        CloseMode::Close | CloseMode::ForceClose => Connection::Close,
    }
}

/// `option redispatch`.
pub(super) fn redispatch(said: Option<i32>) -> settings::Redispatch {
    match said {
        None | Some(0) => settings::Redispatch::Never,
        Some(-1) => settings::Redispatch::Last,
        Some(every @ 1..) => settings::Redispatch::Every(every.unsigned_abs()),
        Some(before) => settings::Redispatch::BeforeLast(before.unsigned_abs()),
    }
}

/// `option forwardfor`.
pub(super) fn forward_for(said: &Said) -> Option<settings::ForwardFor> {
    said.forward_for.as_ref().map(|said| settings::ForwardFor {
        header: said.header.clone(),
        except: said.except,
        if_none: said.if_none,
    })
}

/// `errorfile`.
pub(super) fn error_pages(said: &Said) -> settings::ErrorPages {
    let pages = said.error_files.iter();
    settings::ErrorPages(pages.map(|(code, text)| (*code, text.as_slice().into())).collect())
}

/// `balance`.
pub(super) fn algorithm(said: &Balance) -> Algorithm {
    let size = |size: &u32| usize::try_from(*size).unwrap_or(usize::MAX);
    match said {
        Balance::RoundRobin => Algorithm::RoundRobin,
        Balance::StaticRoundRobin => Algorithm::StaticRoundRobin,
        Balance::LeastConn => Algorithm::LeastConn,
        Balance::First => Algorithm::First,
        Balance::Source => Algorithm::Source,
        Balance::Uri { length, depth, whole, path_only } => Algorithm::Uri {
            length: size(length),
            depth: size(depth),
            whole: *whole,
            path_only: *path_only,
        },
        Balance::Header { name, use_domain_only } => {
            Algorithm::header(name.clone(), *use_domain_only)
        }
        Balance::Random { draws } => Algorithm::Random { draws: *draws },
    }
}

/// `hash-type`.
pub(super) fn hashing(said: &Said) -> Hashing {
    let hash = said.hash_type;
    Hashing {
        consistent: hash.consistent,
        function: match hash.function {
            HashFunction::Sdbm => Function::Sdbm,
            HashFunction::Djb2 => Function::Djb2,
            HashFunction::Wt6 => Function::Wt6,
            HashFunction::Crc32 => Function::Crc32,
        },
        avalanche: hash.avalanche,
    }
}

/// `http-reuse`.
pub(super) fn reuse(said: model::Reuse) -> settings::Reuse {
    match said {
        model::Reuse::Never => settings::Reuse::Never,
        model::Reuse::Safe => settings::Reuse::Safe,
        model::Reuse::Aggressive => settings::Reuse::Aggressive,
        model::Reuse::Always => settings::Reuse::Always,
    }
}
