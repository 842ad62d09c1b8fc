//! `capture` and `declare` lines, and the action `capture`: what is kept for the log.

use super::args::Args;
use super::format::{Place, sample};
use crate::http::capture::{Captures, CookieCapture, Slot};
use crate::http::sample::{Expression, Message};
use crate::near;

/// Reads a `capture` line, its first word taken.
pub(super) fn capture(args: &mut Args<'_>, to: &mut Captures) {
    const KINDS: [&str; 3] = ["cookie", "request", "response"];
    let what = "'cookie', 'request header' or 'response header'";
    let Some(word) = args.need("capture", what) else { return };
    match word {
        "cookie" => {
            let Some((name, length)) = measured(args, "capture cookie") else { return };
            to.cookie = Some(CookieCapture { begins: name.into_bytes(), length });
        }
        "request" | "response" => {
            let directive = format!("capture {word} header");
            if !args.eat("header") {
                args.wrong_here(format!("'capture {word}' expects 'header' and a header's name"));
                return args.skip(args.line.words.len());
            }
            let Some((name, length)) = measured(args, &directive) else { return };
            let list = if word == "request" { &mut to.request } else { &mut to.response };
            list.push(Slot { name: Some(name), length });
        }
        _ => {
            let hint = near::hint(word, KINDS);
            args.wrong(format!("'capture' expects {what}, not '{word}'{hint}"));
            return args.skip(args.line.words.len());
        }
    }
    args.end("capture");
}

/// Reads a `declare` line, its first word taken: a slot for what rules keep.
pub(super) fn declare(args: &mut Args<'_>, to: &mut Captures) {
    const SIDES: [(&str, Message); 2] =
        [("request", Message::Request), ("response", Message::Response)];
    let side = args.choice("declare", &[("capture", ())]);
    let Some(side) = side.and_then(|()| args.choice("declare capture", &SIDES)) else {
        return args.skip(args.line.words.len());
    };
    if !args.eat("len") {
        args.wrong_here("'declare capture' expects 'len' and a length");
        return args.skip(args.line.words.len());
    }
    let Some(length) = length(args) else { return };
    let list = if side == Message::Request { &mut to.request } else { &mut to.response };
    list.push(Slot { name: None, length });
    args.end("declare");
}

/// Where a rule may keep something.
pub(super) enum Slots<'a> {
    /// In one that is declared, by its number: `id N`.
    Declared,
    /// In one of its own, behind these: `len N`.
    Own(&'a mut Vec<Slot>),
    /// In either.
    Any(&'a mut Vec<Slot>),
}

/// Reads what follows the action `capture`: a sample, and the slot that it is kept in.
pub(super) fn by_rule(
    args: &mut Args<'_>,
    place: Place,
    slots: Slots<'_>,
) -> Option<(usize, Expression)> {
    let text = args.need("capture", "a sample such as hdr(host)")?;
    let read = sample(text, place);
    let read = read.map_err(|why| args.wrong(format!("'capture': {why}"))).ok()?;
    let at = match (args.peek(), slots) {
        ("id", Slots::Declared | Slots::Any(_)) => {
            args.skip(1);
            args.number("id", 0..=i32::MAX.unsigned_abs()).map(index)?
        }
        ("len", Slots::Own(slots) | Slots::Any(slots)) => {
            args.skip(1);
            let length = length(args)?;
            slots.push(Slot { name: None, length });
            slots.len() - 1
        }
        (_, slots) => {
            args.wrong_here(match slots {
                Slots::Declared => {
                    "'capture' expects 'id' and the number of a slot of 'declare capture' here"
                }
                Slots::Own(_) => "'capture' expects 'len' and a length here",
                Slots::Any(_) => {
                    "'capture' expects 'len' and a length, or 'id' and a slot's number"
                }
            });
            return None;
        }
    };
    Some((at, read))
}

/// Takes a length above 0.
fn length(args: &mut Args<'_>) -> Option<usize> {
    args.number("len", 1..=i32::MAX.unsigned_abs()).map(index)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Takes `NAME len N`.
fn measured(args: &mut Args<'_>, directive: &str) -> Option<(String, usize)> {
    let name = args.need(directive, "a name, 'len' and a length")?.to_owned();
    if !args.eat("len") {
        args.wrong_here(format!("'{directive} {name}' expects 'len' and a length"));
        args.skip(args.line.words.len());
        return None;
    }
    let length = args.number("len", 0..=i32::MAX.unsigned_abs())?;
    Some((name, index(length)))
}

#[cfg(test)]
mod tests {
    use crate::config::{Strictness, parse, source::Source};

    #[test]
    fn captures_have_a_name_and_a_length() {
        let text = "global\n tune.http.cookielen 40\nfrontend f\n mode http\n bind :1\n timeout client 1s\n\
            \x20capture request header Host len 20\n capture response header Location len 9\n\
            \x20capture cookie a len 9\n capture cookie SID= len 70\n";
        let source = Source { name: "t".into(), text: text.into() };
        let (config, findings) = parse(&[source], Strictness::Strict, &|_| None);
        let captures = &config.proxies[0].captures;
        assert_eq!(
            (captures.request[0].name.as_deref(), captures.request[0].length),
            (Some("Host"), 20)
        );
        assert_eq!(captures.response[0].length, 9);
        let cookie = captures.cookie.clone().expect("one");
        assert_eq!((cookie.begins.as_slice(), cookie.length), (b"SID=".as_slice(), 40));
        assert_eq!(
            findings.to_string().trim_end(),
            "[WARNING] t:3:1: frontend 'f' keeps 40 characters of a cookie at most: \
             'tune.http.cookielen' says so"
        );
    }

    #[test]
    fn wrong_words_are_named_where_they_stand() {
        for (line, words) in [
            ("capture", "t:2:9: 'capture' expects 'cookie', 'request header' or 'response header'"),
            ("capture cokie a len 3", "t:2:10: 'capture' expects 'cookie', 'request header' or"),
            ("capture cokie a len 3", "not 'cokie'; did you mean 'cookie'?"),
            ("capture request a len 3", "t:2:18: 'capture request' expects 'header' and a"),
            ("capture request header a", "t:2:26: 'capture request header a' expects 'len' and"),
            ("capture cookie a len", "t:2:22: 'len' expects a number from 0 to 2147483647"),
            ("capture response header a len x", "t:2:32: 'len' expects a number"),
            ("capture request header a len 3 4", "t:2:33: 'capture' takes no further word"),
        ] {
            let text = format!("listen l\n {line}\n");
            let source = Source { name: "t".into(), text: text.into_bytes() };
            let (_, findings) = parse(&[source], Strictness::Strict, &|_| None);
            assert!(findings.to_string().contains(words), "{line}: {findings}");
        }
    }
}
