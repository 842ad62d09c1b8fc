//! Format strings, from text: `for %[src]:%cp`, `%{+Q}r`.

use super::expression::{expression, leading};
use crate::http::format::{Flags, Format, Part, VARIABLES, Variable};
use crate::http::logline::DEFAULT;
use crate::http::sample::{Expression, Fetch, Message};
use crate::near;

/// Where a format is filled in, which says what it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By a rule on connections, of which no more is known than who has connected.
    Connection,
    /// By a rule on requests.
    Request,
    /// By a rule on responses.
    Response,
    /// In a log line, when both messages are gone.
    Log,
}

/// The names of the variables that a configuration may use.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let listed = VARIABLES.iter().filter(|(_, known)| *known != Variable::ModeName);
    listed.map(|(name, _)| *name)
}

/// Reads a format string.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn format(text: &str, place: Place) -> Result<Format, String> {
    let mut format = Format::default();
    let mut literal = Vec::new();
    let mut standing = Flags { mandatory: place == Place::Log, ..Flags::default() };
    let mut rest = text;
    let add = |part: Part, literal: &mut Vec<u8>, format: &mut Format| {
        if !literal.is_empty() {
            format.parts.push(Part::Text(std::mem::take(literal)));
        }
        format.parts.push(part);
    };
    while let Some(first) = rest.bytes().next() {
        if first == b' ' && place == Place::Log {
            add(Part::Space, &mut literal, &mut format);
            rest = rest.trim_start_matches(' ');
            continue;
        }
        if first != b'%' {
            let next = |c: char| c == '%' || (c == ' ' && place == Place::Log);
            let length = rest.find(next).unwrap_or(rest.len());
            literal.extend_from_slice(&rest.as_bytes()[..length]);
            rest = &rest[length..];
            continue;
        }
        rest = &rest[1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal.push(b'%');
            rest = after;
            continue;
        }
        let mut flags = standing;
        if let Some(inside) = rest.strip_prefix('{') {
            let Some(end) = inside.find('}') else { return Err("'%{' lacks its '}'".into()) };
            flags = flags_of(&inside[..end], standing)?;
            rest = &inside[end + 1..];
        }
        if let Some(inside) = rest.strip_prefix('[') {
            let (expression, behind) = leading(inside)?;
            let read = &inside[..inside.len() - behind.len()];
            let Some(behind) = behind.strip_prefix(']') else {
                return Err(format!("'%[{read}' expects its ']', not '{behind}'"));
            };
            let sample = placed(expression, read, place)?;
            if place != Place::Log {
                // As HAProxy has it.
                (flags.quote, flags.mandatory) = (false, false);
            }
            add(Part::Sample(sample, flags), &mut literal, &mut format);
            rest = behind;
            continue;
        }
        let length = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let variable = variable(&rest[..length], text == DEFAULT)?;
        rest = &rest[length..];
        if variable == Variable::SetFlags {
            standing = flags;
        } else {
            add(Part::Variable(variable, flags), &mut literal, &mut format);
        }
    }
    if !literal.is_empty() {
        format.parts.push(Part::Text(literal));
    }
    Ok(format)
}

/// A variable by its name; the default line's own is not for configurations.
fn variable(name: &str, by_default: bool) -> Result<Variable, String> {
    let fits = |known: Variable| by_default || known != Variable::ModeName;
    let found = VARIABLES.iter().find(|(known, variable)| *known == name && fits(*variable));
    found.map(|found| found.1).ok_or_else(|| {
        let hint = near::hint(name, names());
        format!("there is no variable '%{name}'{hint}; a percent sign itself is %%")
    })
}

/// An expression, if what it looks at is there in that place.
pub(super) fn sample(text: &str, place: Place) -> Result<Expression, String> {
    placed(expression(text)?, text, place)
}

