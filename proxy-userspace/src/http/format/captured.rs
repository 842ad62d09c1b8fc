//! The captured fields of a log line: `{a|b}`, or a list of them.

use super::Flags;
use super::write::{encode, quoted};
use crate::http::event::Session;

/// What a value in braces does not hold as it is.
const OTHERS: &[u8] = b"\"#{|}";

/// The values of the request's fields (0) or the response's (1), none for what the message has not;
/// nothing where no field is wanted, or there was no request.
fn values<'a>(session: &Session<'a>, of: usize) -> impl Iterator<Item = Option<&'a [u8]>> {
    let wanted = &session.frontend.settings.captures;
    let count = [wanted.request.len(), wanted.response.len()][of];
    let captured = session.captured.map(|captured| &captured[of].fields);
    let count = captured.map_or(0, |_| count);
    (0..count).map(move |at| captured?.get(at)?.as_deref())
}

/// `{a|b}`.
pub(super) fn braced(out: &mut Vec<u8>, flags: Flags, session: &Session<'_>, of: usize) {
    if values(session, of).next().is_none() {
        return;
    }
    quoted(out, flags, |out| {
        out.push(b'{');
        for (at, value) in values(session, of).enumerate() {
            out.extend_from_slice(if at == 0 { b"" } else { b"|" });
            encode(out, flags, value.unwrap_or_default(), OTHERS);
        }
        out.push(b'}');
    });
}

/// `a b`.
pub(super) fn listed(out: &mut Vec<u8>, flags: Flags, session: &Session<'_>, of: usize) {
    for (at, value) in values(session, of).enumerate() {
        out.extend_from_slice(if at == 0 { b"" } else { b" " });
        quoted(out, flags, |out| match value {
            None if !flags.quote => out.push(b'-'),
            value => encode(out, flags, value.unwrap_or_default(), OTHERS),
        });
    }
}
