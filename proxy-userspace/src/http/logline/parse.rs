//! From a format's text to its parts.

use super::variables::{VARIABLES, Variable};
use super::{DEFAULT, Flags, LogFormat, Part};

impl LogFormat {
    /// Reads a format.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut standing = Flags::default();
        let mut rest = text;
        let flush = |literal: &mut Vec<u8>, parts: &mut Vec<Part>| {
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(literal)));
            }
        };
        while let Some(first) = rest.chars().next() {
            if first == ' ' {
                flush(&mut literal, &mut parts);
                parts.push(Part::Space);
                rest = rest.trim_start_matches(' ');
                continue;
            }
            let after = &rest[first.len_utf8()..];
            if first != '%' {
                literal.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
            if let Some(after) = after.strip_prefix('%') {
                literal.push(b'%');
                rest = after;
                continue;
            }
            rest = after;
            let mut flags = standing;
            if let Some(inside) = rest.strip_prefix('{') {
                let Some(end) = inside.find('}') else { return Err("'%{' lacks its '}'".into()) };
                flags = flags_of(&inside[..end], standing)?;
                rest = &inside[end + 1..];
            }
            if rest.starts_with('[') {
                return Err("'%[...]' in log lines is HAProxy's; teardown has not got it".into());
            }
            let length = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let name = &rest[..length];
            // The default line's own variable is not for configurations.
            let found = VARIABLES.iter().find(|entry| {
                entry.0 == name && (entry.1 != Variable::ModeName || text == DEFAULT)
            });
            let Some((_, variable)) = found else {
                let known = VARIABLES.iter().map(|entry| entry.0);
                let hint = crate::near::hint(name, known);
                return Err(format!(
                    "there is no log variable '%{name}'{hint}; a percent sign itself is %%"
                ));
            };
            rest = &rest[length..];
            flush(&mut literal, &mut parts);
            if *variable == Variable::SetFlags {
                standing = flags;
            } else {
                parts.push(Part::Variable(*variable, flags));
            }
        }
        flush(&mut literal, &mut parts);
        Ok(Self { parts })
    }
}

fn flags_of(text: &str, standing: Flags) -> Result<Flags, String> {
    let mut flags = standing;
    for flag in text.split(',') {
        match flag {
            "+Q" => flags.quote = true,
            "-Q" => flags.quote = false,
            "+X" => flags.hexadecimal = true,
            "-X" => flags.hexadecimal = false,
            "+E" => flags.escape = true,
            "-E" => flags.escape = false,
            _ => {
                return Err(format!(
                    "unknown flag '%{{{flag}}}', expected one of Q, X, E with + or -"
                ));
            }
        }
    }
    Ok(flags)
}
