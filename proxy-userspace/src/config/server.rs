//! `server` and `default-server` lines.

use super::address::{self, Address, Host, Port, Use};
use super::args::Args;
use super::cookie::part;
use super::directives;
use super::model::{InitAddr, Server, ServerSettings};
use crate::http::health::OnError;
use crate::http::live::Layer;
use crate::policy::words;

/// Reads a `server` line, its first word taken.
pub(super) fn server(args: &mut Args<'_>, defaults: &ServerSettings) -> Option<Server> {
    let name = args.need("server", "a name and an address")?.to_owned();
    named(args, name, defaults)
}

/// The rest of a server's line, its name taken.
fn named(args: &mut Args<'_>, name: String, defaults: &ServerSettings) -> Option<Server> {
    let at = args.last();
    if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.:".contains(*c)) {
        args.wrong(format!(
            "a server's name has letters, digits, '-', '_', '.' and ':', not '{bad}'"
        ));
    }
    let text = args.need("server", "an address such as 10.0.0.1:80")?;
    let address = match address::parse(text, Use::Server) {
        Ok(mut list) => list.pop()?,
        Err(why) => {
            args.wrong(format!("server '{name}': {why}"));
            return None;
        }
    };
    let mut server =
        Server { name, id: 0, says_id: false, address, settings: defaults.clone(), at };
    settings(args, &mut server.settings, "server", Some(&mut server.id));
    server.says_id = server.id > 0;
    if server.settings.check {
        check_port(args, &server);
    }
    Some(server)
}

/// Reads a `server-template` line, its first word taken.
pub(super) fn template(args: &mut Args<'_>, defaults: &ServerSettings) -> Vec<Server> {
    const WHAT: &str = "a prefix, a number or a range such as 1-5, and an address";
    let Some(prefix) = args.need("server-template", WHAT) else { return Vec::new() };
    let Some(range) = args.need("server-template", WHAT) else { return Vec::new() };
    let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number > 0);
    let ends = match range.split_once('-') {
        Some((low, high)) => number(low).zip(number(high)),
        None => number(range).map(|high| (1, high)),
    };
    let Some((low, high)) = ends.filter(|(low, high)| low <= high && high - low < 10_000) else {
        args.wrong(format!(
            "'server-template' expects a number or a range such as 1-5, not '{range}'"
        ));
        args.skip(args.line.words.len());
        return Vec::new();
    };
    let Some(first) = named(args, prefix.to_owned(), defaults) else { return Vec::new() };
    let name = |number: u32| format!("{prefix}{number}");
    (low..=high).map(|number| Server { name: name(number), ..first.clone() }).collect()
}

/// `source ADDR[:PORT]`: where connections come from.
pub(super) fn source(args: &mut Args<'_>) -> Option<Address> {
    let text = args.need("source", "an address such as 192.0.2.1, with a port or without")?;
    let address = match address::parse(text, Use::Server) {
        Ok(mut list) => list.pop(),
        Err(why) => {
            args.wrong(format!("'source': {why}"));
            None
        }
    };
    let fits = |address: &Address| {
        matches!(address, Address::Tcp { port: Port::Fixed(_) | Port::Mapped(0), .. })
    };
    if address.as_ref().is_some_and(|address| !fits(address)) {
        args.wrong(format!("'source' expects an address such as 192.0.2.1:4000, not '{text}'"));
    }
    let address = address.filter(fits);
    if matches!(args.peek(), "usesrc" | "interface") {
        let word = args.next().unwrap_or_default();
        args.wrong(format!("'{word}' of 'source' is HAProxy's; teardown has not got it"));
        args.skip(1);
    }
    address
}

/// Reads a `default-server` line, its first word taken.
pub(super) fn default_server(args: &mut Args<'_>, defaults: &mut ServerSettings) {
    settings(args, defaults, "default-server", None);
}

