//! `option` lines.

use super::args::Args;
use super::check_lines;
use super::directives::{self, Places};
use super::model::{LogFormat, OwnChecks, Settings};
use super::options::{CLOSE_MODES, CloseMode, SWITCHES};
use super::patterns::with_mask;
use super::rule_lines::any_field_name;
use crate::http::framing::frames;
use crate::http::health::script::CheckKind;
use crate::http::settings::ForwardFor;
use crate::near;

/// Reads an `option` line, its first word taken.
pub(super) fn option(
    args: &mut Args<'_>,
    to: &mut Settings,
    own: &mut OwnChecks,
    place: Places,
    negated: bool,
) {
    let Some(name) = args.need("option", "the option's name") else { return };
    let table = directives::OPTIONS.iter().find(|d| d.name.strip_prefix("option ") == Some(name));
    let Some(entry) = table else { return unknown(args, name) };
    if !entry.places.has(place) {
        let at = args.last();
        let section = place.section();
        args.findings
            .warn(at, format!("'option {name}' is without effect in a '{section}' section"));
    }
    if let Some((_, switch)) = SWITCHES.iter().find(|entry| entry.0 == name) {
        to.switches.set(*switch, !negated);
        if let Some(why) = switch.moot() {
            args.moot(&format!("option {name}"), why);
        }
        return args.end(name);
    }
    if let Some((_, mode)) = CLOSE_MODES.iter().find(|entry| entry.0 == name) {
        if !negated {
            to.close_mode = *mode;
        } else if to.close_mode == *mode {
            to.close_mode = CloseMode::KeepAlive;
        }
        return args.end(name);
    }
    if negated && name != "redispatch" {
        return args.wrong(format!("'no' cannot stand before 'option {name}'"));
    }
    match name {
        "redispatch" => redispatch(args, to, negated),
        "forwardfor" => to.forward_for = forward_for(args, name, "X-Forwarded-For"),
        "originalto" => to.original_to = forward_for(args, name, "X-Original-To"),
        "httplog" => {
            to.log_format = if args.eat("clf") { LogFormat::Clf } else { LogFormat::Http };
        }
        "tcplog" => to.log_format = LogFormat::Tcp,
        "tcp-check" => to.check.kind = CheckKind::Tcp,
        _ => return check_lines::httpchk(args, &mut to.check, own),
    }
    args.end(name);
}

fn unknown(args: &mut Args<'_>, name: &str) {
    if let Some(gone) = directives::gone(directives::OPTION_GONE, name) {
        args.wrong(gone.message(&format!("option {name}")));
    } else if directives::OPTION_OTHERS.contains(&name) {
        args.wrong(format!("'option {name}' is HAProxy's; teardown has not got it"));
    } else {
        let names = directives::OPTIONS.iter().filter_map(|d| d.name.strip_prefix("option "));
        args.wrong(format!("unknown option '{name}'{}", near::hint(name, names)));
    }
}

fn redispatch(args: &mut Args<'_>, to: &mut Settings, negated: bool) {
    to.redispatch = match args.peek() {
        _ if negated => None,
        "" => Some(-1),
        _ => args.number("option redispatch", i32::MIN..=i32::MAX),
    };
}

/// Reads what follows `option forwardfor` and `option originalto`, of which only the first has
/// `if-none`.
fn forward_for(args: &mut Args<'_>, option: &str, header: &str) -> Option<ForwardFor> {
    let mut model = ForwardFor { header: header.to_owned(), except: None, if_none: false };
    let known = ["header", "except", "if-none"];
    let known = &known[..if option == "forwardfor" { 3 } else { 2 }];
    while let Some(word) = args.next() {
        match word {
            "header" => {
                let name = any_field_name(args, word)?;
                if frames(name) {
                    args.wrong(format!(
                        "'{name}' says where a message ends, and cannot tell an address"
                    ));
                }
                name.clone_into(&mut model.header);
            }
            "if-none" if known.contains(&word) => model.if_none = true,
            "except" => {
                let text = args.need(word, "a network such as 127.0.0.0/8")?;
                match with_mask(text) {
                    Some(network) => model.except = Some(network),
                    None => args.wrong(format!(
                        "'except' expects a network such as 127.0.0.0/8, not '{text}'"
                    )),
                }
            }
            _ => {
                let hint = near::hint(word, known.iter().copied());
                let list = known.join(", ");
                args.wrong(format!(
                    "unknown word '{word}' after 'option {option}', expected one of {list}{hint}"
                ));
            }
        }
    }
    Some(model)
}
