//! Texts by regular expression: `replace-header`, `replace-path` and their kin.

use crate::http::format::{Format, Part};
use crate::http::hooks::Edit;
use crate::http::regex::Regex;
use crate::http::reply_template::in_field;
use crate::http::sample::{Message, View, each_value, parts};
use crate::units::hex_byte;
use std::sync::Arc;

/// What is looked for, and what takes its place.
#[derive(Clone, Debug)]
pub struct Replace {
    /// The whole text is replaced, also where this matches a part of it only.
    pub regex: Regex,
    /// With what.
    pub with: Template,
}

/// A format in which `\1` stands for what the first group has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Format(Format),
    Group(usize),
}

impl Template {
    /// Finds the groups in a format's own text; in what its samples bring there are none. `\xHH` is a
    /// byte, and another backslash keeps what follows.
    ///
    /// # Errors
    /// What is wrong.
    pub fn new(format: Format) -> Result<Self, String> {
        let mut pieces = Vec::new();
        for part in format.parts {
            match part {
                Part::Text(text) => groups(&text, &mut pieces)?,
                part => pieces.push(Piece::Format(Format { parts: vec![part] })),
            }
        }
        Ok(Self { pieces })
    }

    /// The text with this for what the expression finds, `most` times at most.
    #[must_use]
    pub fn substitute(&self, regex: &Regex, text: &[u8], most: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        for found in regex.captures_iter(text).take(most) {
            let Some(whole) = found.get(0) else { continue };
            out.extend_from_slice(&text[at..whole.start()]);
            self.write(&found, &View::default(), &mut out);
            at = whole.end();
        }
        out.extend_from_slice(&text[at..]);
        out
    }

    fn write(&self, found: &regex::bytes::Captures<'_>, view: &View<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Format(format) => out.extend_from_slice(&format.fill(view)),
                Piece::Group(group) => {
                    out.extend_from_slice(found.get(*group).map_or(b"", |found| found.as_bytes()));
                }
            }
        }
    }
}

fn groups(text: &[u8], pieces: &mut Vec<Piece>) -> Result<(), String> {
    let mut literal = Vec::new();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            literal.push(byte);
            continue;
        }
        match bytes.next() {
            Some(digit @ b'0'..=b'9') => {
                if !literal.is_empty() {
                    pieces.push(Piece::Format(Format::text(std::mem::take(&mut literal))));
                }
                pieces.push(Piece::Group(usize::from(digit - b'0')));
            }
            Some(b'x') => {
                let digits = [bytes.next().unwrap_or(0), bytes.next().unwrap_or(0)];
                let byte = hex_byte(&digits);
                literal.push(byte.ok_or("'\\x' expects two hexadecimal digits")?);
            }
            Some(byte) => literal.push(byte),
            None => return Err("nothing follows the last backslash".to_owned()),
        }
    }
    if literal.iter().any(|byte| b"\r\n\0".contains(byte)) {
        return Err("no line end and no NUL can stand there".to_owned());
    }
    if !literal.is_empty() {
        pieces.push(Piece::Format(Format::text(literal)));
    }
    Ok(())
}

impl Replace {
    /// What takes the place of `text`, if the expression matches; with spaces for line ends.
    #[must_use]
    pub fn apply(&self, text: &[u8], view: &View<'_>) -> Option<Vec<u8>> {
        let found = self.regex.captures(text)?;
        let mut out = Vec::new();
        self.with.write(&found, view, &mut out);
        Some(in_field(out))
    }

    /// The change to all fields of that name; to each of their values between commas where they are
    /// not `whole`. Nothing where nothing matches.
    #[must_use]
    pub fn fields(&self, name: &Arc<str>, whole: bool, view: &View<'_>) -> Option<Edit> {
        let of = if view.response.is_some() { Message::Response } else { Message::Request };
        let mut values = Vec::new();
        let mut changed = false;
        each_value(view, of, name, true, &mut |value| {
            let new = if whole { self.apply(value, view) } else { self.parts(value, view) };
            changed |= new.is_some();
            values.push(new.unwrap_or_else(|| value.to_vec()));
            false
        });
        if !changed {
            return None;
        }
        Some(Edit::Values { name: Arc::clone(name), kept: own_values(view, name), values })
    }

    /// A value whose parts between commas are replaced, if one of them matches.
    fn parts(&self, value: &[u8], view: &View<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut changed = false;
        for (at, part) in parts(value).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            // As HAProxy has it, the space around a value goes with it.
            let new = self.apply(part.trim_ascii(), view);
            changed |= new.is_some();
            out.extend_from_slice(new.as_deref().unwrap_or(part));
        }
        changed.then_some(out)
    }
}

/// How many of a field's first values stand where the message's own lines stood.
pub(super) fn own_values(view: &View<'_>, name: &str) -> usize {
    let is_it = |edit: &&Edit| edit.replaces() && edit.name().eq_ignore_ascii_case(name);
    match (view.edits.iter().rfind(is_it), view.request, view.response) {
        (Some(Edit::Values { kept, .. }), ..) => *kept,
        (Some(_), ..) => 0,
        (None, _, Some(response)) => response.values(name).count(),
        (None, Some(request), None) => request.values(name).count(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(regex: &str, with: &str, text: &str) -> Option<String> {
        let with = Template::new(Format::text(with)).unwrap();
        let replace = Replace { regex: Regex::new(regex, false).unwrap(), with };
        let new = replace.apply(text.as_bytes(), &View::default());
        new.map(|new| String::from_utf8(new).unwrap())
    }

    #[test]
    fn groups_stand_where_they_are_named() {
        assert_eq!(replaced("(.*)/foo(.*)", r"\1/bar\2", "/a/foo/b").unwrap(), "/a/bar/b");
        assert_eq!(replaced("mid", r"[\0\7]", "/a/mid/b").unwrap(), "[mid]");
        assert_eq!(replaced("a(x)?", r"\1\\\x41\.", "a").unwrap(), r"\A.");
        assert_eq!(replaced("z", "", "a"), None);
    }

    #[test]
    fn wrong_templates_are_told() {
        for text in [r"a\", r"\xZZ", r"\x+5", r"\x4", r"\x0d", r"\x00", "a\nb"] {
            assert!(Template::new(Format::text(text)).is_err(), "{text:?}");
        }
    }
}
