//! What is taken from the first lines of heads, the host, and what was kept of heads.

use super::{Message, Sample, View, each_value};
use crate::http::hooks::Edit;

/// The status that the rules leave, and the reason for it where they have given it.
#[must_use]
pub fn status(received: u16, edits: &[Edit]) -> (u16, Option<&str>) {
    let given = edits.iter().rev().find_map(|edit| match edit {
        Edit::Status(status, reason) => Some((*status, Some(&**reason))),
        _ => None,
    });
    given.filter(|_| may_change(received)).unwrap_or((received, None))
}

/// Whether another status can take this one's place: it says nothing of where the response ends.
fn may_change(status: u16) -> bool {
    status >= 200 && !matches!(status, 204 | 304)
}

/// The method: also when the request's head is gone.
pub(super) fn method(view: &View<'_>, found: &mut dyn FnMut(Sample<'_>) -> bool) -> bool {
    let known = view.request.map(|request| request.method.as_bytes());
    let known = known.or_else(|| {
        let line = view.moment?.session().request_line;
        line.split(|&byte| byte == b' ').next().filter(|method| !method.is_empty())
    });
    known.is_some_and(|method| found(Sample::Text(method)))
}

/// The message's version of HTTP.
pub(super) fn version<'a>(view: &View<'a>, of: Message) -> Option<&'a str> {
    let minor = match of {
        Message::Request => view.request?.minor,
        Message::Response => view.response?.minor,
    };
    Some(if minor == 0 { "1.0" } else { "1.1" })
}

/// Appends the first Host.
pub fn first_host(view: &View<'_>, out: &mut Vec<u8>) {
    each_value(view, Message::Request, "host", true, &mut |value| {
        out.extend_from_slice(value);
        true
    });
}

/// Calls `found` with what was kept in a slot of a message's, if anything.
pub(super) fn captured(
    view: &View<'_>,
    of: Message,
    at: usize,
    found: &mut dyn FnMut(Sample<'_>) -> bool,
) -> bool {
    let Some(session) = view.moment.map(|moment| moment.session()) else { return false };
    let captures = &session.frontend.settings.captures;
    let (slots, which) = match of {
        Message::Request => (&captures.request, 0),
        Message::Response => (&captures.response, 1),
    };
    // What the rules before have put there is not the session's yet.
    let put = view.edits.iter().rev().find_map(|edit| match edit {
        Edit::Capture(message, slot, text) if (*message, *slot) == (of, at) => Some(text),
        _ => None,
    });
    let kept = || session.captured?[which].fields.get(at)?.as_ref();
    let Some((text, slot)) = put.or_else(kept).zip(slots.get(at)) else { return false };
    found(Sample::Text(&text[..text.len().min(slot.length)]))
}
