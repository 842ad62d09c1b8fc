//! Expressions (`hdr(host),lower`), from text.

use super::arguments::{is_escaped, variable};
use super::converters::{converter, split};
use super::directives::FETCH_OTHERS;
use crate::http::framing::is_token;
use crate::http::sample::{Expression, Fetch, Kind, Message};
use crate::near;

/// Fetches by name.
pub(super) const FETCHES: &[&str] = &[
    "always_false",
    "always_true",
    "base",
    "be_name",
    "bool",
    "capture.req.hdr",
    "capture.res.hdr",
    "dst",
    "dst_port",
    "fe_name",
    "hdr",
    "hdr_cnt",
    "hdr_ip",
    "hdr_val",
    "http_first_req",
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
    "req.len",
    "req.payload",
    "req.ssl_hello_type",
    "req.ssl_sni",
    "req.ver",
    "req_len",
    "req_ssl_hello_type",
    "req_ssl_sni",
    "res.fhdr",
    "res.hdr",
    "res.hdr_cnt",
    "res.hdr_ip",
    "res.hdr_val",
    "res.len",
    "res.payload",
    "res.ver",
    "shdr",
    "shdr_cnt",
    "shdr_ip",
    "shdr_val",
    "src",
    "src_port",
    "srv_name",
    "ssl_fc",
    "status",
    "str",
    "unique-id",
    "url",
    "url_param",
    "urlp",
    "var",
    "wait_end",
];

/// Reads `FETCH[(ARGUMENTS)][,CONVERTER]...`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn expression(text: &str) -> Result<Expression, String> {
    match leading(text)? {
        (expression, "") => Ok(expression),
        (_, rest) => {
            let read = &text[..text.len() - rest.len()];
            Err(format!("'{rest}' behind '{read}' is not understood"))
        }
    }
}

/// Reads the expression that `text` begins with; what stands behind it is left.
pub(super) fn leading(text: &str) -> Result<(Expression, &str), String> {
    let ((name, arguments), mut rest) = head(text)?;
    let fetch = fetch(name, arguments)?;
    let mut converts = Vec::new();
    while let Some(more) = rest.strip_prefix(',') {
        let ((name, arguments), after) = head(more)?;
        converts.push(converter(name, arguments)?);
        rest = after;
    }
    Ok((Expression { fetch, converts }, rest))
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
    let list = split(arguments.unwrap_or_default())?;
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    if let Some((of, kind)) = of_header(name) {
        return header_fetch(name, of, kind, &list);
    }
    match (name, list.as_slice()) {
        ("url_param" | "urlp", [parameter]) => url_parameter(name, parameter, "?"),
        ("url_param" | "urlp", [parameter, delimiter]) => url_parameter(name, parameter, delimiter),
        ("var", [name]) => Ok(Fetch::Variable(variable(name)?, None)),
        ("var", [name, default]) => {
            Ok(Fetch::Variable(variable(name)?, Some((*default).to_owned())))
        }
        ("str", []) => Ok(Fetch::Text(String::new())),
        ("str", [text]) => Ok(Fetch::Text((*text).to_owned())),
        ("str", _) => Err("'str' expects one text; a comma in it stands in quotes".to_owned()),
        ("int", [number]) => {
            let number = number.parse().map(Fetch::Number);
            number.map_err(|_| "'int' expects a number".to_owned())
        }
        ("bool", [truth]) => match truth.to_ascii_lowercase().as_str() {
            "1" | "true" => Ok(Fetch::Truth(true)),
            "0" | "false" => Ok(Fetch::Truth(false)),
            _ => Err(format!("'bool' expects true or false, not '{truth}'")),
        },
        ("capture.req.hdr", [slot]) => captured(name, Message::Request, slot),
        ("capture.res.hdr", [slot]) => captured(name, Message::Response, slot),
        ("capture.req.hdr" | "capture.res.hdr", _) => {
            Err(format!("'{name}' expects a slot's number: {name}(0)"))
        }
        ("req.payload", arguments) => payload(name, Message::Request, arguments),
        ("res.payload", arguments) => payload(name, Message::Response, arguments),
        ("int" | "bool", _) => Err(format!("'{name}' expects one argument: {name}(...)")),
        ("url_param" | "urlp" | "var", _) => {
            Err(format!("'{name}' expects one or two arguments: {name}(...)"))
        }
        (_, []) => plain(name).ok_or_else(|| unknown(name)),
        _ if plain(name).is_some() => Err(format!("'{name}' takes no argument")),
        _ => Err(unknown(name)),
    }
}

/// Some of what a side has sent.
fn payload(name: &str, of: Message, arguments: &[&str]) -> Result<Fetch, String> {
    let [offset, length] = arguments else {
        return Err(format!("'{name}' expects where it begins and how long it is: {name}(0,3)"));
    };
    match (offset.parse(), length.parse()) {
        (Ok(offset), Ok(length)) => Ok(Fetch::Payload(of, offset, length)),
        _ => Err(format!("'{name}' expects two numbers, where it begins and how long it is")),
    }
}

/// What was kept for the log in a slot.
fn captured(name: &str, of: Message, slot: &str) -> Result<Fetch, String> {
    let slot = slot.parse().map(|slot| Fetch::Captured(of, slot));
    slot.map_err(|_| format!("'{name}' expects a slot's number: {name}(0)"))
}

