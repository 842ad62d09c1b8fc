//! `capture` lines: what of messages is kept for the log.

use super::args::Args;
use crate::http::capture::{Captures, CookieCapture, FieldCapture};
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
            list.push(FieldCapture { name, length });
        }
        _ => {
            let hint = near::hint(word, KINDS);
            args.wrong(format!("'capture' expects {what}, not '{word}'{hint}"));
            return args.skip(args.line.words.len());
        }
    }
    args.end("capture");
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
    Some((name, usize::try_from(length).unwrap_or(usize::MAX)))
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
        assert_eq!((captures.request[0].name.as_str(), captures.request[0].length), ("Host", 20));
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
