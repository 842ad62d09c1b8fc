//! Maps from files: `map_beg(FILE)` and its kin.

use super::{Arguments, unknown};
use crate::config::patterns::{numbers, with_mask};
use crate::host;
use crate::http::acl::TextMatch;
use crate::http::regex::Regex;
use crate::http::sample::{Convert, Keys, Kind, Map};
use crate::http::variable::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// How the keys of maps are looked for: `map_beg`.
pub(in crate::config) const MAPS: [&str; 9] =
    ["beg", "dir", "dom", "end", "int", "ip", "reg", "str", "sub"];

/// Reads `map(FILE,DEFAULT)` and `map_HOW_OUTPUT(FILE,DEFAULT)`.
pub(super) fn converter(taker: &Arguments<'_>) -> Result<Convert, String> {
    let name = taker.name;
    let (how, output) = match name.strip_prefix("map") {
        Some("") => ("str", "str"),
        Some(rest) if rest.starts_with('_') => {
            rest[1..].split_once('_').unwrap_or((&rest[1..], "str"))
        }
        _ => return Err(unknown(name)),
    };
    let kind = match output {
        "str" => Kind::Text,
        "int" => Kind::Number,
        "ip" => Kind::Address,
        _ => return Err(unknown(name)),
    };
    if !MAPS.contains(&how) {
        return Err(unknown(name));
    }
    taker.between(1, 2)?;
    let path = &taker.list[0];
    let (entries, values) = lines(path, kind).map_err(|why| format!("'{name}': {why}"))?;
    let keys = keys(how, &entries).map_err(|why| format!("'{name}': {path}:{why}"))?;
    let default = taker.list.get(1).map(|text| {
        value(text, kind).ok_or_else(|| format!("'{name}': '{text}' is no value of that type"))
    });
    let default = default.transpose()?;
    Ok(Convert::Map(Arc::new(Map { keys: keys.sorted(), values, default, kind })))
}

type Entry = (String, usize);

/// A file's keys, each with its line's number, and what belongs to each.
fn lines(path: &str, kind: Kind) -> Result<(Vec<Entry>, Vec<Value>), String> {
    let text = host::file(path.as_ref()).map_err(|why| format!("cannot read {path}: {why}"))?;
    let text = String::from_utf8(text).map_err(|why| format!("{path} is not in UTF-8: {why}"))?;
    let (mut entries, mut values) = (Vec::new(), Vec::new());
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let wrong = || format!("{path}:{number}: '{rest}' is no value of that type");
        values.push(value(rest, kind).ok_or_else(wrong)?);
        entries.push((key.to_owned(), number));
    }
    Ok((entries, values))
}

fn value(text: &str, kind: Kind) -> Option<Value> {
    match kind {
        Kind::Number => text.parse().map(Value::Number).ok(),
        Kind::Address => text.parse().map(Value::Address).ok(),
        _ => Some(Value::Text(text.into())),
    }
}

/// The keys of a file's lines; what is wrong with one begins with the line's number.
fn keys(how: &str, entries: &[Entry]) -> Result<Keys, String> {
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
    entries: &[Entry],
    read: impl Fn(&str) -> Result<K, String>,
) -> Result<Vec<(K, usize)>, String> {
    let keys = entries.iter().enumerate().map(|(place, (key, line))| {
        read(key).map(|key| (key, place)).map_err(|why| format!("{line}: {why}"))
    });
    keys.collect()
}
