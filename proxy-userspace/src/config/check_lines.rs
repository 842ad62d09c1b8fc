//! `http-check` and `tcp-check` lines.

use super::args::Args;
use super::model::OwnChecks;
use crate::http::health::script::{
    CheckKind, Connect, Expect, HttpSend, Pattern, Script, Step, TextMatch,
};
use crate::http::regex::Regex;
use crate::near;
use crate::units::hex_byte;

/// `option httpchk [URI]`, `METHOD URI`, `METHOD URI VERSION`.
pub(super) fn httpchk(args: &mut Args<'_>, to: &mut Script, own: &mut OwnChecks) {
    to.kind = CheckKind::Http;
    let words = args.rest();
    let mut request = HttpSend::default();
    match words.as_slice() {
        [] => {}
        [target] => request.target = Some((*target).to_owned()),
        [.., extra] if words.len() > 3 => {
            return args.wrong(format!(
                "'option httpchk' takes a method, a URI and a version: '{extra}' is one too many"
            ));
        }
        [method, target, version @ ..] => {
            request.method = Some((*method).to_owned());
            request.target = Some((*target).to_owned());
            // Fields behind the version are an old way that HAProxy still takes: "1.1\r\nHost: x".
            let text = version.join(" ");
            let mut lines = text.split("\r\n");
            if let Some(first) = lines.next().filter(|first| !first.is_empty()) {
                request.version = Some(first.to_owned());
            }
            for line in lines.filter(|line| !line.is_empty()) {
                match line.split_once(':') {
                    Some((name, value)) => {
                        request.headers.push((name.trim().to_owned(), value.trim().to_owned()));
                    }
                    None => args.wrong(format!("'option httpchk': '{line}' is not a header field")),
                }
            }
        }
    }
    put_away_steps(to, own);
    if !own.send {
        to.request = HttpSend::default();
    }
    own.option = true;
    to.request.overlay(request);
}

/// A section's first line on an HTTP check takes the place of all steps of its `defaults`. What is sent
/// stays, unless the section says that, too.
fn put_away_steps(to: &mut Script, own: &mut OwnChecks) {
    if !std::mem::replace(&mut own.steps, true) {
        to.http_steps.clear();
    }
}

/// Reads an `http-check` line, its first word taken.
pub(super) fn http_check(args: &mut Args<'_>, to: &mut Script, own: &mut OwnChecks) {
    const KNOWN: [&str; 5] = ["comment", "connect", "disable-on-404", "expect", "send"];
    const OTHERS: [&str; 3] = ["send-state", "set-var", "unset-var"];
    if args.peek() != "disable-on-404" {
        put_away_steps(to, own);
    }
    match args.next() {
        Some("connect") => to.http_steps.extend(connect(args).map(Step::Connect)),
        Some("send") => {
            if let Some(request) = http_send(args) {
                if !own.option && !own.send {
                    to.request = HttpSend::default();
                }
                own.send = true;
                if to
                    .http_steps
                    .iter()
                    .all(|step| matches!(step, Step::Connect(_) | Step::Comment(_)))
                {
                    to.request.overlay(request);
                } else {
                    to.http_steps.push(Step::HttpSend(request));
                }
            }
        }
        Some("expect") => to.http_steps.extend(expect(args, true).map(Step::Expect)),
        Some("comment") => to.http_steps.extend(said(args).map(Step::Comment)),
        Some("disable-on-404") => to.disable_on_404 = true,
        other => return unknown(args, "http-check", other, &KNOWN, &OTHERS),
    }
    args.end("http-check");
}

