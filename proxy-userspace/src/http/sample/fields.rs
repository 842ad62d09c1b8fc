//! Values of fields, as the rules before have left them.

use super::read::{leading, text_address};
use super::{Kind, Message, Sample, View};
use crate::http::hooks::Edit;

/// Calls `found` with the field's values, or with the one that is asked for.
pub(super) fn header(
    view: &View<'_>,
    of: Message,
    name: &str,
    full: bool,
    occurrence: Option<i32>,
    found: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    let Some(wanted) = occurrence else { return each_value(view, of, name, full, found) };
    let index = if wanted >= 0 {
        i64::from(wanted) - 1
    } else {
        let mut count = 0_i64;
        each_value(view, of, name, full, &mut |_| {
            count += 1;
            false
        });
        count + i64::from(wanted)
    };
    let mut at = 0;
    let mut answer = false;
    each_value(view, of, name, full, &mut |value| {
        let here = at == index;
        at += 1;
        if here {
            answer = found(value);
        }
        here
    });
    answer
}

/// Reads values before they are samples; an address that is none is passed over.
pub(super) fn read_as(
    kind: Kind,
    found: &mut dyn FnMut(Sample<'_>) -> bool,
) -> impl FnMut(&[u8]) -> bool {
    move |value| match kind {
        Kind::Address => text_address(value).is_some_and(|ip| found(Sample::Address(ip))),
        Kind::Number => found(Sample::Number(leading(value))),
        _ => found(Sample::Text(value)),
    }
}

/// Calls `each` with the field's values as the rules before have left them, until it says true.
pub(in crate::http) fn each_value(
    view: &View<'_>,
    of: Message,
    name: &str,
    full: bool,
    each: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    // A client's own came without the space around it, which is no part of it (RFC 9110, 5.5).
    let mut one = |value: &[u8]| {
        if full { each(trim(value)) } else { parts(value).any(|v| each(trim(v))) }
    };
    // Only the head that rules are changing right now has edits.
    let edited = match of {
        Message::Request => view.response.is_none(),
        Message::Response => view.response.is_some(),
    };
    let edits = if edited { view.edits } else { &[] };
    let is = |field: &str| field.eq_ignore_ascii_case(name);
    let replaced = edits.iter().rposition(|edit| edit.replaces() && is(edit.name()));
    if replaced.is_none() {
        let hit = match of {
            Message::Request => view.request.is_some_and(|r| r.values(name).any(&mut one)),
            Message::Response => view.response.is_some_and(|r| r.values(name).any(&mut one)),
        };
        if hit {
            return true;
        }
    }
    edits[replaced.unwrap_or(0)..].iter().any(|edit| match edit {
        Edit::Set(field, value) | Edit::Add(field, value) if is(field) => one(value),
        Edit::Values { name, values, .. } if is(name) => values.iter().any(|value| one(value)),
        _ => false,
    })
}

/// What stands between a value's commas, those in quotes apart (RFC 9110, 5.6.4).
pub(in crate::http) fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&byte| {
        let plain = !std::mem::take(&mut escaped);
        match byte {
            b'\\' => escaped = plain && quoted,
            b'"' if plain => quoted = !quoted,
            _ => {}
        }
        byte == b',' && !quoted
    })
}

fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}
