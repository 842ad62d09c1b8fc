//! Expressions (`hdr(host),lower`), from text.

use super::arguments::{is_escaped, variable};
use super::converters::{converter, split};
use super::directives::FETCH_OTHERS;
use crate::http::sample::{Expression, Fetch, Kind, Message};
use crate::near;

/// Fetches by name.
pub(super) const FETCHES: &[&str] = &[
    "always_false",
    "always_true",
    "base",
    "bool",
    "dst",
    "dst_port",
    "hdr",
    "hdr_cnt",
    "hdr_ip",
    "hdr_val",
    "int",
    "method",
    "path",
    "pathq",
    "query",
    "req.fhdr",
    "req.hdr",
    "req.hdr_cnt",
    "req.hdr_ip",
    "req.hdr_val",
    "req.ver",
    "res.fhdr",
    "res.hdr",
    "res.hdr_cnt",
    "res.hdr_ip",
    "res.hdr_val",
    "res.ver",
    "shdr",
    "shdr_cnt",
    "shdr_ip",
    "shdr_val",
    "src",
    "src_port",
    "ssl_fc",
    "status",
    "str",
    "unique-id",
    "url",
    "url_param",
    "urlp",
    "var",
];

/// Reads `FETCH[(ARGUMENTS)][,CONVERTER]...`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn expression(text: &str) -> Result<Expression, String> {
    let (first, mut rest) = head(text)?;
    let fetch = fetch(first.0, first.1)?;
    let mut converts = Vec::new();
    while !rest.is_empty() {
        let Some(more) = rest.strip_prefix(',') else {
            return Err(format!("'{rest}' behind '{}' is not understood", first.0));
        };
        let ((name, arguments), after) = head(more)?;
        converts.push(converter(name, arguments)?);
        rest = after;
    }
    Ok(Expression { fetch, converts })
}

type Call<'a> = (&'a str, Option<&'a str>);

/// The first `NAME` or `NAME(ARGUMENTS)`, and what stands behind it.
fn head(text: &str) -> Result<(Call<'_>, &str), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let length = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    let Some(inside) = rest.strip_prefix('(') else { return Ok(((name, None), rest)) };
    let Some(end) = closing(inside) else {
        return Err(format!("'{name}(' lacks its closing parenthesis"));
    };
    Ok(((name, Some(&inside[..end])), &inside[end + 1..]))
}

/// The first parenthesis that closes, quotes and backslashes minded.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                characters.next_if(|(_, next)| is_escaped(*next));
            }
            ('"' | '\'', None) => quote = Some(character),
            (end, Some(open)) if end == open => quote = None,
            (')', None) => return Some(at),
            _ => {}
        }
    }
    None
}

fn fetch(name: &str, arguments: Option<&str>) -> Result<Fetch, String> {
    let (of, header) = match name {
        "hdr" | "hdr_cnt" | "hdr_ip" | "hdr_val" => (Message::Request, name),
        "shdr" | "shdr_cnt" | "shdr_ip" | "shdr_val" => (Message::Response, &name[1..]),
        _ => match (name.strip_prefix("req."), name.strip_prefix("res.")) {
            (Some(rest), _) => (Message::Request, rest),
            (_, Some(rest)) => (Message::Response, rest),
            _ => (Message::Request, ""),
        },
    };
    if matches!(header, "hdr" | "fhdr" | "hdr_ip" | "hdr_val" | "hdr_cnt") {
        return header_fetch(name, of, header, arguments);
    }
    let argument = || {
        let given = arguments.filter(|text| !text.is_empty());
        given.ok_or_else(|| format!("'{name}' expects an argument: {name}(...)"))
    };
    let fetch = match name {
        "url_param" | "urlp" => return Ok(Fetch::UrlParameter(argument()?.to_owned())),
        "var" => {
            let (name, default) = match argument()?.split_once(',') {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (argument()?, None),
            };
            return Ok(Fetch::Variable(variable(name)?, default));
        }
        "str" => {
            let list = split(arguments.unwrap_or_default())?;
            return match list.as_slice() {
                [] => Ok(Fetch::Text(String::new())),
                [text] => Ok(Fetch::Text(text.clone())),
                _ => Err("'str' expects one text; a comma in it stands in quotes".to_owned()),
            };
        }
        "int" => {
            let number = argument()?.parse();
            return number.map(Fetch::Number).map_err(|_| "'int' expects a number".to_owned());
        }
        "bool" => {
            return match argument()? {
                "1" | "true" | "on" | "yes" => Ok(Fetch::Truth(true)),
                "0" | "false" | "off" | "no" => Ok(Fetch::Truth(false)),
                other => Err(format!("'bool' expects true or false, not '{other}'")),
            };
        }
        "path" => Fetch::Path,
        "query" => Fetch::Query,
        "pathq" => Fetch::PathAndQuery,
        "url" => Fetch::Url,
        "base" => Fetch::Base,
        "method" => Fetch::Method,
        "req.ver" | "req_ver" => Fetch::Version(Message::Request),
        "res.ver" | "resp_ver" => Fetch::Version(Message::Response),
        "status" => Fetch::Status,
        "unique-id" => Fetch::UniqueId,
        "src" => Fetch::Source,
        "src_port" => Fetch::SourcePort,
        "dst" => Fetch::Destination,
        "dst_port" => Fetch::DestinationPort,
        "always_true" => Fetch::Truth(true),
        // No connection has TLS here.
        "always_false" | "ssl_fc" => Fetch::Truth(false),
        _ if FETCH_OTHERS.iter().any(|list| list.contains(&name)) => {
            return Err(format!("'{name}' is HAProxy's; teardown has not got it"));
        }
        _ => {
            let hint = near::hint(name, FETCHES.iter().copied());
            return Err(format!("unknown fetch '{name}'{hint}"));
        }
    };
    match arguments {
        Some(text) if !text.is_empty() => Err(format!("'{name}' takes no argument")),
        _ => Ok(fetch),
    }
}

