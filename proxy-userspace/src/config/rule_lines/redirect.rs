//! The words of `redirect`.

use super::value;
use crate::config::args::Args;
use crate::config::cookie::part;
use crate::config::format::Place;
use crate::http::format::Format;
use crate::http::rules::{Redirect, RedirectTo};
use crate::near;

/// Reads what follows `redirect`. That of a response has no request to take the rest from.
pub(super) fn redirect(args: &mut Args<'_>, place: Place) -> Option<Redirect> {
    const KNOWN: [&str; 9] = [
        "location",
        "prefix",
        "scheme",
        "code",
        "drop-query",
        "append-slash",
        "ignore-empty",
        "set-cookie",
        "clear-cookie",
    ];
    let mut to = None;
    let mut model = Redirect {
        status: 302,
        to: RedirectTo::Location(Format::default()),
        drop_query: false,
        append_slash: false,
        ignore_empty: false,
        cookie: None,
    };
    while !matches!(args.peek(), "" | "if" | "unless") {
        let word = args.next()?;
        if matches!(word, "prefix" | "scheme") && place == Place::Response {
            args.wrong(format!("'redirect' of a response expects 'location', not '{word}'"));
            return None;
        }
        match word {
            "location" => to = Some(RedirectTo::Location(value(args, word, place)?)),
            "prefix" => to = Some(RedirectTo::Prefix(value(args, word, place)?)),
            "scheme" => to = Some(RedirectTo::Scheme(value(args, word, place)?)),
            "code" => {
                let codes = [("301", 301), ("302", 302), ("303", 303), ("307", 307), ("308", 308)];
                model.status = args.choice("code", &codes)?;
            }
            "drop-query" => model.drop_query = true,
            "append-slash" => model.append_slash = true,
            "ignore-empty" => model.ignore_empty = true,
            "set-cookie" => {
                let cookie = part(args, word, "NAME[=VALUE]", "")?;
                model.cookie = Some(format!("{cookie}; path=/;"));
            }
            "clear-cookie" => {
                let cookie = part(args, word, "NAME[=]", "")?;
                model.cookie = Some(format!("{cookie}; path=/; Max-Age=0;"));
            }
            _ => {
                let hint = near::hint(word, KNOWN);
                let list = KNOWN.join(", ");
                args.wrong(format!("'redirect' expects some of {list}, not '{word}'{hint}"));
                return None;
            }
        }
    }
    let Some(to) = to else {
        args.wrong_here("'redirect' expects one of location, prefix, scheme and where to");
        return None;
    };
    Some(Redirect { to, ..model })
}