/// The expression that was read from `text`, in its place.
fn placed(mut expression: Expression, text: &str, place: Place) -> Result<Expression, String> {
    // `hdr` is a field of the head that is at hand.
    if let Fetch::Header { of, .. } = &mut expression.fetch
        && place == Place::Response
        && text.starts_with("hdr(")
    {
        *of = Message::Response;
    }
    let gone = |message: &str| {
        Err(format!("'{text}' takes something from the {message}, which is not known here"))
    };
    match place {
        // HAProxy takes it, and always logs "-".
        Place::Log if expression.fetch == Fetch::Status => Ok(expression),
        Place::Connection | Place::Response | Place::Log if expression.needs_request() => {
            gone("request")
        }
        Place::Connection | Place::Request | Place::Log if expression.needs_response() => {
            gone("response")
        }
        Place::Connection | Place::Response | Place::Log if expression.needs_input() => {
            gone("client's input")
        }
        _ => Ok(expression),
    }
}

fn flags_of(text: &str, standing: Flags) -> Result<Flags, String> {
    let mut flags = standing;
    for flag in text.split(',').filter(|flag| !flag.is_empty()) {
        let (on, letter) = match flag.split_at_checked(1) {
            Some(("+", letter)) => (true, letter),
            Some(("-", letter)) => (false, letter),
            _ => (false, ""),
        };
        match letter {
            "Q" => flags.quote = on,
            "X" => flags.hexadecimal = on,
            "E" => flags.escape = on,
            "M" => flags.mandatory = on,
            _ => {
                return Err(format!(
                    "unknown flag '%{{{flag}}}', expected one of Q, X, E, M with + or -"
                ));
            }
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_mix_text_samples_and_variables() {
        let read = format("for %[hdr(host)]:%ci%%  x", Place::Request).unwrap();
        assert_eq!(read.parts.len(), 5);
        assert_eq!(read.parts[4], Part::Text(b"%  x".to_vec()));
        let read = format("a  %[src]", Place::Log).unwrap();
        assert_eq!(read.parts[1], Part::Space);
        let read = format(r#"%[path,regsub("[]()]",])]]"#, Place::Request).unwrap();
        assert_eq!(read.parts[1..], [Part::Text(b"]".to_vec())]);
    }

    #[test]
    fn wrong_formats_say_why() {
        let cases = [
            ("%zz", "no variable '%zz'"),
            ("%cix", "did you mean 'ci'"),
            ("%TD", "no variable"),
            ("%mode", "no variable"),
            ("100% sure", "is %%"),
            ("%", "is %%"),
            ("%[src", "'%[src' expects its ']', not ''"),
            ("%[src lower]", "'%[src' expects its ']', not ' lower]'"),
            ("%{+Q", "lacks its '}'"),
            ("%{+Q}", "is %%"),
            ("%{+Z}ci", "unknown flag"),
            ("%[nope]", "unknown fetch"),
        ];
        for place in [Place::Request, Place::Response, Place::Log] {
            for (text, part) in cases {
                let error = format(text, place).unwrap_err();
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }

    /// As `haproxy -c` takes and refuses them.
    #[test]
    fn samples_are_where_their_message_is() {
        let takes = |text: &str| {
            let text = format!("%[{text}]");
            [Place::Request, Place::Response, Place::Log].map(|p| format(&text, p).is_ok())
        };
        for anywhere in ["src", "dst_port", "method", "ssl_fc", "str(a)", "int(3)", "src,upper"] {
            assert_eq!(takes(anywhere), [true; 3], "{anywhere}");
        }
        for of_request in ["path", "url_param(a)", "req.hdr(x)", "hdr_cnt(x)", "hdr_ip(x)", "base"]
        {
            assert_eq!(takes(of_request), [true, false, false], "{of_request}");
        }
        for of_response in ["res.hdr(x)", "shdr(x)", "res.ver", "res.hdr_cnt(x)"] {
            assert_eq!(takes(of_response), [false, true, false], "{of_response}");
        }
        assert_eq!(takes("hdr(x)"), [true, true, false]);
        assert_eq!(takes("status"), [false, true, true]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[%\\[\\]{}()a-zQ+_.,0-9é -]{0,30}") {
            let _ = format(&text, Place::Request);
            let _ = format(&text, Place::Log);
        }
    }
}
