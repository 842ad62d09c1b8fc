//! `log` lines: where log lines go, as whom, and how loud.

use super::address::{self, Address};
use super::args::Args;
use super::token::Position;
use crate::http::syslog::Header;

/// Facilities, by their number (RFC 5424, 6.2.1; HAProxy's names).
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2",
    "ftp", "ntp", "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Levels, by their number (RFC 5424, 6.2.1; HAProxy's names).
pub const LEVELS: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

const FORMATS: [(&str, Header); 8] = [
    ("local", Header::Local),
    ("rfc3164", Header::Rfc3164),
    ("rfc5424", Header::Rfc5424),
    ("priority", Header::Priority),
    ("short", Header::Short),
    ("timed", Header::Timed),
    ("iso", Header::Iso),
    ("raw", Header::Raw),
];

/// A `log` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    /// A UDP address, a Unix socket's path, or a descriptor.
    pub address: Address,
    /// `len`: the longest line, in bytes; 1024.
    pub length: u32,
    /// `format`.
    pub format: Header,
    /// The facility's number.
    pub facility: u8,
    /// The least urgent level that is sent; 7 is everything.
    pub level: u8,
    /// Lines more urgent than this are sent as this; 0 leaves them.
    pub min_level: u8,
    /// Where the address stands.
    pub at: Position,
}

/// What a `log` line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Log {
    /// `log global`.
    Global,
    /// A target of its own.
    Target(LogTarget),
}

/// Reads a `log` line, its first word taken.
pub(super) fn log(args: &mut Args<'_>) -> Option<Log> {
    let text = args.need("log", "an address and a facility, or 'global'")?;
    let at = args.last();
    if text == "global" {
        return Some(Log::Global);
    }
    let address = match target_address(text) {
        Ok(mut list) => list.pop()?,
        Err(why) => {
            args.wrong(format!("'log': {why}"));
            return None;
        }
    };
    let (mut length, mut format) = (1024, Header::default());
    loop {
        if args.eat("len") {
            length = args.number("len", 80..=65535)?;
        } else if args.eat("format") {
            format = args.choice("log format", &FORMATS)?;
        } else if args.eat("sample") {
            args.wrong("'sample' of 'log' is HAProxy's; teardown has not got it");
            return None;
        } else {
            break;
        }
    }
    let facility = number_of(args, "facility", &FACILITIES)?;
    let (mut level, mut min_level) = (7, 0);
    if !args.peek().is_empty() {
        level = number_of(args, "level", &LEVELS)?;
    }
    if !args.peek().is_empty() {
        min_level = number_of(args, "minimum level", &LEVELS)?;
    }
    Some(Log::Target(LogTarget { address, length, format, facility, level, min_level, at }))
}

fn target_address(text: &str) -> Result<Vec<Address>, String> {
    match text {
        "stdout" => Ok(vec![Address::Fd(1)]),
        "stderr" => Ok(vec![Address::Fd(2)]),
        _ if text.starts_with("ring@") => {
            Err("'ring@' is HAProxy's; teardown has not got it".to_owned())
        }
        _ => address::parse(text.strip_prefix("udp@").unwrap_or(text), address::Use::Log),
    }
}

/// Takes one of these names, and gives its place among them.
fn number_of(args: &mut Args<'_>, what: &str, names: &[&str]) -> Option<u8> {
    let choices: Vec<(&str, u8)> = names.iter().copied().zip(0..).collect();
    args.choice(&format!("log {what}"), &choices)
}
