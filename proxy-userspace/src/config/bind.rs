//! `bind` and `stats socket` lines.

use super::address::{self, Address, Use};
use super::args::Args;
use super::directives;
use super::model::{AccessLevel, Bind, StatsSocket};
use crate::host;

/// Reads a `bind` line, its first word taken: one [`Bind`] for each address.
pub(super) fn bind(args: &mut Args<'_>) -> Vec<Bind> {
    let Some(text) = args.need("bind", "an address such as :80 or 127.0.0.1:8080") else {
        return Vec::new();
    };
    let at = args.last();
    let mut addresses = Vec::new();
    for part in text.split(',') {
        match address::parse(part, Use::Listen) {
            Ok(list) => addresses.extend(list),
            Err(why) => args.wrong(format!("'bind': {why}")),
        }
    }
    let mut model = Bind {
        address: Address::Fd(-1),
        name: None,
        id: None,
        accept_proxy: false,
        maxconn: None,
        backlog: None,
        mode: None,
        user: None,
        group: None,
        interface: None,
        v6only: None,
        defer_accept: false,
        transparent: false,
        user_timeout_ms: 0,
        fast_open: false,
        mss: None,
        at,
    };
    while let Some(word) = args.next() {
        keyword(args, word, &mut model);
    }
    if addresses.len() > 1 && model.id.take().is_some() {
        args.wrong("an 'id' is for one address; give each a 'bind' of its own");
    }
    addresses.into_iter().map(|address| Bind { address, ..model.clone() }).collect()
}

fn keyword(args: &mut Args<'_>, word: &str, to: &mut Bind) {
    match word {
        "name" => to.name = args.need(word, "a name").map(str::to_owned),
        "id" => to.id = args.number(word, 1..=i32::MAX.unsigned_abs()),
        "accept-proxy" => to.accept_proxy = true,
        "maxconn" => to.maxconn = args.number(word, 0..=i32::MAX.unsigned_abs()),
        "backlog" => to.backlog = args.number(word, 0..=i32::MAX.unsigned_abs()),
        "mode" => to.mode = mode(args),
        "user" | "uid" => to.user = user(args, word),
        "group" | "gid" => to.group = group(args, word),
        "interface" => to.interface = args.need(word, "an interface's name").map(str::to_owned),
        "v4v6" => to.v6only = Some(false),
        "v6only" => to.v6only = Some(true),
        "defer-accept" => to.defer_accept = true,
        "transparent" => to.transparent = true,
        "tcp-ut" => to.user_timeout_ms = args.time(word).unwrap_or_default(),
        "tfo" => to.fast_open = true,
        "mss" => to.mss = args.number(word, 1..=u16::MAX),
        "nice" => {
            args.moot(word, "every connection has the same rank");
            let _ = args.number(word, -1024..=1024);
        }
        _ => unknown(args, word),
    }
}

fn unknown(args: &mut Args<'_>, word: &str) {
    let theirs = directives::BIND_OTHERS.iter().find(|other| other.0 == word);
    if let Some((_, arguments)) = theirs {
        args.wrong(format!("'{word}' of 'bind' is HAProxy's; teardown has not got it"));
        args.skip(*arguments);
        return;
    }
    let hint = crate::near::hint(word, directives::BIND.iter().map(|keyword| keyword.name));
    args.wrong(format!("unknown keyword '{word}' in 'bind'{hint}"));
    if !args.lenient {
        args.skip(args.line.words.len());
    }
}

/// Reads a `stats socket` line, both words taken.
pub(super) fn stats_socket(args: &mut Args<'_>) -> Option<StatsSocket> {
    let text = args.need("stats socket", "a path or an address")?;
    let at = args.last();
    let address = if text.contains(['/', ':', '@']) {
        address::parse(text, Use::Listen)
    } else {
        Ok(vec![Address::Unix(text.into())])
    };
    let address = match address {
        Ok(mut list) => list.pop()?,
        Err(why) => {
            args.wrong(format!("'stats socket': {why}"));
            return None;
        }
    };
    let level = AccessLevel::default();
    let mut socket = StatsSocket { address, level, mode: None, user: None, group: None, at };
    while let Some(word) = args.next() {
        match word {
            "level" => socket.level = args.choice("level", &AccessLevel::NAMES).unwrap_or_default(),
            "mode" => socket.mode = mode(args),
            "user" | "uid" => socket.user = user(args, word),
            "group" | "gid" => socket.group = group(args, word),
            // A reload keeps the listening sockets without being told.
            "expose-fd" => {
                let _ = args.choice(word, &[("listeners", ())]);
            }
            // Replies carry no severity; only "none" asks for nothing else.
            "severity-output" => {
                let _ = args.choice(word, &[("none", ())]);
            }
            "process" | "thread" => args.skip(1),
            _ => unknown_stats_word(args, word),
        }
    }
    Some(socket)
}

fn unknown_stats_word(args: &mut Args<'_>, word: &str) {
    let known = ["level", "mode", "user", "group", "uid", "gid", "expose-fd"];
    let hint = crate::near::hint(word, known);
    let list = known.join(", ");
    args.wrong(format!("unknown keyword '{word}' in 'stats socket', expected one of {list}{hint}"));
    args.skip(args.line.words.len());
}

fn mode(args: &mut Args<'_>) -> Option<u32> {
    let word = args.need("mode", "octal permissions such as 660")?;
    let mode = u32::from_str_radix(word, 8).ok().filter(|mode| *mode <= 0o7777);
    if mode.is_none() {
        args.wrong(format!("'mode' expects octal permissions such as 660, not '{word}'"));
    }
    mode
}

/// Takes a user, by name or by number as `word` says.
pub(super) fn user(args: &mut Args<'_>, word: &str) -> Option<u32> {
    account(args, word, word == "uid", "/etc/passwd", "user")
}

/// Takes a group, by name or by number as `word` says.
pub(super) fn group(args: &mut Args<'_>, word: &str) -> Option<u32> {
    account(args, word, word == "gid", "/etc/group", "group")
}

fn account(args: &mut Args<'_>, word: &str, by_id: bool, file: &str, what: &str) -> Option<u32> {
    if by_id {
        return args.number(word, 0..=u32::MAX - 1);
    }
    let name = args.need(word, &format!("the name of a {what}"))?;
    let table = host::file(file.as_ref()).unwrap_or_default();
    let id = lookup(&String::from_utf8_lossy(&table), name);
    if id.is_none() {
        args.wrong(format!("there is no {what} '{name}' on this host"));
    }
    id
}

/// The third field of the line whose first field is `name` (passwd(5), group(5)).
fn lookup(table: &str, name: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}
