//! ACLs and conditions, from words.

use super::args::Args;
use super::expression::expression;
use super::model::Acl;
use super::patterns::{bytes, numbers, with_mask};
use super::token::Position;
use crate::http::acl::{Condition, Patterns, Term, Test, TextMatch};
use crate::http::regex::Regex;
use crate::http::sample::{Expression, Fetch, Kind};
use crate::{host, near};
use std::slice;
use std::sync::Arc;

/// How samples are compared: `-m`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Found,
    Bool,
    Int,
    Ip,
    Len,
    Text(TextMatch),
    /// Bytes, whose patterns are in hexadecimal.
    Bytes,
    Regex,
}

pub(super) const METHODS: [(&str, Method); 13] = [
    ("found", Method::Found),
    ("bool", Method::Bool),
    ("int", Method::Int),
    ("ip", Method::Ip),
    ("len", Method::Len),
    ("str", Method::Text(TextMatch::Exact)),
    ("beg", Method::Text(TextMatch::Begin)),
    ("end", Method::Text(TextMatch::End)),
    ("sub", Method::Text(TextMatch::Contains)),
    ("dir", Method::Text(TextMatch::Directory)),
    ("dom", Method::Text(TextMatch::Domain)),
    ("bin", Method::Bytes),
    ("reg", Method::Regex),
];

/// Keywords whose ending may be a method: `path_beg` is `path -m beg`.
pub(super) const FAMILIES: [&str; 6] = ["path", "url", "base", "hdr", "shdr", "urlp"];

/// The methods that may be such an ending; `hdr_ip` and `hdr_cnt` are fetches.
pub(super) const ENDINGS: [&str; 7] = ["beg", "dir", "dom", "end", "len", "reg", "sub"];

/// What HAProxy defines by itself: a name, an expression, a method and patterns.
pub(super) const PREDEFINED: [(&str, &str, &[&str]); 21] = [
    ("FALSE", "always_false", &[]),
    ("TRUE", "always_true", &[]),
    ("HTTP", "req.ver", &["1.0", "1.1"]),
    ("HTTP_1.0", "req.ver", &["1.0"]),
    ("HTTP_1.1", "req.ver", &["1.1"]),
    ("HTTP_2.0", "req.ver", &["2.0"]),
    ("HTTP_CONTENT", "hdr_val(content-length)", &["gt", "0"]),
    ("LOCALHOST", "src", &["127.0.0.0/8", "::1"]),
    ("METH_CONNECT", "method", &["CONNECT"]),
    ("METH_DELETE", "method", &["DELETE"]),
    ("METH_GET", "method", &["GET", "HEAD"]),
    ("METH_HEAD", "method", &["HEAD"]),
    ("METH_OPTIONS", "method", &["OPTIONS"]),
    ("METH_POST", "method", &["POST"]),
    ("METH_PUT", "method", &["PUT"]),
    ("METH_TRACE", "method", &["TRACE"]),
    ("HTTP_URL_ABS", "url_reg", &["^[^/:]*://"]),
    ("HTTP_URL_SLASH", "url_beg", &["/"]),
    ("HTTP_URL_STAR", "url", &["*"]),
    ("REQ_CONTENT", "req.len", &["gt", "0"]),
    ("WAIT_END", "wait_end", &[]),
];

/// What HAProxy defines beside them.
const PREDEFINED_OTHERS: [&str; 1] = ["RDP_COOKIE"];

/// Reads a test: an expression, flags and patterns, up to `end` (the closing brace) or the line's
/// end. Returns nothing after saying what is wrong.
pub(super) fn test(args: &mut Args<'_>, end: Option<&str>) -> Option<Test> {
    let word = args.need("acl", "a test such as path_beg or hdr(host)")?;
    let (expression, mut method) = match keyword(word) {
        Ok(read) => read,
        Err(why) => {
            args.wrong(why);
            return None;
        }
    };
    let given = given(args, end)?;
    method = given.method.or(method);
    let is_bytes = matches!(expression.fetch, Fetch::Payload(..)) && expression.converts.is_empty();
    if (is_bytes || expression.kind() == Kind::Any) && method.is_none() {
        args.wrong(format!("'{word}' may be of any type: say how to compare it, such as '-m str'"));
        return None;
    }
    let method = method.unwrap_or_else(|| method_of(&expression));
    if !given.any && !matches!(method, Method::Found | Method::Bool) {
        let at = args.last();
        let message = format!(
            "the test '{word}' has nothing to compare with and never matches; \
             for mere presence say '-m found'"
        );
        args.findings.warn(at, message);
    }
    match compile(method, &expression, given.ignore_case, &given.patterns) {
        Ok(patterns) => Some(Test { expression, patterns }),
        Err(why) => {
            // Each is right or wrong by itself.
            let is_wrong = |pattern: &String| {
                compile(method, &expression, given.ignore_case, slice::from_ref(pattern)).is_err()
            };
            let wrong = given.patterns.iter().position(is_wrong);
            let wrong = wrong.and_then(|at| given.places.get(at).cloned());
            args.findings.alert(wrong.unwrap_or_else(|| args.last()), why);
            None
        }
    }
}

