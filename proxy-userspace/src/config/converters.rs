//! Converters, from words: `field(2,/)`.

use super::arguments::{is_escaped, variable};
use super::directives::CONVERT_OTHERS;
use super::patterns::{numbers, with_mask};
use crate::http::acl::TextMatch;
use crate::http::balance::{Function, Hashing};
use crate::http::format::Format;
use crate::http::regex::Regex;
use crate::http::rules::Template;
use crate::http::sample::{Convert, Keys, Kind, Map, Operand, Operator};
use crate::http::variable::Value;
use crate::{host, near};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

/// Converters by name, but for those of maps.
pub(super) const CONVERTERS: [&str; 36] = [
    "add",
    "and",
    "bool",
    "bytes",
    "concat",
    "cpl",
    "crc32",
    "div",
    "djb2",
    "even",
    "field",
    "hex",
    "host_only",
    "iif",
    "ipmask",
    "length",
    "lower",
    "ltrim",
    "map",
    "mod",
    "mul",
    "neg",
    "not",
    "odd",
    "or",
    "port_only",
    "regsub",
    "rtrim",
    "sdbm",
    "strcmp",
    "sub",
    "upper",
    "url_dec",
    "word",
    "wt6",
    "xor",
];

/// How the keys of maps are looked for: `map_beg`.
pub(super) const MAPS: [&str; 9] = ["beg", "dir", "dom", "end", "int", "ip", "reg", "str", "sub"];

/// Reads a converter.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn converter(name: &str, arguments: Option<&str>) -> Result<Convert, String> {
    if CONVERT_OTHERS.contains(&name) {
        return Err(format!("converter '{name}' is HAProxy's; teardown has not got it"));
    }
    let list = arguments.map(split).transpose()?.unwrap_or_default();
    let taker = Arguments { name, list };
    if let Some(operator) = operator(name) {
        taker.between(1, 1)?;
        let operand = match taker.list[0].parse() {
            Ok(number) => Operand::Number(number),
            Err(_) => Operand::Variable(variable(&taker.list[0]).map_err(|_| {
                format!(
                    "converter '{name}' expects a number or a variable, not '{}'",
                    taker.list[0]
                )
            })?),
        };
        return Ok(Convert::Arithmetic(operator, operand));
    }
    let plain = |convert| taker.between(0, 0).map(|()| convert);
    Ok(match name {
        "lower" => plain(Convert::Lower)?,
        "upper" => plain(Convert::Upper)?,
        "length" => plain(Convert::Length)?,
        "neg" => plain(Convert::Negative)?,
        "cpl" => plain(Convert::Complement)?,
        "odd" => plain(Convert::Odd)?,
        "even" => plain(Convert::Even)?,
        "bool" => plain(Convert::Truth { negate: false })?,
        "not" => plain(Convert::Truth { negate: true })?,
        "hex" => plain(Convert::Hexadecimal)?,
        "host_only" => plain(Convert::HostOnly)?,
        "port_only" => plain(Convert::PortOnly)?,
        "field" | "word" => {
            taker.between(2, 3)?;
            let index: i64 = taker.number(0)?;
            if index == 0 {
                return Err(format!("converter '{name}' counts from 1, or from the end with -1"));
            }
            let delimiters = taker.bytes(1);
            let count = if taker.list.len() > 2 { taker.number(2)? } else { 1 };
            Convert::Part { index, delimiters, count, words: name == "word" }
        }
        "bytes" => {
            taker.between(1, 2)?;
            let length = if taker.list.len() > 1 { Some(taker.number(1)?) } else { None };
            Convert::Bytes(taker.number(0)?, length)
        }
        "regsub" => {
            taker.between(2, 3)?;
            let flags = taker.list.get(2).map_or("", String::as_str);
            if let Some(flag) = flags.chars().find(|flag| !"gi".contains(*flag)) {
                return Err(format!("converter 'regsub' knows the flags g and i, not '{flag}'"));
            }
            let regex = Regex::new(&taker.list[0], flags.contains('i'))?;
            let with = Template::new(Format::text(taker.bytes(1)))?;
            Convert::Substitute { regex, with, all: flags.contains('g') }
        }
        "ltrim" | "rtrim" => {
            taker.between(1, 1)?;
            Convert::Trim { left: name == "ltrim", bytes: taker.bytes(0) }
        }
        "concat" => {
            taker.between(0, 3)?;
            let name = taker.list.get(1).filter(|name| !name.is_empty());
            let name = name.map(|name| variable(name)).transpose()?;
            Convert::Concat(taker.bytes(0), name, taker.bytes(2))
        }
        "strcmp" => {
            taker.between(1, 1)?;
            Convert::Compare(variable(&taker.list[0])?)
        }
        "iif" => {
            taker.between(2, 2)?;
            Convert::Choose(taker.bytes(0), taker.bytes(1))
        }
        "ipmask" => {
            taker.between(1, 2)?;
            let bits = |text: &str, width: u32| {
                text.parse().ok().filter(|bits| *bits <= width).map(|bits: u32| width - bits)
            };
            let mask4 = &taker.list[0];
            let mask4 = mask4.parse().ok().or_else(|| {
                bits(mask4, 32).map(|rest| u32::MAX.checked_shl(rest).unwrap_or(0).into())
            });
            let mask6 = taker.list.get(1).map(|text| {
                text.parse().ok().or_else(|| {
                    bits(text, 128).map(|rest| u128::MAX.checked_shl(rest).unwrap_or(0).into())
                })
            });
            match (mask4, mask6) {
                (Some(mask4), None) => Convert::Mask(mask4, None),
                (Some(mask4), Some(Some(mask6))) => Convert::Mask(mask4, Some(mask6)),
                _ => return Err("converter 'ipmask' expects masks such as 24 and 64".to_owned()),
            }
        }
        "url_dec" => {
            taker.between(0, 1)?;
            Convert::UrlDecode(taker.list.first().is_some_and(|form| form != "0"))
        }
        "sdbm" | "djb2" | "wt6" | "crc32" => {
            taker.between(0, 1)?;
            let function = match name {
                "sdbm" => Function::Sdbm,
                "djb2" => Function::Djb2,
                "wt6" => Function::Wt6,
                _ => Function::Crc32,
            };
            let avalanche = taker.list.first().is_some_and(|text| text != "0");
            Convert::Hash(Hashing { function, avalanche, consistent: false })
        }
        _ => match name.strip_prefix("map") {
            Some("") => map(&taker, "str", "str")?,
            Some(rest) if rest.starts_with('_') => {
                let (how, output) = rest[1..].split_once('_').unwrap_or((&rest[1..], "str"));
                map(&taker, how, output)?
            }
            _ => return Err(unknown(name)),
        },
    })
}

