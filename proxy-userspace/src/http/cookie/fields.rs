//! The fields of a head by one name, as the rules have left them, changed where they stand.

use crate::http::hooks::Edit;
use httparse::Header;

/// What becomes of a field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it is.
    Stays,
    /// It has another value.
    Becomes(Vec<u8>),
    /// It is left out.
    Goes,
}

impl Fate {
    /// That of a field whose value is new, or none where it is the old one.
    pub(super) fn of(value: Option<Vec<u8>>) -> Self {
        match value {
            None => Self::Stays,
            Some(value) if value.is_empty() => Self::Goes,
            Some(value) => Self::Becomes(value),
        }
    }
}

/// A received field that is not sent on as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its place among those received.
    pub(crate) at: usize,
    /// Its new value; none where it is left out.
    pub(crate) value: Option<Vec<u8>>,
}

/// Decides on each field called `name`: those received, where the rules have left them, and those
/// that the rules have added.
pub(super) fn each(
    fields: &[Header<'_>],
    edits: &mut Vec<Edit>,
    name: &str,
    changes: &mut Vec<Change>,
    decide: &mut dyn FnMut(&[u8]) -> Fate,
) {
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    let replaced = edits.iter().rposition(|edit| edit.replaces() && is(edit.name()));
    if replaced.is_none() {
        let named = fields.iter().enumerate().filter(|(_, field)| is(field.name));
        changes.extend(named.filter_map(|(at, field)| match decide(field.value) {
            Fate::Stays => None,
            Fate::Becomes(value) => Some(Change { at, value: Some(value) }),
            Fate::Goes => Some(Change { at, value: None }),
        }));
    }
    let mut at = replaced.unwrap_or(0);
    while at < edits.len() {
        let goes = match &mut edits[at] {
            Edit::Set(of, value) | Edit::Add(of, value) if is(of) => match decide(value) {
                Fate::Stays => false,
                Fate::Becomes(new) => {
                    *value = new;
                    false
                }
                Fate::Goes => true,
            },
            Edit::Values { name: of, kept, values } if is(of) => {
                all(kept, values, decide);
                false
            }
            _ => false,
        };
        if goes && !edits[at].replaces() {
            edits.remove(at);
            continue;
        }
        if goes {
            edits[at] = Edit::Del(edits[at].name().into());
        }
        at += 1;
    }
}

/// Decides on each of the values that a rule has given to fields, the first of which, `kept`, stand
/// where the message's own stood.
fn all(kept: &mut usize, values: &mut Vec<Vec<u8>>, decide: &mut dyn FnMut(&[u8]) -> Fate) {
    let mut at = 0;
    while at < values.len() {
        match decide(&values[at]) {
            Fate::Stays => {}
            Fate::Becomes(new) => values[at] = new,
            Fate::Goes => {
                values.remove(at);
                *kept -= usize::from(at < *kept);
                continue;
            }
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_rules_have_written_are_decided_on_too() {
        let name = || "cookie".into();
        let mut edits = vec![
            Edit::Add(name(), b"x".to_vec()),
            Edit::Values {
                name: name(),
                kept: 2,
                values: ["goes", "same", "turn"].map(|value| value.into()).to_vec(),
            },
            Edit::Add(name(), b"goes".to_vec()),
            Edit::Add("other".into(), b"goes".to_vec()),
        ];
        let mut seen = Vec::new();
        let mut decide = |value: &[u8]| {
            seen.push(value.to_vec());
            match value {
                b"goes" => Fate::Goes,
                b"turn" => Fate::Becomes(b"new".to_vec()),
                _ => Fate::Stays,
            }
        };
        let mut changes = Vec::new();
        let own = [Header { name: "Cookie", value: b"received" }];
        each(&own, &mut edits, "cookie", &mut changes, &mut decide);
        assert_eq!(seen, [b"goes", b"same", b"turn", b"goes"]);
        assert!(changes.is_empty(), "what was received is not there any more");
        let values = [b"same".to_vec(), b"new".to_vec()].to_vec();
        assert_eq!(edits[1], Edit::Values { name: name(), kept: 1, values });
        assert_eq!(edits[2..], [Edit::Add("other".into(), b"goes".to_vec())]);
    }
}
