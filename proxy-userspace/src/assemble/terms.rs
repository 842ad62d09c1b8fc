//! What single words of the configuration are in the engine's terms.

use crate::config::model::{Config, ErrorWord, Probes, Settings as Said};
use crate::config::options::{CloseMode, Switch};
use crate::http::settings::{self, Connection};
use std::collections::BTreeMap;
use std::time::Duration;

/// What holds for the whole process.
pub(super) fn global(config: &Config) -> settings::Global {
    let said = &config.global;
    let mut global = settings::Global::default();
    let size = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
    global.threads = said.nbthread.map_or(0, size);
    global.maxconn = said.maxconn;
    global.connection_rate = said.maxconnrate.unwrap_or(0);
    global.session_rate = said.maxsessrate.unwrap_or(0);
    global.hard_stop_after = said.hard_stop_after_ms.map(millis);
    global.bufsize = said.bufsize.map_or(global.bufsize, size);
    global.maxrewrite = said.maxrewrite.map_or(global.maxrewrite, size);
    global.max_headers = said.maxhdr.map_or(global.max_headers, size);
    global.accept_any_payload = said.accept_any_payload;
    // As HAProxy does: a head has half of the buffer at least.
    global.maxrewrite = global.maxrewrite.min(global.bufsize / 2);
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

/// What TCP does of itself on one side: it probes where that is asked for there, or on both.
pub(super) fn tcp(said: &Said, side: Switch, probes: Probes, user_timeout: u32) -> settings::Tcp {
    settings::Tcp {
        keepalive: said.switches.has(side) || said.switches.has(Switch::TcpKeepAlive),
        probes: probes.count,
        idle: probes.idle_ms.div_ceil(1_000),
        interval: probes.interval_ms.div_ceil(1_000),
        user_timeout,
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

/// What takes the place of error pages.
pub(super) fn error_pages(config: &Config, said: &Said) -> settings::ErrorPages {
    let mut pages = BTreeMap::new();
    for word in &said.error_words {
        match word {
            ErrorWord::Page(code, page) => {
                pages.insert(*code, page.clone());
            }
            ErrorWord::BuiltIn(code) => {
                pages.remove(code);
            }
            ErrorWord::Section { name, codes, .. } => {
                let named = config.http_errors.iter().filter(|section| section.name == *name);
                let all = named.flat_map(|section| &section.pages);
                let wanted = all.filter(|(code, _)| codes.is_empty() || codes.contains(code));
                pages.extend(wanted.map(|(code, page)| (*code, page.clone())));
            }
        }
    }
    settings::ErrorPages(pages)
}
