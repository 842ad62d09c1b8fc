//! `log` lines: where log lines go, as whom, and how loud.

use super::address::{self, Address};
use super::diag::Findings;
use super::token::{Line, Position};
use crate::http::syslog::Header;
use crate::near;

/// Facilities, by their number (RFC 5424, 6.2.1; HAProxy's names).
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2",
    "ftp", "ntp", "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Levels, by their number (RFC 5424, 6.2.1; HAProxy's names).
pub const LEVELS: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

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

/// Reads a `log` line, whose first argument is word 1.
pub fn parse(line: &Line, findings: &mut Findings) -> Option<Log> {
    if line.word(1) == "global" && line.words.len() == 2 {
        return Some(Log::Global);
    }
    if line.word(1).is_empty() {
        findings.alert_word(line, 1, "'log' expects an address and a facility, or 'global'");
        return None;
    }
    let mut target = LogTarget {
        address: target_address(line, findings)?,
        length: 1024,
        format: Header::default(),
        facility: 0,
        level: 7,
        min_level: 0,
        at: line.at(1),
    };
    let mut at = 2;
    loop {
        match line.word(at) {
            "len" => match line.word(at + 1).parse() {
                Ok(length @ 80..=65535) => target.length = length,
                _ => {
                    findings.alert_word(line, at + 1, "'len' expects a length from 80 to 65535");
                    return None;
                }
            },
            "format" => target.format = format(line, at + 1, findings)?,
            "sample" => {
                findings.alert_word(
                    line,
                    at,
                    "'sample' of 'log' is HAProxy's; teardown has not got it",
                );
                return None;
            }
            _ => break,
        }
        at += 2;
    }
    target.facility = one_of(line, at, "facility", &FACILITIES, findings)?;
    if line.words.len() > at + 1 {
        target.level = one_of(line, at + 1, "level", &LEVELS, findings)?;
    }
    if line.words.len() > at + 2 {
        target.min_level = one_of(line, at + 2, "minimum level", &LEVELS, findings)?;
    }
    if line.words.len() > at + 3 {
        findings.alert_word(line, at + 3, "'log' takes no further words here");
        return None;
    }
    Some(Log::Target(target))
}

fn target_address(line: &Line, findings: &mut Findings) -> Option<Address> {
    let text = line.word(1);
    let parsed = match text {
        "stdout" => Ok(vec![Address::Fd(1)]),
        "stderr" => Ok(vec![Address::Fd(2)]),
        _ if text.starts_with("ring@") => {
            Err("'ring@' is HAProxy's; teardown has not got it".to_owned())
        }
        _ => address::parse(text.strip_prefix("udp@").unwrap_or(text), address::Use::Log),
    };
    match parsed {
        Ok(mut list) => list.pop(),
        Err(why) => {
            findings.alert_word(line, 1, format!("'log': {why}"));
            None
        }
    }
}

fn format(line: &Line, at: usize, findings: &mut Findings) -> Option<Header> {
    const NAMES: [(&str, Header); 8] = [
        ("local", Header::Local),
        ("rfc3164", Header::Rfc3164),
        ("rfc5424", Header::Rfc5424),
        ("priority", Header::Priority),
        ("short", Header::Short),
        ("timed", Header::Timed),
        ("iso", Header::Iso),
        ("raw", Header::Raw),
    ];
    let names = NAMES.map(|(name, _)| name);
    let index = one_of(line, at, "format", &names, findings)?;
    Some(NAMES[usize::from(index)].1)
}

fn one_of(
    line: &Line,
    at: usize,
    what: &str,
    names: &[&str],
    findings: &mut Findings,
) -> Option<u8> {
    let word = line.word(at);
    let found = names.iter().position(|name| *name == word);
    if found.is_none() {
        let hint = near::hint(word, names.iter().copied());
        let list = names.join(", ");
        findings.alert_word(line, at, format!("'log' expects a {what}, one of {list}{hint}"));
    }
    found.and_then(|index| u8::try_from(index).ok())
}