/// Reads a `tcp-check` line, its first word taken.
pub(super) fn tcp_check(args: &mut Args<'_>, to: &mut Script) {
    const KNOWN: [&str; 5] = ["comment", "connect", "expect", "send", "send-binary"];
    const OTHERS: [&str; 5] = ["send-lf", "send-binary-lf", "set-var", "set-var-fmt", "unset-var"];
    match args.next() {
        Some("connect") => to.tcp_steps.extend(connect(args).map(Step::Connect)),
        Some("expect") => to.tcp_steps.extend(expect(args, false).map(Step::Expect)),
        Some("comment") => to.tcp_steps.extend(said(args).map(Step::Comment)),
        Some("send") => {
            if let Some(text) = args.need("tcp-check send", "what to send") {
                to.tcp_steps.push(Step::Send(text.as_bytes().to_vec()));
                comment(args);
            }
        }
        Some("send-binary") => {
            let bytes = binary(args, "tcp-check send-binary");
            to.tcp_steps.extend(bytes.map(Step::Send));
            comment(args);
        }
        other => return unknown(args, "tcp-check", other, &KNOWN, &OTHERS),
    }
    args.end("tcp-check");
}

fn unknown(
    args: &mut Args<'_>,
    directive: &str,
    word: Option<&str>,
    known: &[&str],
    others: &[&str],
) {
    let list = known.join(", ");
    match word {
        None => args.wrong_here(format!("'{directive}' expects one of {list}")),
        Some(word) if others.contains(&word) => {
            args.wrong(format!("'{directive} {word}' is HAProxy's; teardown has not got it"));
        }
        Some(word) => {
            let hint = near::hint(word, known.iter().copied());
            args.wrong(format!("'{directive}' expects one of {list}, not '{word}'{hint}"));
        }
    }
    args.skip(args.line.words.len());
}

fn comment(args: &mut Args<'_>) -> Option<String> {
    args.eat("comment").then(|| said(args)).flatten()
}

/// The text of a comment.
fn said(args: &mut Args<'_>) -> Option<String> {
    args.need("comment", "a text").map(str::to_owned)
}

fn connect(args: &mut Args<'_>) -> Option<Connect> {
    let mut model = Connect::default();
    while let Some(word) = args.next() {
        match word {
            // The server line's own address and port hold unless these say otherwise.
            "default" => model.is_default = true,
            "send-proxy" => model.send_proxy = true,
            "linger" => model.linger = true,
            "port" => model.port = args.number(word, 1..=u16::MAX),
            "addr" => {
                let text = args.need(word, "an address without a port")?;
                match text.parse() {
                    Ok(ip) => model.host = Some(ip),
                    Err(_) => {
                        args.wrong(format!("'addr' expects an IPv4 or IPv6 address, not '{text}'"));
                    }
                }
            }
            "comment" => model.comment = args.need(word, "a text").map(str::to_owned),
            "via-socks4" | "ssl" | "sni" | "alpn" | "proto" => {
                args.wrong(format!("'{word}' of 'connect' is HAProxy's; teardown has not got it"));
                args.skip(args.line.words.len());
            }
            _ => {
                let known = ["default", "port", "addr", "send-proxy", "linger", "comment"];
                let hint = near::hint(word, known);
                let list = known.join(", ");
                args.wrong(format!("'connect' expects some of {list}, not '{word}'{hint}"));
                args.skip(args.line.words.len());
            }
        }
    }
    Some(model)
}

fn http_send(args: &mut Args<'_>) -> Option<HttpSend> {
    let mut model = HttpSend::default();
    while let Some(word) = args.next() {
        match word {
            "meth" => model.method = Some(args.need(word, "a method")?.to_owned()),
            "uri" => model.target = Some(args.need(word, "a path")?.to_owned()),
            "ver" => {
                model.version = Some(args.need(word, "a version such as HTTP/1.1")?.to_owned());
            }
            "hdr" => {
                let name = args.need(word, "a header's name and value")?.to_owned();
                let value = args.need(word, "a header's value")?.to_owned();
                model.headers.push((name, value));
            }
            "body" => model.body = Some(args.need(word, "a text")?.as_bytes().to_vec()),
            "comment" => {
                let _ = args.need(word, "a text");
            }
            "uri-lf" | "body-lf" => {
                args.wrong(format!("'{word}' of 'send' is HAProxy's; teardown has not got it"));
                args.skip(args.line.words.len());
            }
            _ => {
                let known = ["meth", "uri", "ver", "hdr", "body", "comment"];
                let hint = near::hint(word, known);
                let list = known.join(", ");
                args.wrong(format!("'http-check send' expects some of {list}, not '{word}'{hint}"));
                args.skip(args.line.words.len());
            }
        }
    }
    Some(model)
}

