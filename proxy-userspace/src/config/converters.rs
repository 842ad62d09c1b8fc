//! Converters, from words: `field(2,/)`.

pub(super) mod maps;

use super::arguments::{is_escaped, variable};
use super::directives::CONVERT_OTHERS;
use crate::http::balance::{Function, Hashing};
use crate::http::format::Format;
use crate::http::regex::Regex;
use crate::http::rules::Template;
use crate::http::sample::{Convert, Operand, Operator};
use crate::near;
use std::str::FromStr;

/// Converters by name, but for those of maps.
pub(super) const CONVERTERS: [&str; 41] = [
    "add",
    "and",
    "b64dec",
    "base64",
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
    "ub64dec",
    "ub64enc",
    "upper",
    "url_dec",
    "url_enc",
    "word",
    "wt6",
    "xor",
];

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
    if let Some(convert) = plain(name) {
        return taker.between(0, 0).map(|()| convert);
    }
    if let Some(operator) = operator(name) {
        return arithmetic(&taker, operator);
    }
    Ok(match name {
        "field" | "word" => part(&taker)?,
        "url_enc" => url_enc(&taker)?,
        "bytes" => {
            taker.between(1, 2)?;
            let length = if taker.list.len() > 1 { Some(taker.number(1)?) } else { None };
            Convert::Bytes(taker.number(0)?, length)
        }
        "regsub" => substitute(&taker)?,
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
        "ipmask" => mask(&taker)?,
        "url_dec" => {
            taker.between(0, 1)?;
            Convert::UrlDecode(taker.list.first().is_some_and(|form| form != "0"))
        }
        "sdbm" | "djb2" | "wt6" | "crc32" => hash(&taker)?,
        _ => maps::converter(&taker)?,
    })
}

/// Those without arguments.
fn plain(name: &str) -> Option<Convert> {
    Some(match name {
        "lower" => Convert::Lower,
        "upper" => Convert::Upper,
        "length" => Convert::Length,
        "neg" => Convert::Negative,
        "cpl" => Convert::Complement,
        "odd" => Convert::Odd,
        "even" => Convert::Even,
        "bool" => Convert::Truth { negate: false },
        "not" => Convert::Truth { negate: true },
        "hex" => Convert::Hexadecimal,
        "base64" => Convert::Base64 { url: false },
        "ub64enc" => Convert::Base64 { url: true },
        "b64dec" => Convert::FromBase64 { url: false },
        "ub64dec" => Convert::FromBase64 { url: true },
        "host_only" => Convert::HostOnly,
        "port_only" => Convert::PortOnly,
        _ => return None,
    })
}

fn url_enc(taker: &Arguments<'_>) -> Result<Convert, String> {
    taker.between(0, 1)?;
    match taker.list.first().map_or("", String::as_str) {
        "" | "query" => Ok(Convert::UrlEncode),
        other => Err(format!("converter 'url_enc' knows 'query' only, not '{other}'")),
    }
}

fn arithmetic(taker: &Arguments<'_>, operator: Operator) -> Result<Convert, String> {
    taker.between(1, 1)?;
    let text = &taker.list[0];
    let operand = match text.parse() {
        Ok(number) => Operand::Number(number),
        Err(_) => Operand::Variable(variable(text).map_err(|_| {
            format!("converter '{}' expects a number or a variable, not '{text}'", taker.name)
        })?),
    };
    Ok(Convert::Arithmetic(operator, operand))
}

fn part(taker: &Arguments<'_>) -> Result<Convert, String> {
    taker.between(2, 3)?;
    let name = taker.name;
    let index: i64 = taker.number(0)?;
    if index == 0 {
        return Err(format!("converter '{name}' counts from 1, or from the end with -1"));
    }
    let count = if taker.list.len() > 2 { taker.number(2)? } else { 1 };
    Ok(Convert::Part { index, delimiters: taker.bytes(1), count, words: name == "word" })
}

fn substitute(taker: &Arguments<'_>) -> Result<Convert, String> {
    taker.between(2, 3)?;
    let flags = taker.list.get(2).map_or("", String::as_str);
    if let Some(flag) = flags.chars().find(|flag| !"gi".contains(*flag)) {
        return Err(format!("converter 'regsub' knows the flags g and i, not '{flag}'"));
    }
    let regex = Regex::new(&taker.list[0], flags.contains('i'))?;
    let with = Template::new(Format::text(taker.bytes(1)))?;
    Ok(Convert::Substitute { regex, with, all: flags.contains('g') })
}

fn mask(taker: &Arguments<'_>) -> Result<Convert, String> {
    taker.between(1, 2)?;
    let bits = |text: &str, width: u32| {
        text.parse().ok().filter(|bits| *bits <= width).map(|bits: u32| width - bits)
    };
    let of4 = |text: &String| {
        let mask = || bits(text, 32).map(|rest| u32::MAX.checked_shl(rest).unwrap_or(0).into());
        text.parse().ok().or_else(mask)
    };
    let of6 = |text: &String| {
        let mask = || bits(text, 128).map(|rest| u128::MAX.checked_shl(rest).unwrap_or(0).into());
        text.parse().ok().or_else(mask)
    };
    match (of4(&taker.list[0]), taker.list.get(1).map(of6)) {
        (Some(mask4), None) => Ok(Convert::Mask(mask4, None)),
        (Some(mask4), Some(Some(mask6))) => Ok(Convert::Mask(mask4, Some(mask6))),
        _ => Err("converter 'ipmask' expects masks such as 24 and 64".to_owned()),
    }
}

fn hash(taker: &Arguments<'_>) -> Result<Convert, String> {
    taker.between(0, 1)?;
    let function = match taker.name {
        "sdbm" => Function::Sdbm,
        "djb2" => Function::Djb2,
        "wt6" => Function::Wt6,
        _ => Function::Crc32,
    };
    let avalanche = taker.list.first().is_some_and(|text| text != "0");
    Ok(Convert::Hash(Hashing { function, avalanche, consistent: false }))
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