fn check_port(args: &mut Args<'_>, server: &Server) {
    let mapped = matches!(server.address, Address::Tcp { port: Port::Mapped(_), .. });
    if mapped && server.settings.check_port.is_none() && !args.lenient {
        let name = &server.name;
        args.findings.alert(
            server.at.clone(),
            format!("server '{name}' has neither a port of its own nor a check port: add 'port N'"),
        );
    }
}

fn settings(
    args: &mut Args<'_>,
    to: &mut ServerSettings,
    directive: &str,
    mut id: Option<&mut u32>,
) {
    const MAX: u32 = i32::MAX.unsigned_abs();
    let mut has_close = false;
    while let Some(word) = args.next() {
        match word {
            "check" => to.check = true,
            "no-check" => to.check = false,
            "backup" => to.backup = true,
            "no-backup" => to.backup = false,
            "disabled" => to.disabled = true,
            "enabled" => to.disabled = false,
            "inter" => set_time(args, word, &mut to.inter_ms),
            "fastinter" => to.fast_inter_ms = positive_time(args, word).or(to.fast_inter_ms),
            "downinter" => to.down_inter_ms = positive_time(args, word).or(to.down_inter_ms),
            "rise" => set(args.number(word, 1..=MAX), &mut to.rise),
            "fall" => set(args.number(word, 1..=MAX), &mut to.fall),
            "port" => to.check_port = args.number(word, 1..=u16::MAX).or(to.check_port),
            "addr" => to.check_addr = check_addr(args).or(to.check_addr.take()),
            "cookie" => {
                let value = part(args, word, "the server's value of the cookie", ";");
                to.cookie = value.map(str::to_owned).or(to.cookie.take());
            }
            "weight" => set(args.number(word, 0..=256), &mut to.weight),
            "maxconn" => set(args.number(word, 0..=MAX), &mut to.maxconn),
            "init-addr" => init_addr(args, &mut to.init_addr),
            "tcp-ut" => set(args.time(word), &mut to.user_timeout_ms),
            "source" => to.source = source(args).or(to.source.take()),
            "observe" => {
                let layers =
                    [("none", None), ("layer4", Some(Layer::Four)), ("layer7", Some(Layer::Seven))];
                set(args.choice(word, &layers), &mut to.observe);
            }
            "error-limit" => set(args.number(word, 1..=MAX), &mut to.error_limit),
            "on-error" => {
                let modes = [
                    ("fastinter", OnError::FastInter),
                    ("fail-check", OnError::FailCheck),
                    ("sudden-death", OnError::SuddenDeath),
                    ("mark-down", OnError::MarkDown),
                ];
                set(args.choice(word, &modes), &mut to.on_error);
            }
            "track" => {
                if let Some(word) = args.need(word, "a server, BACKEND/SERVER or SERVER") {
                    let (backend, server) =
                        word.rsplit_once('/').map_or((None, word), |(of, it)| (Some(of), it));
                    to.track = Some((backend.map(str::to_owned), server.to_owned()));
                }
            }
            "minconn" => set(args.number(word, 0..=MAX), &mut to.minconn),
            "slowstart" => set(args.time(word), &mut to.slowstart_ms),
            "maxqueue" => set(args.number(word, 0..=MAX), &mut to.maxqueue),
            "on-marked-down" => {
                let choice = args.choice(word, &[("shutdown-sessions", true)]);
                set(choice, &mut to.on_marked_down_shutdown);
            }
            "on-marked-up" => {
                let choice = args.choice(word, &[("shutdown-backup-sessions", true)]);
                set(choice, &mut to.on_marked_up_shutdown_backup);
            }
            "pool-max-conn" => {
                to.pool_max_conn = args
                    .number(word, -1..=i32::MAX)
                    .map_or(to.pool_max_conn, |most| u32::try_from(most).ok());
            }
            "max-reuse" => {
                to.max_reuse = args
                    .number(word, -1..=i32::MAX)
                    .map_or(to.max_reuse, |most| u32::try_from(most).ok());
            }
            "send-proxy" => to.send_proxy = true,
            "no-send-proxy" => to.send_proxy = false,
            "send-proxy-v2" => to.send_proxy_v2 = true,
            "no-send-proxy-v2" => to.send_proxy_v2 = false,
            "check-send-proxy" => to.check_send_proxy = true,
            "no-check-send-proxy" => to.check_send_proxy = false,
            "pool-purge-delay" => set(args.time(word), &mut to.pool_purge_delay_ms),
            "id" if id.is_some() => {
                if let (Some(number), Some(id)) = (args.number(word, 1..=MAX), id.as_deref_mut()) {
                    *id = number;
                }
            }
            "close" => {
                if std::mem::replace(&mut has_close, true) {
                    args.wrong("'close' stands once: all its words follow it");
                }
                close(args, to);
            }
            _ => unknown(args, directive, word),
        }
    }
}

