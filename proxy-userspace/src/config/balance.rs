//! `balance` and `hash-type` lines.

use super::args::Args;
use super::model::Settings;
use crate::http::balance::{Algorithm, Function, Hashing};
use crate::near;

const NAMES: [&str; 8] =
    ["roundrobin", "static-rr", "leastconn", "first", "source", "uri", "hdr(NAME)", "random"];

/// Reads a `balance` line, its first word taken.
pub(super) fn balance(args: &mut Args<'_>, to: &mut Settings) {
    let list = NAMES.join(", ");
    let Some(word) = args.need("balance", &format!("one of {list}")) else { return };
    let (name, argument) = match word.split_once('(') {
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(argument) => (name, Some(argument)),
            None => return args.wrong(format!("'{word}' lacks its closing parenthesis")),
        },
        None => (word, None),
    };
    to.balance = match (name, argument) {
        ("roundrobin", None) => Algorithm::RoundRobin,
        ("static-rr", None) => Algorithm::StaticRoundRobin,
        ("leastconn", None) => Algorithm::LeastConn,
        ("first", None) => Algorithm::First,
        ("source", None) => Algorithm::Source,
        ("uri", None) => uri(args),
        ("hdr", Some(name)) if !name.is_empty() => {
            Algorithm::header(name.to_owned(), args.eat("use_domain_only"))
        }
        ("random", argument) => match argument.map_or(Ok(2), str::parse) {
            Ok(draws) if draws >= 1 => Algorithm::Random { draws },
            _ => return args.wrong("'random' expects how many servers to draw, 1 or more"),
        },
        ("hdr", _) => return args.wrong("'hdr' expects a header's name: hdr(NAME)"),
        ("url_param" | "rdp-cookie" | "hash", _) => {
            args.wrong(format!("'balance {name}' is HAProxy's; teardown has not got it"));
            return args.skip(args.line.words.len());
        }
        _ => {
            let hint = near::hint(name, NAMES);
            args.wrong(format!("'balance' expects one of {list}, not '{word}'{hint}"));
            return args.skip(args.line.words.len());
        }
    };
    args.end("balance");
}

fn uri(args: &mut Args<'_>) -> Algorithm {
    let (mut length, mut depth, mut whole, mut path_only) = (0, 0, false, false);
    loop {
        match args.peek() {
            word @ ("len" | "depth") => {
                args.skip(1);
                let number = args.number(&format!("balance uri {word}"), 1..=65535);
                let slot = if word == "len" { &mut length } else { &mut depth };
                *slot = number.unwrap_or_default();
            }
            "whole" => {
                args.skip(1);
                whole = true;
            }
            "path-only" => {
                args.skip(1);
                path_only = true;
            }
            _ => return Algorithm::Uri { length, depth, whole, path_only },
        }
    }
}

/// Reads a `hash-type` line, its first word taken.
pub(super) fn hash_type(args: &mut Args<'_>, to: &mut Settings) {
    let kinds = [("map-based", false), ("consistent", true)];
    let Some(consistent) = args.choice("hash-type", &kinds) else { return };
    let mut model = Hashing { consistent, ..Hashing::default() };
    let functions = [
        ("sdbm", Function::Sdbm),
        ("djb2", Function::Djb2),
        ("wt6", Function::Wt6),
        ("crc32", Function::Crc32),
    ];
    if !matches!(args.peek(), "" | "avalanche") {
        let Some(function) = args.choice("hash-type", &functions) else { return };
        model.function = function;
    } else if consistent {
        // HAProxy: consistent hashing mixes unless a function is chosen.
        model.avalanche = true;
    }
    model.avalanche |= args.eat("avalanche");
    to.hash_type = model;
    args.end("hash-type");
}
