//! Heads as they are forwarded: fields in their order and case, less what is this hop's own.
//!
//! What stays is copied straight from the receive buffer.

use std::{io::Write as _, net::SocketAddr};

use httparse::Header;

use super::{
    cookie::Change,
    edit,
    framing::frames,
    head::{Options, RequestHead, ResponseHead, nominated},
    hooks::{Edit, Request},
    sample::{Message, View, each_value, status},
    settings::ForwardFor,
};

/// What Connection says to the recipient (RFC 9112, 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// Nothing.
    Nothing,
    /// `close`.
    Close,
    /// `keep-alive`.
    KeepAlive,
    /// `upgrade`.
    Upgrade,
    /// What the sender said to it: the two ends agree between themselves.
    AsReceived,
}

/// What changes of a message's fields.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes<'a> {
    /// What the rules say, in order.
    pub(crate) edits: &'a [Edit],
    /// What the edits leave of the message's own fields is changed where it stands.
    pub(crate) in_place: &'a [Change],
}

/// The length of a status line without the space that stands there even where no reason follows
/// (RFC 9112, 4).
const NO_REASON: usize = b"HTTP/1.1 200".len();

/// Writes a request's head for the server.
pub(crate) fn request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    say: Say,
    forward: [Option<&ForwardFor>; 2],
    original: [Option<&ForwardFor>; 2],
    changes: Changes<'_>,
) {
    let edits = changes.edits;
    request_line(out, head, edits);
    out.extend_from_slice(b"\r\n");
    let drop = |name: &str| stays(name, head.view.fields, head.options, say);
    fields(out, head.view.fields, drop, changes, say);
    append(out, edits, say);
    add_address(out, head, drop, edits, (forward, head.view.client));
    add_address(out, head, drop, edits, (original, head.view.local));
    end(out, say);
}

/// Writes the request line as the rules have left it.
fn request_line(out: &mut Vec<u8>, head: &RequestHead<'_>, edits: &[Edit]) {
    if !edits.iter().any(Edit::is_of_the_line) {
        return out.extend_from_slice(head.line);
    }
    let target = head.view.rewritten(edits).target;
    let method = edit::method(head.view.method, edits);
    // Writing to a vector does not fail.
    let _ = write!(out, "{method} {target} HTTP/1.{}", head.view.minor);
}