fn unknown(name: &str) -> String {
    format!("unknown converter '{name}'{}", near::hint(name, CONVERTERS))
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        "add" => Operator::Add,
        "sub" => Operator::Subtract,
        "mul" => Operator::Multiply,
        "div" => Operator::Divide,
        "mod" => Operator::Remainder,
        "and" => Operator::And,
        "or" => Operator::Or,
        "xor" => Operator::Xor,
        _ => return None,
    })
}

/// What stands in a converter's parentheses.
struct Arguments<'a> {
    name: &'a str,
    list: Vec<String>,
}

impl Arguments<'_> {
    fn between(&self, least: usize, most: usize) -> Result<(), String> {
        let (name, count) = (self.name, self.list.len());
        if most == 0 && count > 0 {
            return Err(format!("converter '{name}' takes no argument"));
        }
        if (least..=most).contains(&count) {
            return Ok(());
        }
        Err(if least == most {
            format!("converter '{name}' expects {least} arguments, not {count}")
        } else {
            format!("converter '{name}' expects {least} to {most} arguments, not {count}")
        })
    }

    fn number<N: FromStr>(&self, at: usize) -> Result<N, String> {
        let text = self.list.get(at).map_or("", String::as_str);
        text.trim()
            .parse()
            .map_err(|_| format!("converter '{}' expects a number, not '{text}'", self.name))
    }

    fn bytes(&self, at: usize) -> Vec<u8> {
        self.list.get(at).cloned().unwrap_or_default().into_bytes()
    }
}

/// Cuts arguments at their commas, quotes and backslashes taken off.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = vec![String::new()];
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let last = list.last_mut().ok_or("no argument")?;
        match (character, quote) {
            ('"' | '\'', None) => quote = Some(character),
            (end, Some(open)) if end == open => quote = None,
            ('\\', None | Some('"')) => {
                last.push(characters.next_if(|next| is_escaped(*next)).unwrap_or(character));
            }
            (',', None) => list.push(String::new()),
            _ => last.push(character),
        }
    }
    if quote.is_some() { Err(format!("a quote in '{text}' is never closed")) } else { Ok(list) }
}

