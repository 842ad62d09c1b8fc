//! The `global` section.

use super::args::Args;
use super::diag::Level;
use super::log::{Log, log};
use super::model::Global;
use super::{bind, directives};
use crate::near;

/// Reads one line of a `global` section.
pub(super) fn directive(args: &mut Args<'_>, to: &mut Global) {
    const MAX: u32 = i32::MAX.unsigned_abs();
    let Some(word) = args.next() else { return };
    match word {
        "log" => match log(args) {
            Some(Log::Target(target)) => to.logs.push(target),
            Some(Log::Global) => args.wrong("'log global' stands in a proxy, not in 'global'"),
            None => return,
        },
        "log-tag" => to.log_tag = text(args, word),
        "log-send-hostname" => {
            to.log_send_hostname = Some(args.next().unwrap_or_default().to_owned());
        }
        "chroot" => to.chroot = text(args, word).map(Into::into),
        "pidfile" => to.pidfile = text(args, word).map(Into::into),
        // 0 says nothing, as in HAProxy.
        "maxconn" => to.maxconn = args.number(word, 0..=MAX).filter(|most| *most > 0),
        "maxconnrate" => to.maxconnrate = args.number(word, 0..=MAX),
        "maxsessrate" => to.maxsessrate = args.number(word, 0..=MAX),
        "user" | "uid" => to.user = bind::user(args, word),
        "group" | "gid" => to.group = bind::group(args, word),
        "daemon" => to.daemon = true,
        "nbthread" => to.nbthread = args.number(word, 1..=64),
        "ulimit-n" => to.ulimit_n = args.number(word, 1..=1 << 30),
        "hard-stop-after" => to.hard_stop_after_ms = args.time(word),
        "h1-accept-payload-with-any-method" => to.accept_any_payload = true,
        "node" => to.node = text(args, word),
        "description" => to.description = Some(args.rest().join(" ")),
        "spread-checks" => to.spread_checks = args.number(word, 0..=50).unwrap_or_default(),
        "tune.bufsize" => to.bufsize = size(args, word, 2048),
        "tune.maxrewrite" => to.maxrewrite = size(args, word, 0),
        "tune.http.cookielen" => to.cookielen = args.number(word, 1..=65535),
        "tune.http.maxhdr" => to.maxhdr = args.number(word, 1..=32767),
        "stats" => return stats(args, to),
        "no" => return negated(args),
        _ => return unknown(args, word),
    }
    args.end(word);
}

/// `no`, which HAProxy knows before what teardown need not have alone.
fn negated(args: &mut Args<'_>) {
    match args.need("no", "the word that it takes back") {
        Some(word) if directives::MOOT.contains(&word) => unknown(args, word),
        Some(word) => args.wrong(format!("'{word}' in 'global' cannot be taken back by 'no'")),
        None => {}
    }
}

fn text(args: &mut Args<'_>, word: &str) -> Option<String> {
    args.need(word, "a word").map(str::to_owned)
}

fn size(args: &mut Args<'_>, name: &str, least: u32) -> Option<u32> {
    let word = args.need(name, "a size such as 16384 or 32k")?;
    let size = crate::units::size(word).ok().and_then(|size| u32::try_from(size).ok());
    let size = size.filter(|size| (least..=1 << 24).contains(size));
    if size.is_none() {
        args.wrong(format!("'{name}' expects a size from {least} to 16m, not '{word}'"));
    }
    size
}

fn stats(args: &mut Args<'_>, to: &mut Global) {
    match args.next() {
        Some("socket") => {
            if let Some(socket) = bind::stats_socket(args) {
                to.stats_sockets.push(socket);
            }
        }
        Some("timeout") => match args.time("stats timeout") {
            Some(0) => args.wrong("'stats timeout' expects a time above 0"),
            time => to.stats_timeout_ms = time,
        },
        Some("maxconn") => to.stats_maxconn = args.number("stats maxconn", 1..=65535),
        Some("bind-process") => {
            args.wrong("'stats bind-process' is HAProxy's; teardown has not got it");
            args.skip(args.line.words.len());
        }
        other => {
            let known = ["socket", "timeout", "maxconn"];
            let hint = near::hint(other.unwrap_or_default(), known);
            let message = format!("'stats' in 'global' expects one of {}{hint}", known.join(", "));
            if other.is_some() {
                args.wrong(message);
            } else {
                args.wrong_here(message);
            }
            args.skip(args.line.words.len());
        }
    }
    args.end("stats");
}

fn unknown(args: &mut Args<'_>, word: &str) {
    if directives::MOOT.contains(&word) {
        let at = args.last();
        args.findings.add(
            Level::Notice,
            Some(at),
            format!(
                "'{word}' is HAProxy's and without effect here: teardown has nothing that it tunes"
            ),
        );
    } else if let Some(gone) = directives::gone(directives::GLOBAL_GONE, word) {
        args.wrong(gone.message(word));
    } else if directives::GLOBAL_OTHERS.contains(&word) {
        args.wrong(format!("'{word}' is HAProxy's; teardown has not got it"));
    } else {
        let names = directives::GLOBAL.iter().map(|d| d.name.split(' ').next().unwrap_or(d.name));
        let hint = near::hint(word, names);
        args.wrong(format!("unknown keyword '{word}' in 'global' section{hint}"));
    }
}