fn header_fetch(
    name: &str,
    of: Message,
    kind: &str,
    arguments: Option<&str>,
) -> Result<Fetch, String> {
    let arguments = arguments.unwrap_or_default();
    let (field, occurrence) = match arguments.split_once(',') {
        Some((field, number)) => {
            let number: i32 = number.trim().parse().map_err(|_| {
                format!("'{name}' expects a header's name and an occurrence such as -1")
            })?;
            (field.trim(), Some(number))
        }
        None => (arguments.trim(), None),
    };
    if field.is_empty() {
        return Err(format!("'{name}' expects a header's name: {name}(NAME)"));
    }
    let field = field.to_owned();
    Ok(match kind {
        "hdr_cnt" => Fetch::HeaderCount { of, name: field },
        _ => Fetch::Header {
            of,
            name: field,
            full: kind == "fhdr",
            occurrence,
            kind: match kind {
                "hdr_ip" => Kind::Address,
                "hdr_val" => Kind::Number,
                _ => Kind::Text,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample::Convert;

    #[test]
    fn expressions_have_arguments_and_converters() {
        let read = expression("hdr(Host,-1),lower,length").unwrap();
        assert_eq!(read.converts, [Convert::Lower, Convert::Length]);
        assert!(matches!(read.fetch, Fetch::Header { occurrence: Some(-1), full: false, .. }));
        assert_eq!(expression("ssl_fc").unwrap().fetch, Fetch::Truth(false));
    }

    #[test]
    fn wrong_expressions_say_why() {
        let cases = [
            ("pth", "did you mean 'path'"),
            ("hdr", "expects a header's name"),
            ("hdr(x", "closing parenthesis"),
            ("path,lowr", "did you mean 'lower'"),
            ("path,base64", "HAProxy's"),
            ("path(x)", "takes no argument"),
            ("path,lower(x)", "converter 'lower' takes no argument"),
            ("path,field(0,/)", "counts from 1"),
            ("path,field(x,/)", "expects a number, not 'x'"),
            ("path,field(1)", "expects 2 to 3 arguments, not 1"),
            ("path,add(x)", "a number or a variable, not 'x'"),
            ("path,regsub((a),b)", "expects 2 to 3 arguments, not 1"),
            ("path,regsub('(a',b)", "is not a regular expression"),
            ("path,regsub(a,b,x)", "the flags g and i, not 'x'"),
            ("path,ipmask(33)", "expects masks such as 24"),
            ("path,map(/nonexistent/map)", "cannot read /nonexistent/map"),
            ("path,map_nothing(/a)", "unknown converter 'map_nothing'"),
            ("path,field('1)", "closing parenthesis"),
            ("str(a,b)", "a comma in it stands in quotes"),
            ("nbsrv(x)", "HAProxy's"),
            ("int(x)", "a number"),
        ];
        for (text, part) in cases {
            let error = expression(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[()a-z_.,0-9é-]{0,30}") {
            let _ = expression(&text);
        }
    }
}