fn expect(args: &mut Args<'_>, http: bool) -> Option<Expect> {
    let mut comment = None;
    let mut min_recv = None;
    loop {
        if args.eat("comment") {
            comment = Some(said(args)?);
        } else if args.eat("min-recv") {
            let number = args.number("min-recv", -1..=i32::MAX)?;
            min_recv = u32::try_from(number).ok();
        } else {
            break;
        }
    }
    let mut negate = false;
    while args.eat("!") {
        negate = !negate;
    }
    let known: &[&str] = if http { HTTP_EXPECTS } else { &["string", "rstring", "binary"] };
    let list = known.join(", ");
    let word = args.need("expect", &format!("one of {list}"))?;
    let word = word.strip_prefix('!').map_or(word, |rest| {
        negate = !negate;
        rest
    });
    let pattern = match word {
        "status" if http => status(args)?,
        "string" => Pattern::Bytes(args.need("string", "a text")?.as_bytes().to_vec()),
        "binary" if !http => Pattern::Bytes(binary(args, "binary")?),
        "rstring" => Pattern::Regex(regex(args, "rstring")?),
        "rstatus" if http => Pattern::StatusRegex(regex(args, "rstatus")?),
        "hdr" | "fhdr" if http => header(args, word == "fhdr")?,
        "rbinary" | "string-lf" | "binary-lf" | "ok-status" | "error-status" | "tout-status"
        | "on-success" | "on-error" | "status-code" => {
            args.wrong(format!("'expect {word}' is HAProxy's; teardown has not got it"));
            args.skip(args.line.words.len());
            return None;
        }
        _ => {
            let hint = near::hint(word, known.iter().copied());
            args.wrong(format!("'expect' expects one of {list}, not '{word}'{hint}"));
            args.skip(args.line.words.len());
            return None;
        }
    };
    // HAProxy takes it behind the pattern, too.
    let comment = self::comment(args).or(comment);
    Some(Expect { negate, pattern, min_recv, comment })
}

const HTTP_EXPECTS: &[&str] = &["status", "rstatus", "string", "rstring", "hdr", "fhdr"];

fn regex(args: &mut Args<'_>, directive: &str) -> Option<Regex> {
    let text = args.need(directive, "a regular expression")?;
    Regex::new(text, false).map_err(|why| args.wrong(why)).ok()
}

fn status(args: &mut Args<'_>) -> Option<Pattern> {
    let text = args.need("status", "status codes such as 200,300-399")?;
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (low.parse().ok()?, high.parse().ok()?);
        (100 <= low && low <= high && high <= 999).then_some((low, high))
    };
    let ranges: Option<Vec<(u16, u16)>> = text.split(',').map(range).collect();
    if ranges.is_none() {
        args.wrong(format!("'status' expects status codes such as 200,300-399, not '{text}'"));
    }
    ranges.map(Pattern::Status)
}

fn binary(args: &mut Args<'_>, directive: &str) -> Option<Vec<u8>> {
    let text = args.need(directive, "an even number of hexadecimal digits")?;
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(hex_byte).collect();
    if bytes.is_none() {
        args.wrong(format!("'{directive}' expects an even number of hexadecimal digits"));
    }
    bytes
}