/// Writes a response's head for the client. `unframed` leaves out the fields of framing: the body
/// is sent without its chunks.
pub(crate) fn response(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    say: Say,
    unframed: bool,
    changes: Changes<'_>,
) {
    match status(head.view.status, changes.edits) {
        // Writing to a vector does not fail.
        (status, Some(reason)) => {
            let _ = write!(out, "HTTP/1.{} {status} {reason}", head.view.minor);
        }
        _ => {
            out.extend_from_slice(head.line);
            if head.line.len() == NO_REASON {
                out.push(b' ');
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    let unframed = unframed || (head.silent && say != Say::AsReceived);
    let drop = |name: &str| {
        (unframed && (frames(name) || name.eq_ignore_ascii_case("trailer")))
            || stays(name, head.view.fields, head.options, say)
    };
    fields(out, head.view.fields, drop, changes, say);
    append(out, changes.edits, say);
    end(out, say);
}

fn end(out: &mut Vec<u8>, say: Say) {
    out.extend_from_slice(match say {
        Say::Nothing | Say::AsReceived => b"\r\n",
        Say::Close => b"Connection: close\r\n\r\n",
        Say::KeepAlive => b"Connection: keep-alive\r\n\r\n",
        Say::Upgrade => b"Connection: upgrade\r\n\r\n",
    });
}

/// Whether a field is between the two neighbours alone (RFC 9110, 7.6.1).
fn stays(name: &str, fields: &[Header<'_>], options: Options, say: Say) -> bool {
    match say {
        Say::AsReceived => false,
        // Connection names it, as it does in what is sent.
        Say::Upgrade if name.eq_ignore_ascii_case("upgrade") => false,
        _ => hop(name) || (options.nominates && nominated(fields, name)),
    }
}

/// The fields that always are.
fn hop(name: &str) -> bool {
    match name.len() {
        2 => name.eq_ignore_ascii_case("te"),
        7 => name.eq_ignore_ascii_case("upgrade"),
        10 => name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("keep-alive"),
        14 => name.eq_ignore_ascii_case("http2-settings"),
        16 => name.eq_ignore_ascii_case("proxy-connection"),
        _ => false,
    }
}

/// Whether a field is the engine's alone, whatever the rules say: it has to be true of what is sent.
fn ours(name: &str, say: Say) -> bool {
    frames(name) || (say != Say::AsReceived && name.eq_ignore_ascii_case("connection"))
}

/// Whether a field that a message came with is there after the rules, perhaps with another value.
pub(crate) fn leaves(edits: &[Edit], name: &str) -> bool {
    let last = edits.iter().rfind(|edit| edit.name().eq_ignore_ascii_case(name));
    !matches!(last, Some(Edit::Del(_)))
}

/// Whether the rules leave a Connection field that says `close`.
pub(crate) fn asks_to_close(edits: &[Edit]) -> bool {
    let mut closes = false;
    for edit in edits.iter().filter(|edit| edit.name().eq_ignore_ascii_case("connection")) {
        closes = match edit {
            Edit::Set(_, value) => says_close(value),
            Edit::Add(_, value) => closes || says_close(value),
            Edit::Values { values, .. } => values.iter().any(|value| says_close(value)),
            _ => false,
        };
    }
    closes
}

/// Whether this value of Connection says `close`.
pub(crate) fn says_close(value: &[u8]) -> bool {
    value.split(|&b| b == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Copies the fields that stay.
fn fields(
    out: &mut Vec<u8>,
    fields: &[Header<'_>],
    drop: impl Fn(&str) -> bool,
    changes: Changes<'_>,
    say: Say,
) {
    for (at, field) in fields.iter().enumerate() {
        if drop(field.name) {
            continue;
        }
        let is_it = |name: &str| name.eq_ignore_ascii_case(field.name);
        let changed =
            |edit: &&Edit| edit.replaces() && is_it(edit.name()) && !ours(field.name, say);
        let value = match changes.edits.iter().rfind(changed) {
            None => match changes.in_place.iter().find(|change| change.at == at) {
                None => field.value,
                Some(Change { value: Some(value), .. }) => value,
                Some(_) => continue,
            },
            Some(Edit::Values { kept, values, .. }) => {
                let before = fields[..at].iter().filter(|field| is_it(field.name)).count();
                let Some(value) = values[..*kept].get(before) else { continue };
                value
            }
            Some(_) => continue,
        };
        write_field(out, field.name, value);
    }
}

/// Writes the fields that edits add and that no later edit takes back.
fn append(out: &mut Vec<u8>, edits: &[Edit], say: Say) {
    for (at, edit) in edits.iter().enumerate() {
        let name = edit.name();
        let values = match edit {
            Edit::Set(_, value) | Edit::Add(_, value) => std::slice::from_ref(value),
            Edit::Values { kept, values, .. } => &values[*kept..],
            _ => continue,
        };
        let mut later = edits[at + 1..].iter().filter(|later| later.replaces());
        let undone = later.any(|later| later.name().eq_ignore_ascii_case(name));
        if !undone && !ours(name, say) {
            values.iter().for_each(|value| write_field(out, name, value));
        }
    }
}

#[inline]
fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Adds an address, the client's or the one that it connected to, to a request as the rules have left
/// it. Of the backend's word and the frontend's the first names the field, each has its exceptions, and
/// both must say `if-none`.
fn add_address(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    drop: impl Fn(&str) -> bool,
    edits: &[Edit],
    (forward, address): ([Option<&ForwardFor>; 2], Option<SocketAddr>),
) {
    let said = || forward.into_iter().flatten();
    let Some(header) = said().next().map(|first| &first.header) else { return };
    let Some(address) = address.map(|address| address.ip().to_canonical()) else { return };
    let is_there = || {
        // One that Connection names does not go out, and so is none.
        let fields = if drop(header) { &[] } else { head.view.fields };
        let request = Request { fields, ..head.view };
        let view = View { request: Some(&request), edits, ..View::default() };
        each_value(&view, Message::Request, header, true, &mut |_| true)
    };
    if said().filter_map(|said| said.except).any(|network| network.contains(address))
        || (said().all(|said| said.if_none) && is_there())
    {
        return;
    }
    // Writing to a vector does not fail.
    let _ = write!(out, "{header}: {address}\r\n");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        http::{framing::Asked, head},
        prefix::Prefix,
    };

    fn rewritten(wire: &str, say: Say, forward: Option<&ForwardFor>, edits: &[Edit]) -> String {
        forwarded(wire, say, [forward, None], edits)
    }

    fn forwarded(
        wire: &str,
        say: Say,
        forward: [Option<&ForwardFor>; 2],
        edits: &[Edit],
    ) -> String {
        let mut room = head::room::<16>();
        let client = Some(SocketAddr::from(([192, 0, 2, 7], 5)));
        let head = head::request(wire.as_bytes(), &mut room, client, None);
        let mut out = Vec::new();
        request(
            &mut out,
            &head.expect("valid").expect("whole"),
            say,
            forward,
            [None, None],
            Changes { edits, in_place: &[] },
        );
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn order_and_case_are_kept_and_hop_fields_are_not() {
        let wire = "GET /x HTTP/1.1\r\nhOST: a\r\nConnection: Foo, keep-alive\r\nFoo: 1\r\n\
            TE: trailers\r\nKeep-Alive: 5\r\nB: 2\r\nUpgrade: chat\r\nb: 3\r\n\r\n";
        let plain = "GET /x HTTP/1.1\r\nhOST: a\r\nB: 2\r\nb: 3\r\n";
        assert_eq!(rewritten(wire, Say::Nothing, None, &[]), format!("{plain}\r\n"));
        let close = rewritten(wire, Say::Close, None, &[]);
        assert_eq!(close, format!("{plain}Connection: close\r\n\r\n"));
        let upgrade = rewritten(wire, Say::Upgrade, None, &[]);
        let kept = plain.replace("b: 3", "Upgrade: chat\r\nb: 3");
        assert_eq!(upgrade, format!("{kept}Connection: upgrade\r\n\r\n"));
        let named = wire.replace("Foo, keep-alive", "Upgrade, Foo");
        assert_eq!(rewritten(&named, Say::Upgrade, None, &[]), upgrade);
    }

    #[test]
    fn edits_are_applied_in_order() {
        let wire = "GET /x HTTP/1.0\r\nA: 1\r\na: 2\r\nB: 3\r\n\r\n";
        let edits = [
            Edit::Set("A".into(), b"new".to_vec()),
            Edit::Add("C".into(), b"4".to_vec()),
            Edit::Set("D".into(), b"5".to_vec()),
            Edit::Del("d".into()),
        ];
        let out = rewritten(wire, Say::Nothing, None, &edits);
        assert_eq!(out, "GET /x HTTP/1.0\r\nB: 3\r\nA: new\r\nC: 4\r\n\r\n");
    }

    #[test]
    fn forwardfor_minds_its_exceptions() {
        let wire = "GET /x HTTP/1.0\r\nX-Forwarded-For: 1\r\n\r\n";
        let added = "X-Forwarded-For: 192.0.2.7\r\n";
        let plain = ForwardFor::default();
        assert!(rewritten(wire, Say::Nothing, Some(&plain), &[]).contains(added));
        let if_none = ForwardFor { if_none: true, ..ForwardFor::default() };
        assert!(!rewritten(wire, Say::Nothing, Some(&if_none), &[]).contains(added));
        let network = "192.0.2.0".parse().expect("address");
        for (bits, there) in [(24, false), (0, false), (32, true)] {
            let except = ForwardFor { except: Prefix::new(network, bits), ..ForwardFor::default() };
            let out = rewritten(wire, Say::Nothing, Some(&except), &[]);
            assert_eq!(out.contains(added), there, "/{bits}");
            // A backend's word does not take a frontend's exceptions back.
            let header = "X-Client".into();
            let backend = ForwardFor { header, if_none: true, ..ForwardFor::default() };
            let out = forwarded(wire, Say::Nothing, [Some(&backend), Some(&except)], &[]);
            assert_eq!(out.contains("X-Client: 192.0.2.7\r\n"), there, "/{bits}");
        }
        let out = forwarded(wire, Say::Nothing, [Some(&if_none), Some(&plain)], &[]);
        assert!(out.contains(added), "{out}");
    }

    #[test]
    fn forwardfor_looks_at_what_the_rules_have_left() {
        let wire = "GET /x HTTP/1.0\r\nX-Forwarded-For: 1\r\n\r\n";
        let name: Arc<str> = "x-forwarded-for".into();
        let (set, del) = (Edit::Set(Arc::clone(&name), b"2".to_vec()), Edit::Del(name));
        let own = "X-Forwarded-For: 192.0.2.7\r\n\r\n";
        let plain = ForwardFor::default();
        let if_none = ForwardFor { if_none: true, ..ForwardFor::default() };
        let out = |forward, edit: &Edit| {
            rewritten(wire, Say::Nothing, Some(forward), std::slice::from_ref(edit))
        };
        assert!(out(&plain, &set).ends_with(&format!("x-forwarded-for: 2\r\n{own}")));
        assert!(out(&if_none, &set).ends_with("x-forwarded-for: 2\r\n\r\n"));
        assert!(out(&if_none, &del).ends_with(own));
    }

    #[test]
    fn forwardfor_does_not_count_what_the_client_takes_back() {
        let wire = "GET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\nConnection: x-forwarded-for\r\n\r\n";
        let if_none = ForwardFor { if_none: true, ..ForwardFor::default() };
        let out = rewritten(wire, Say::Nothing, Some(&if_none), &[]);
        assert!(out.ends_with("Host: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"), "{out}");
    }

    #[test]
    fn a_response_without_framing() {
        let wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n";
        let mut room = head::room::<16>();
        let head = head::response(wire, &mut room, Asked::Other, None);
        let mut out = Vec::new();
        response(
            &mut out,
            &head.expect("valid").expect("whole"),
            Say::Close,
            true,
            Changes::default(),
        );
        assert_eq!(out, b"HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n");
    }
}