/// Those without arguments.
fn plain(name: &str) -> Option<Fetch> {
    Some(match name {
        "path" => Fetch::Path,
        "query" => Fetch::Query,
        "pathq" => Fetch::PathAndQuery,
        "url" => Fetch::Url,
        "base" => Fetch::Base,
        "method" => Fetch::Method,
        "req.ver" | "req_ver" => Fetch::Version(Message::Request),
        "res.ver" | "resp_ver" => Fetch::Version(Message::Response),
        "status" => Fetch::Status,
        "req.len" | "req_len" => Fetch::Length(Message::Request),
        "res.len" => Fetch::Length(Message::Response),
        "req.ssl_hello_type" | "req_ssl_hello_type" => Fetch::HelloType,
        "req.ssl_sni" | "req_ssl_sni" => Fetch::ServerNameIndication,
        "http_first_req" => Fetch::FirstRequest,
        "wait_end" => Fetch::WaitEnd,
        "unique-id" => Fetch::UniqueId,
        "fe_name" => Fetch::FrontendName,
        "be_name" => Fetch::BackendName,
        "srv_name" => Fetch::ServerName,
        "src" => Fetch::Source,
        "src_port" => Fetch::SourcePort,
        "dst" => Fetch::Destination,
        "dst_port" => Fetch::DestinationPort,
        "always_true" => Fetch::Truth(true),
        // No connection has TLS here.
        "always_false" | "ssl_fc" => Fetch::Truth(false),
        _ => return None,
    })
}

fn unknown(name: &str) -> String {
    if FETCH_OTHERS.iter().any(|list| list.contains(&name)) {
        return format!("'{name}' is HAProxy's; teardown has not got it");
    }
    format!("unknown fetch '{name}'{}", near::hint(name, FETCHES.iter().copied()))
}

/// Whose field a fetch takes, and how: `shdr_ip` is `hdr_ip` of the response.
fn of_header(name: &str) -> Option<(Message, &str)> {
    let (of, kind) = if let Some(kind) = name.strip_prefix("req.") {
        (Message::Request, kind)
    } else if let Some(kind) = name.strip_prefix("res.") {
        (Message::Response, kind)
    } else if name.starts_with("shdr") {
        (Message::Response, &name[1..])
    } else {
        (Message::Request, name)
    };
    let is_known = match kind {
        "hdr" | "hdr_cnt" | "hdr_ip" | "hdr_val" => true,
        "fhdr" => name != kind,
        _ => false,
    };
    is_known.then_some((of, kind))
}

fn header_fetch(name: &str, of: Message, kind: &str, list: &[&str]) -> Result<Fetch, String> {
    let (field, occurrence) = match list {
        [field] => (*field, ""),
        [field, occurrence] if kind != "hdr_cnt" => (*field, *occurrence),
        _ => return Err(format!("'{name}' expects a header's name: {name}(NAME)")),
    };
    if field.is_empty() || !field.bytes().all(is_token) {
        return Err(format!("'{name}': '{field}' is not a header's name (RFC 9110, 5.1)"));
    }
    let occurrence = match occurrence {
        "" => None,
        number => Some(number.parse().map_err(|_| {
            format!("'{name}' expects a header's name and an occurrence such as -1")
        })?),
    };
    let field = field.to_owned();
    Ok(match kind {
        "hdr_cnt" => Fetch::HeaderCount { of, name: field },
        _ => Fetch::Header {
            of,
            name: field,
            full: kind == "fhdr",
            // As HAProxy has it, 0 is none in particular.
            occurrence: occurrence.filter(|number| *number != 0),
            kind: match kind {
                "hdr_ip" => Kind::Address,
                "hdr_val" => Kind::Number,
                _ => Kind::Text,
            },
        },
    })
}

fn url_parameter(name: &str, parameter: &str, delimiter: &str) -> Result<Fetch, String> {
    let (true, [delimiter]) = (!parameter.is_empty(), delimiter.as_bytes()) else {
        return Err(format!(
            "'{name}' expects a parameter's name, and the character that parameters begin with: \
             {name}(NAME) or {name}(NAME,;)"
        ));
    };
    Ok(Fetch::UrlParameter { name: parameter.to_owned(), delimiter: char::from(*delimiter) })
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
        for (quoted, plain) in [
            (r#"hdr("Host")"#, "hdr(Host)"),
            ("hdr('Host','2')", "hdr(Host,2)"),
            (r#"urlp("a")"#, "urlp(a,?)"),
            (r#"int("5")"#, "int(5)"),
            ("bool(True)", "bool(1)"),
            ("hdr(Host,0)", "hdr(Host)"),
        ] {
            assert_eq!(expression(quoted), expression(plain), "{quoted}");
            assert!(expression(quoted).is_ok(), "{quoted}");
        }
    }

    #[test]
    fn wrong_expressions_say_why() {
        let cases = [
            ("pth", "did you mean 'path'"),
            ("hdr", "expects a header's name"),
            ("hdr(x", "closing parenthesis"),
            ("path,lowr", "did you mean 'lower'"),
            ("path,sha1", "HAProxy's"),
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
            ("int(1,2)", "one argument"),
            ("bool(yes)", "true or false, not 'yes'"),
            ("var(txn.a,b,c)", "one or two arguments"),
            ("urlp", "one or two arguments"),
            ("urlp(,;)", "expects a parameter's name"),
            ("urlp(a,;;)", "the character that parameters begin with"),
            ("hdr(a b)", "'a b' is not a header's name"),
            ("hdr('')", "'' is not a header's name"),
            ("req.hdr(a:)", "'a:' is not a header's name"),
            ("hdr_cnt(a,1)", "expects a header's name"),
            ("hdr(a,1,2)", "expects a header's name"),
            ("hdr(a, 1)", "an occurrence such as -1"),
            ("req.hdr('a)", "closing parenthesis"),
            ("fhdr(a)", "unknown fetch 'fhdr'"),
            ("path]", "']' behind 'path' is not understood"),
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