fn header(args: &mut Args<'_>, full: bool) -> Option<Pattern> {
    const METHODS: [(&str, TextMatch); 4] = [
        ("str", TextMatch::Exact),
        ("beg", TextMatch::Begin),
        ("end", TextMatch::End),
        ("sub", TextMatch::Contains),
    ];
    if !args.eat("name") {
        args.wrong_here("'hdr' expects 'name' and a header's name");
        return None;
    }
    if args.peek() == "-m" {
        args.wrong_here("'-m' before a header's name is HAProxy's; teardown has not got it");
        return None;
    }
    let name = args.need("name", "a header's name")?.to_owned();
    let (mut value, mut method) = (None, TextMatch::Exact);
    if args.eat("value") {
        if args.eat("-m") {
            method = args.choice("-m", &METHODS)?;
        }
        value = Some(args.need("value", "a header's value")?.to_owned());
    }
    Some(Pattern::Header { name, value, method, full })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, Strictness, parse};

    /// The scripts of the backends behind these `defaults`.
    fn scripts(text: &str) -> Vec<Script> {
        let source = Source { name: "t".into(), text: text.as_bytes().to_vec() };
        let (config, findings) = parse(&[source], Strictness::Strict, &|_| None);
        assert!(!findings.is_fatal(), "{findings}");
        config.proxies.into_iter().map(|proxy| proxy.settings.check).collect()
    }

    /// What is sent, and how many steps there are beside.
    fn sent(script: &Script) -> String {
        let HttpSend { method, target, version, headers, .. } = &script.request;
        let words = [method, target, version].map(|word| word.as_deref().unwrap_or("-"));
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        format!("{} {} {}", words.join(" "), names.join(","), script.http_steps.len())
    }

    /// What is sent for each is what Debian's HAProxy was seen to send.
    #[test]
    fn a_sections_own_lines_take_the_place_of_its_defaults() {
        let defaults = "defaults\n mode http\n timeout server 1s\n timeout connect 1s\n \
            option httpchk GET /status HTTP/1.1\n http-check send hdr Host h hdr X-Test 1\n \
            http-check expect status 200\n";
        let cases = [
            ("", "GET /status HTTP/1.1 Host,X-Test 1"),
            (" http-check disable-on-404\n", "GET /status HTTP/1.1 Host,X-Test 1"),
            (" option httpchk\n", "- - -  0"),
            (" option httpchk GET /a\n http-check expect status 204\n", "GET /a -  1"),
            (" option httpchk GET /a HTTP/1.1\n option httpchk\n", "- - -  0"),
            (" http-check send hdr Host g\n", "- - - Host 0"),
            (
                " http-check send hdr Host g\n option httpchk GET /b HTTP/1.1\n",
                "GET /b HTTP/1.1 Host 0",
            ),
            (
                " option httpchk GET /b HTTP/1.1\n http-check send hdr Host g\n",
                "GET /b HTTP/1.1 Host 0",
            ),
        ];
        for (own, want) in cases {
            let script = &scripts(&format!("{defaults}backend b\n{own}"))[0];
            assert_eq!(sent(script), want, "{own}");
        }
    }

    /// HAProxy sends nothing here, and waits for an answer.
    #[test]
    fn a_sections_expectation_is_one_of_its_defaults_request() {
        let text = "defaults\n mode http\n timeout server 1s\n timeout connect 1s\n \
            option httpchk GET /status\n http-check expect status 200\n";
        let script = &scripts(&format!("{text}backend b\n http-check expect status 204\n"))[0];
        assert_eq!(sent(script), "GET /status -  1");
        let Step::Expect(expect) = &script.http_steps[0] else { panic!("{script:?}") };
        assert_eq!(expect.pattern, Pattern::Status(vec![(204, 204)]));
    }

    #[test]
    fn so_do_its_own_steps_of_a_tcp_check() {
        let text = "defaults\n timeout server 1s\n timeout connect 1s\n option tcp-check\n \
            tcp-check send a\n tcp-check expect string b\n\
            backend first\nbackend second\n tcp-check send c\n tcp-check expect string d\n";
        let scripts = scripts(text);
        assert_eq!(scripts[0].tcp_steps.len(), 2);
        assert_eq!(scripts[1].tcp_steps[0], Step::Send(b"c".to_vec()));
        assert_eq!(scripts[1].tcp_steps.len(), 2);
    }
}