/// What stands behind a test's expression.
#[derive(Default)]
struct Given {
    /// `-m`.
    method: Option<Method>,
    /// `-i`.
    ignore_case: bool,
    patterns: Vec<String>,
    /// Where each pattern stands; those of a file stand where its name does.
    places: Vec<Position>,
    /// Whether there may be patterns, even if a file has none.
    any: bool,
}

/// Reads flags and patterns, up to `end` or the line's end.
fn given(args: &mut Args<'_>, end: Option<&str>) -> Option<Given> {
    let mut given = Given::default();
    let mut flags = true;
    while end.is_none_or(|end| args.peek() != end) {
        let Some(word) = args.next() else { break };
        match word {
            "-i" if flags => given.ignore_case = true,
            "-n" | "-M" | "-u" if flags => {
                args.wrong(format!("the flag '{word}' is HAProxy's; teardown has not got it"));
                return None;
            }
            "-m" if flags => given.method = Some(args.choice("-m", &METHODS)?),
            "-f" if flags => {
                given.any = true;
                given.patterns.extend(file(args)?);
                given.places.resize(given.patterns.len(), args.last());
            }
            "--" if flags => (given.any, flags) = (true, false),
            _ if flags && word.starts_with('-') => {
                args.wrong(format!(
                    "'{word}' is no flag of a test; a pattern that begins so stands behind '--'"
                ));
                return None;
            }
            _ => {
                (given.any, flags) = (true, false);
                given.patterns.push(word.to_owned());
                given.places.push(args.last());
            }
        }
    }
    Some(given)
}

/// How samples are compared where nothing says so.
fn method_of(expression: &Expression) -> Method {
    match expression.kind() {
        Kind::Text | Kind::Any => Method::Text(TextMatch::Exact),
        Kind::Number => Method::Int,
        Kind::Address => Method::Ip,
        Kind::Truth => Method::Bool,
    }
}

/// A test that does not hold.
pub(super) fn never() -> Test {
    let expression = Expression { fetch: Fetch::Truth(false), converts: Vec::new() };
    Test { expression, patterns: Patterns::Truth }
}

/// `path_beg` and its kin: an expression and the method that the name implies.
fn keyword(word: &str) -> Result<(Expression, Option<Method>), String> {
    let length = word.find(['(', ',']).unwrap_or(word.len());
    let (name, rest) = word.split_at(length);
    if let Some((family, ending)) = name.rsplit_once('_')
        && FAMILIES.contains(&family)
        && ENDINGS.contains(&ending)
    {
        let method = METHODS.iter().find(|method| method.0 == ending);
        return Ok((expression(&format!("{family}{rest}"))?, method.map(|method| method.1)));
    }
    Ok((expression(word)?, None))
}

/// The patterns of a file: a line each, `#` begins a comment line.
fn file(args: &mut Args<'_>) -> Option<Vec<String>> {
    let path = args.need("-f", "a file of patterns")?;
    match host::file(path.as_ref()).map(String::from_utf8) {
        Ok(Ok(text)) => {
            let lines =
                text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
            Some(lines.map(str::to_owned).collect())
        }
        Ok(Err(why)) => {
            args.wrong(format!("the patterns' file {path} is not in UTF-8: {why}"));
            None
        }
        Err(why) => {
            args.wrong(format!("cannot read the patterns' file {path}: {why}"));
            None
        }
    }
}

fn compile(
    method: Method,
    expression: &Expression,
    ignore_case: bool,
    patterns: &[String],
) -> Result<Patterns, String> {
    Ok(match method {
        Method::Found => Patterns::Found,
        Method::Bool => Patterns::Truth,
        Method::Int => Patterns::Numbers(numbers(patterns)?),
        Method::Len => Patterns::Lengths(numbers(patterns)?),
        Method::Ip => {
            let read = |text: &String| {
                with_mask(text)
                    .ok_or_else(|| format!("'{text}' is not an IPv4 or IPv6 address or network"))
            };
            Patterns::Networks(patterns.iter().map(read).collect::<Result<_, _>>()?)
        }
        Method::Text(how) => {
            // Methods are compared with regard to case, whatever -i says; hosts are not.
            let ignore_case = ignore_case && expression.fetch != Fetch::Method;
            let text = |pattern: &String| {
                if ignore_case { pattern.to_ascii_lowercase() } else { pattern.clone() }
                    .into_bytes()
            };
            Patterns::Text { how, ignore_case, texts: patterns.iter().map(text).collect() }
        }
        Method::Bytes => {
            let texts = patterns.iter().map(|text| bytes(text)).collect::<Result<_, _>>()?;
            Patterns::Text { how: TextMatch::Exact, ignore_case: false, texts }
        }
        Method::Regex => {
            let compile = |pattern: &String| Regex::new(pattern, ignore_case);
            Patterns::Regex(patterns.iter().map(compile).collect::<Result<_, _>>()?)
        }
    })
}

