use proptest::prelude::*;

use super::*;

fn parse(bytes: &[u8]) -> Result<Option<(usize, Framing, Options)>, Refusal> {
    let mut room = room::<16>();
    let head = request(bytes, &mut room, None, None)?;
    Ok(head.map(|head| (head.len, head.framing, head.options)))
}

fn answer(bytes: &[u8], asked: Asked) -> Result<Option<(u16, Framing)>, Refusal> {
    let mut room = room::<16>();
    let head = response(bytes, &mut room, asked, None)?;
    Ok(head.map(|head| (head.view.status, head.framing)))
}

#[test]
fn a_request_keeps_its_bytes() {
    let wire = b"\r\nGET /a?b HTTP/1.1\r\nhOsT: a\r\nX-A:  b c \r\n\r\nrest";
    let mut room = room::<16>();
    let head = request(wire, &mut room, None, None).expect("valid").expect("whole");
    assert_eq!(head.len, wire.len() - 4);
    assert_eq!(head.line, b"GET /a?b HTTP/1.1");
    assert_eq!(head.view.path(), "/a");
    let names: Vec<_> = head.view.fields.iter().map(|f| (f.name, f.value)).collect();
    assert_eq!(names, [("hOsT", &b"a"[..]), ("X-A", b"b c")]);
    assert_eq!(head.view.values("x-a").collect::<Vec<_>>(), [b"b c"]);
}

#[test]
fn every_prefix_asks_for_more() {
    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    for end in 0..wire.len() {
        assert_eq!(parse(&wire[..end]), Ok(None), "{end}");
    }
    let whole = parse(wire).expect("valid").expect("whole");
    assert_eq!((whole.0, whole.1), (wire.len(), Framing::Length(3)));
}

#[test]
fn persistence() {
    let cases = [
        ("1.1", "X: a", true),
        ("1.1", "Connection: close", false),
        ("1.1", "Connection: foo, Close", false),
        ("1.0", "X: a", false),
        ("1.0", "Connection: Keep-Alive", true),
        ("1.0", "Connection: keep-alive, close", false),
    ];
    for (version, field, persists) in cases {
        let wire = format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n\r\n");
        let (_, _, options) = parse(wire.as_bytes()).expect("valid").expect("whole");
        let minor = u8::from(version == "1.1");
        assert_eq!(options.persists(minor), persists, "{version} {field}");
    }
}

#[test]
fn refused_requests() {
    let cases: &[(&str, Refusal)] = &[
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Refusal::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Refusal::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Refusal::LineEnd),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", Refusal::FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n", Refusal::FieldValue),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\n: a\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", Refusal::FieldName),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::StartLine),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::StartLine),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refusal::Version),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Refusal::Version),
        ("GET /\r\nHost: a\r\n\r\n", Refusal::StartLine),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n", Refusal::Nominated),
    ];
    for (wire, refusal) in cases {
        let got = parse(wire.as_bytes());
        assert!(got.is_err(), "{wire:?} was taken");
        assert_eq!(got.unwrap_err(), *refusal, "{wire:?}");
    }
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(17));
    assert_eq!(parse(many.as_bytes()), Err(Refusal::FieldCount));
}

#[test]
fn responses() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(answer(ok.as_bytes(), Asked::Other), Ok(Some((200, Framing::Length(3)))));
    assert_eq!(answer(ok.as_bytes(), Asked::Head), Ok(Some((200, Framing::None))));
    let bare = "HTTP/1.1 200\r\n\r\n";
    assert_eq!(answer(bare.as_bytes(), Asked::Other), Ok(Some((200, Framing::Close))));
    let strange = "HTTP/1.1 999 Request denied\r\n\r\n";
    assert_eq!(answer(strange.as_bytes(), Asked::Other), Ok(Some((999, Framing::Close))));
    let refused: &[(&str, Refusal)] = &[
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", Refusal::StartLine),
        ("HTTP/1.1 099 OK\r\n\r\n", Refusal::Status),
        ("HTTP/1.1 20 OK\r\n\r\n", Refusal::Status),
        ("HTTP/1.1 200 OK\nA: b\r\n\r\n", Refusal::LineEnd),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Refusal::FieldName),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Refusal::FieldName),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::TransferEncodingVersion),
    ];
    for (wire, refusal) in refused {
        assert_eq!(answer(wire.as_bytes(), Asked::Other), Err(*refusal), "{wire:?}");
    }
}

proptest! {
    /// Nothing makes the parser crash, and what it takes it takes whole.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(prop::sample::select(
        b"GET / HTP1.\r\n:hosta, \t\0\x80".to_vec()), 0..120)) {
        if let Ok(Some((len, ..))) = parse(&bytes) {
            prop_assert!(bytes[..len].ends_with(b"\r\n\r\n"));
        }
        let _ = answer(&bytes, Asked::Other);
    }
}

#[test]
fn a_head_that_rules_have_written_is_not_judged() {
    let mut room = room::<16>();
    let head = b"GET /x HTTP/1.1\r\nA: b\r\n\r\n";
    assert_eq!(request(head, &mut room, None, None).map(drop), Err(Refusal::HostMissing));
    let mut room = super::room::<16>();
    let written = written(head, &mut room, (None, None)).expect("it can be read");
    assert_eq!((written.target, written.fields.len()), ("/x", 1));
}