fn set<T>(value: Option<T>, to: &mut T) {
    if let Some(value) = value {
        *to = value;
    }
}

fn set_time(args: &mut Args<'_>, word: &str, to: &mut u32) {
    set(positive_time(args, word), to);
}

fn positive_time(args: &mut Args<'_>, word: &str) -> Option<u32> {
    let time = args.time(word)?;
    if time == 0 {
        args.wrong(format!("'{word}' expects a time above 0"));
        return None;
    }
    Some(time)
}

fn init_addr(args: &mut Args<'_>, to: &mut Vec<InitAddr>) {
    const WHAT: &str = "some of last, libc, none and addresses, with commas between them";
    let Some(text) = args.need("init-addr", WHAT) else { return };
    to.clear();
    for part in text.split(',') {
        to.push(match part {
            "last" => InitAddr::Last,
            "libc" => InitAddr::Libc,
            "none" => InitAddr::None,
            part => match part.parse() {
                Ok(ip) => InitAddr::Ip(ip),
                Err(_) => return args.wrong(format!("'init-addr' expects {WHAT}, not '{part}'")),
            },
        });
    }
}

fn check_addr(args: &mut Args<'_>) -> Option<Address> {
    let word = args.need("addr", "an address without a port")?;
    match address::parse(word, Use::CheckHost) {
        Ok(mut list) => list.pop(),
        Err(why) => {
            args.wrong(format!("'addr': {why}"));
            None
        }
    }
}

/// `close WORDS...`: everything up to the next keyword of the server's own.
fn close(args: &mut Args<'_>, to: &mut ServerSettings) {
    let line = args.line;
    let from = args.taken();
    let list: Vec<words::Word<'_>> = line
        .words
        .get(from..)
        .unwrap_or_default()
        .iter()
        .map(|word| (word.column as usize, word.text.as_str()))
        .collect();
    match words::take(&list, line.end as usize) {
        Ok((wishes, used)) => {
            to.close = Some(wishes);
            args.skip(used);
        }
        Err(error) => {
            let mut at = args.here();
            at.column = u32::try_from(error.column).unwrap_or(u32::MAX);
            args.findings.alert(at, format!("'close': {error}"));
            args.skip(line.words.len());
        }
    }
}

fn unknown(args: &mut Args<'_>, directive: &str, word: &str) {
    if directive == "default-server" && word == "id" {
        let at = args.last();
        let message =
            "'id' cannot stand in 'default-server', as each server has its own: it is ignored";
        args.findings.warn(at, message);
        return args.skip(1);
    }
    let theirs = directives::SERVER_OTHERS.iter().find(|other| other.0 == word);
    if let Some((_, arguments)) = theirs {
        args.wrong(format!("'{word}' of '{directive}' is HAProxy's; teardown has not got it"));
        return args.skip(*arguments);
    }
    let ours = directives::SERVER.iter().map(|keyword| keyword.name);
    let hint = crate::near::hint(word, ours.chain(words::KEYWORDS));
    args.wrong(format!("unknown keyword '{word}' in '{directive}'{hint}"));
    if !args.lenient {
        // What follows may be its argument: one mistake is reported once.
        args.skip(args.line.words.len());
    }
}

impl Server {
    /// The host, if it is reached over TCP.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match &self.address {
            Address::Tcp { host, .. } => Some(host),
            _ => None,
        }
    }
}
