//! `cookie` lines: persistence by cookie.

use super::args::Args;
use super::model::Settings;
use crate::http::cookie::{Cookie, Mode};
use crate::near;

const WORDS: [&str; 14] = [
    "rewrite", "insert", "prefix", "indirect", "nocache", "postonly", "preserve", "httponly",
    "secure", "domain", "maxidle", "maxlife", "dynamic", "attr",
];

/// Takes a text that becomes a part of a cookie, whose end neither a control character nor one of `ends`
/// may be.
pub(super) fn part<'a>(
    args: &mut Args<'a>,
    directive: &str,
    what: &str,
    ends: &str,
) -> Option<&'a str> {
    let text = args.need(directive, what)?;
    if let Some(end) = text.chars().find(|c| c.is_control() || ends.contains(*c)) {
        args.wrong(format!("'{directive}' expects {what}, without {end:?}"));
        return None;
    }
    Some(text)
}

/// Reads a `cookie` line, its first word taken. It takes the place of one before it.
pub(super) fn cookie(args: &mut Args<'_>, to: &mut Settings) {
    let Some(name) = part(args, "cookie", "the cookie's name", "=;, ") else { return };
    let mut cookie = Cookie { name: name.to_owned(), ..Cookie::default() };
    let mut dynamic = false;
    let mut modes: Vec<&str> = Vec::new();
    let mut attributes = Attributes::default();
    while let Some(word) = args.next() {
        match word {
            "rewrite" | "insert" | "prefix" => {
                modes.push(word);
                cookie.mode = match word {
                    "rewrite" => Mode::Rewrite,
                    "insert" => Mode::Insert,
                    _ => Mode::Prefix,
                };
            }
            "indirect" => cookie.indirect = true,
            "nocache" => cookie.no_cache = true,
            "postonly" => cookie.post_only = true,
            "preserve" => cookie.preserve = true,
            "maxidle" => cookie.max_idle = args.seconds("cookie maxidle").unwrap_or_default(),
            "maxlife" => cookie.max_life = args.seconds("cookie maxlife").unwrap_or_default(),
            "dynamic" => dynamic = true,
            "httponly" | "secure" | "domain" | "attr" => {
                if attributes.add(args, word).is_none() {
                    return;
                }
            }
            _ => {
                let list = WORDS.join(", ");
                let hint = near::hint(word, WORDS);
                args.wrong(format!("'cookie' expects one of {list}, not '{word}'{hint}"));
                return args.skip(args.line.words.len());
            }
        }
    }
    modes.dedup();
    if modes.len() > 1 {
        args.wrong("'rewrite', 'insert' and 'prefix' of 'cookie' exclude each other");
    } else if cookie.indirect && cookie.mode == Mode::Rewrite {
        args.wrong("'rewrite' and 'indirect' of 'cookie' exclude each other");
    } else if cookie.preserve && cookie.mode != Mode::Insert && !cookie.indirect {
        args.wrong("'preserve' of 'cookie' expects 'insert' or 'indirect' beside it");
    }
    cookie.attributes = attributes.text();
    (to.cookie, to.dynamic_cookie) = (Some(cookie), dynamic);
}

/// What follows the value in Set-Cookie, in HAProxy's order.
#[derive(Default)]
struct Attributes {
    domains: String,
    http_only: &'static str,
    secure: &'static str,
    others: String,
}

impl Attributes {
    /// Reads what follows one of their words. Nothing after saying what is wrong.
    fn add(&mut self, args: &mut Args<'_>, word: &str) -> Option<()> {
        match word {
            "httponly" => self.http_only = "; HttpOnly",
            "secure" => self.secure = "; Secure",
            "domain" => {
                let domain = part(args, "cookie domain", "a domain such as .example.com", "; ")?;
                if !domain.contains('.') {
                    let at = args.last();
                    let message = format!("domain '{domain}' has no dot: browsers may refuse it");
                    args.findings.warn(at, message);
                }
                self.domains.push_str("; domain=");
                self.domains.push_str(domain);
            }
            _ => {
                let other = part(args, "cookie attr", "an attribute such as SameSite=Lax", ";")?;
                self.others.push_str("; ");
                self.others.push_str(other);
            }
        }
        Some(())
    }