/// Reads `map_HOW_OUTPUT(FILE,DEFAULT)`.
fn map(taker: &Arguments<'_>, how: &str, output: &str) -> Result<Convert, String> {
    let (name, known) = (taker.name, |kind: &str| MAPS.contains(&kind));
    let kind = match output {
        "str" => Kind::Text,
        "int" => Kind::Number,
        "ip" => Kind::Address,
        _ => return Err(unknown(name)),
    };
    if !known(how) {
        return Err(unknown(name));
    }
    taker.between(1, 2)?;
    let path = &taker.list[0];
    let text =
        host::file(path.as_ref()).map_err(|why| format!("'{name}': cannot read {path}: {why}"))?;
    let text = String::from_utf8(text)
        .map_err(|why| format!("'{name}': {path} is not in UTF-8: {why}"))?;
    let value = |text: &str| match kind {
        Kind::Number => text.parse().map(Value::Number).ok(),
        Kind::Address => text.parse().map(Value::Address).ok(),
        _ => Some(Value::Text(text.into())),
    };
    let mut entries = Vec::new();
    let mut values = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let wrong =
            || format!("'{name}': {path}:{}: '{rest}' is no value of that type", number + 1);
        values.push(value(rest).ok_or_else(wrong)?);
        entries.push((key, number + 1));
    }
    let keys = keys(how, &entries).map_err(|why| format!("'{name}': {path}:{why}"))?;
    let default = taker.list.get(1).map(|text| {
        value(text).ok_or_else(|| format!("'{name}': '{text}' is no value of that type"))
    });
    let default = default.transpose()?;
    Ok(Convert::Map(Arc::new(Map { keys: keys.sorted(), values, default, kind })))
}

/// The keys of a file's lines; what is wrong with one begins with the line's number.
fn keys(how: &str, entries: &[(&str, usize)]) -> Result<Keys, String> {
    let texts = || entries.iter().map(|(key, _)| key.as_bytes().to_vec()).zip(0..);
    let list = || texts().collect::<Vec<_>>();
    Ok(match how {
        "str" => {
            let mut all = HashMap::new();
            // Of a key that is there twice, the first one counts.
            texts().for_each(|(key, place)| {
                all.entry(key).or_insert(place);
            });
            Keys::Whole(all)
        }
        "beg" => Keys::Begin(list()),
        "end" => Keys::Text(TextMatch::End, list()),
        "sub" => Keys::Text(TextMatch::Contains, list()),
        "dir" => Keys::Text(TextMatch::Directory, list()),
        "dom" => Keys::Text(TextMatch::Domain, list()),
        "reg" => Keys::Regex(each(entries, |key| Regex::new(key, false))?),
        "int" => Keys::Numbers(each(entries, |key| {
            let ranges = numbers(&[key.to_owned()])?;
            ranges.first().copied().ok_or_else(|| format!("'{key}' is not a number"))
        })?),
        _ => Keys::Networks(each(entries, |key| {
            with_mask(key).ok_or_else(|| format!("'{key}' is not an address or network"))
        })?),
    })
}

fn each<K>(
    entries: &[(&str, usize)],
    read: impl Fn(&str) -> Result<K, String>,
) -> Result<Vec<(K, usize)>, String> {
    let keys = entries.iter().enumerate().map(|(place, (key, line))| {
        read(key).map(|key| (key, place)).map_err(|why| format!("{line}: {why}"))
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_quotes_and_backslashes() {
        for (text, list) in [
            ("", &[] as &[&str]),
            ("a,b", &["a", "b"]),
            ("a,", &["a", ""]),
            ("'a,)',\"b'\"", &["a,)", "b'"]),
            (r"a\,\\b,^\d\'", &[r"a\", r"\b", r"^\d'"]),
            (r#""(.)x","\1y""#, &["(.)x", r"\1y"]),
            (r"'\1'", &[r"\1"]),
        ] {
            assert_eq!(split(text).unwrap(), list, "{text}");
        }
        assert!(split("'a").is_err());
    }

    #[test]
    fn every_converter_of_the_table_is_read() {
        for name in CONVERTERS.iter().filter(|name| **name != "map") {
            let arguments = match *name {
                "field" | "word" => Some("1,/"),
                "regsub" | "iif" => Some("a,b"),
                "strcmp" => Some("txn.a"),
                "ltrim" | "rtrim" | "bytes" | "ipmask" => Some("1"),
                name if operator(name).is_some() => Some("1"),
                _ => None,
            };
            assert!(converter(name, arguments).is_ok(), "{name}");
        }
    }
}