/// Reads `if CONDITION` or `unless CONDITION`, if there is one. `Err` after saying what is wrong.
pub(super) fn condition(args: &mut Args<'_>, acls: &[Acl]) -> Result<Option<Condition>, ()> {
    let unless = match args.next() {
        None => return Ok(None),
        Some("if") => false,
        Some("unless") => true,
        Some(word) => {
            args.wrong(format!("expected 'if' or 'unless' and a condition, not '{word}'"));
            return Err(());
        }
    };
    let mut any_of = vec![Vec::new()];
    let mut negate = false;
    while let Some(word) = args.next() {
        let mut word = word;
        if matches!(word, "or" | "||") {
            any_of.push(Vec::new());
            negate = false;
            continue;
        }
        while let Some(rest) = word.strip_prefix('!') {
            negate = !negate;
            word = rest;
        }
        if word.is_empty() {
            continue;
        }
        let tests = if word == "{" { anonymous(args)? } else { named(args, acls, word)? };
        if let Some(terms) = any_of.last_mut() {
            terms.push(Term { negate, tests });
        }
        negate = false;
    }
    // "if" alone, and an "or" with nothing behind it, are true in HAProxy.
    Ok(Some(Condition { unless, any_of }))
}

fn anonymous(args: &mut Args<'_>) -> Result<Arc<[Test]>, ()> {
    let open = args.last();
    let test = test(args, Some("}")).ok_or(())?;
    if !args.eat("}") {
        args.findings.alert(open, "this '{' lacks its '}', a word of its own");
        return Err(());
    }
    Ok([test].into())
}

fn named(args: &mut Args<'_>, acls: &[Acl], word: &str) -> Result<Arc<[Test]>, ()> {
    let tests: Vec<Test> =
        acls.iter().filter(|acl| acl.name == word).map(|acl| acl.test.clone()).collect();
    if !tests.is_empty() {
        return Ok(tests.into());
    }
    if let Some(tests) = predefined(word) {
        return Ok(tests);
    }
    if PREDEFINED_OTHERS.contains(&word) {
        args.wrong(format!("acl '{word}' is HAProxy's; teardown has not got it"));
        return Err(());
    }
    let names = acls.iter().map(|acl| acl.name.as_str());
    let hint = near::hint(word, names.chain(PREDEFINED.iter().map(|entry| entry.0)));
    let braces = if word.starts_with('{') { "; '{' and '}' are words of their own" } else { "" };
    args.wrong(format!("no acl '{word}' stands before this{hint}{braces}"));
    Err(())
}

fn predefined(name: &str) -> Option<Arc<[Test]>> {
    let (_, text, patterns) = PREDEFINED.iter().find(|entry| entry.0 == name)?;
    let (expression, method) = keyword(text).ok()?;
    let method = method.unwrap_or_else(|| method_of(&expression));
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    let patterns = compile(method, &expression, false, &patterns).ok()?;
    Some([Test { expression, patterns }].into())
}

/// What rules have at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// No more than who has connected.
    Connection,
    /// A request.
    Request,
    /// A response.
    Response,
}

/// Whether a condition looks at what is not there: says so, once.
pub(super) fn warn_if_never(
    args: &mut Args<'_>,
    condition: Option<&Condition>,
    at: Position,
    of_response: bool,
) {
    let rules = if of_response { At::Response } else { At::Request };
    warn_if_absent(args, condition, at, rules);
}

/// The same, for what these rules have at hand.
pub(super) fn warn_if_absent(
    args: &mut Args<'_>,
    condition: Option<&Condition>,
    at: Position,
    rules: At,
) {
    let expressions = condition.iter().flat_map(|condition| condition.expressions());
    let missing = { expressions }.find_map(|of| match rules {
        At::Request | At::Connection if of.needs_response() => Some("the response"),
        At::Response | At::Connection if of.needs_request() => Some("the request"),
        At::Response | At::Connection if of.needs_input() => Some("what the client sends"),
        _ => None,
    });
    if let Some(missing) = missing {
        let has = match rules {
            At::Connection => "connections",
            At::Request => "requests",
            At::Response => "responses",
        };
        args.findings.warn(
            at,
            format!("a test of this rule on {has} looks at {missing} and will never match"),
        );
    }
}