    fn text(&self) -> String {
        [&self.domains, self.http_only, self.secure, &self.others].concat()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Strictness, parse, source::Source};

    fn said(lines: &str) -> Vec<String> {
        let text = format!("backend b\n mode http\n{lines}");
        let source = Source { name: "t".into(), text: text.into_bytes() };
        let (_, findings) = parse(&[source], Strictness::Strict, &|_| None);
        findings.list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_later_line_takes_the_place_of_one_before() {
        let text = "defaults\n mode http\n cookie A prefix\n\
            backend b\n cookie B insert maxlife 90d attr a=b domain .x domain y.z secure\n";
        let source = Source { name: "t".into(), text: text.into() };
        let (config, findings) = parse(&[source], Strictness::Strict, &|_| None);
        assert_eq!(findings.list, []);
        let cookie = config.proxies[0].settings.cookie.clone().expect("one");
        assert_eq!((cookie.name.as_str(), cookie.max_life), ("B", 90 * 86_400));
        assert_eq!(cookie.attributes, "; domain=.x; domain=y.z; Secure; a=b");
    }

    #[test]
    fn wrong_words_are_named_where_they_stand() {
        for (line, words) in [
            ("cookie", "t:3:8: 'cookie' expects the cookie's name"),
            ("cookie A insret", "t:3:11: 'cookie' expects one of rewrite, insert, prefix, "),
            ("cookie A insret", "not 'insret'; did you mean 'insert'?"),
            (
                "cookie A insert rewrite",
                "t:3:18: 'rewrite', 'insert' and 'prefix' of 'cookie' excl",
            ),
            ("cookie A rewrite indirect", "t:3:19: 'rewrite' and 'indirect'"),
            ("cookie A preserve prefix", "'preserve' of 'cookie' expects 'insert' or 'indirect'"),
            (
                "cookie A insert maxidle x",
                "t:3:26: 'cookie maxidle' expects a time such as 30m: 'x'",
            ),
            ("cookie A insert attr a;b", "t:3:23: 'cookie attr' expects an attribute such as"),
            ("cookie A insert attr a;b", "SameSite=Lax, without ';'"),
            ("cookie A\\ttab insert", r"t:3:9: 'cookie' expects the cookie's name, without '\t'"),
            ("cookie A=b insert", "expects the cookie's name, without '='"),
            ("cookie \"A b\" insert", "expects the cookie's name, without ' '"),
            ("cookie A insert domain .x;b", "t:3:25: 'cookie domain' expects a domain such as"),
            ("server s 127.0.0.1:1 cookie a;b", "t:3:30: 'cookie' expects the server's value"),
            ("server s 127.0.0.1:1 cookie \"a\\nb\"", r"of the cookie, without '\n'"),
            (
                "redirect location / set-cookie \"a\\rb\"",
                r"t:3:33: 'set-cookie' expects NAME[=VALUE], without '\r'",
            ),
            (
                "redirect location / clear-cookie \"a\\nb\"",
                r"'clear-cookie' expects NAME[=], without '\n'",
            ),
            ("option forwardfor header \"X: y\"", "t:3:27: 'X: y' is not a header's name"),
            ("option originalto header content-length", "t:3:27: 'content-length' says where a"),
            ("cookie A insert attr", "t:3:22: 'cookie attr' expects an attribute"),
            ("cookie A insert domain x", "[WARNING] t:3:25: domain 'x' has no dot"),
            ("dynamic-cookie-key", "t:3:20: 'dynamic-cookie-key' expects a secret"),
            ("server s 127.0.0.1:1 cookie", "t:3:29: 'cookie' expects the server's value"),
            ("force-persist", "t:3:15: 'force-persist' expects 'if' or 'unless' and a condition"),
            ("ignore-persist TRUE", "t:3:17: 'ignore-persist' expects 'if' or 'unless'"),
            ("capture cookie a len 3", "t:3:2: 'capture' cannot stand in a 'backend' section"),
        ] {
            let found = said(&format!(" {line}\n"));
            assert!(found.iter().any(|said| said.contains(words)), "{line}: {found:?}");
        }
    }
}
