#![no_main]
//! HTTP/1 heads: what is taken is unambiguous, and is read the same way when it is sent on.

use libfuzzer_sys::fuzz_target;
use teardown::http::framing::{Asked, Framing};
use teardown::http::head::{request, response, room};

/// Start line, fields, framing and persistence: what the next recipient must agree on.
type Meaning = (Vec<u8>, Vec<(String, Vec<u8>)>, Framing, bool);

fn asked(bytes: &[u8]) -> Option<(usize, Meaning)> {
    let mut room = room::<64>();
    let head = request(bytes, &mut room, None, None).ok()??;
    let persists = head.options.persists(head.view.minor);
    let fields = head.view.fields.iter();
    let fields = fields.map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
    Some((head.len, (head.line.to_vec(), fields, head.framing, persists)))
}

fn answered(bytes: &[u8], asked: Asked) -> Option<(usize, Meaning)> {
    let mut room = room::<64>();
    let head = response(bytes, &mut room, asked, None).ok()??;
    let persists = head.options.persists(head.view.minor);
    let fields = head.view.fields.iter();
    let fields = fields.map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
    Some((head.len, (head.line.to_vec(), fields, head.framing, persists)))
}

fn hold(bytes: &[u8], read: impl Fn(&[u8]) -> Option<(usize, Meaning)>) {
    let Some((len, meaning)) = read(bytes) else { return };
    let head = &bytes[..len];
    assert!(head.ends_with(b"\r\n\r\n"));
    assert!(!head.contains(&0));
    for (at, byte) in head.iter().enumerate() {
        let lone = match byte {
            b'\n' => head[at - 1] != b'\r',
            b'\r' => head[at + 1] != b'\n',
            _ => false,
        };
        assert!(!lone, "a bare CR or LF was taken");
    }
    let mut again = [&meaning.0, &b"\r\n"[..]].concat();
    for (name, value) in &meaning.1 {
        again.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    again.extend_from_slice(b"\r\n");
    assert_eq!(read(&again), Some((again.len(), meaning.clone())));
    // What follows is none of the head's, and nothing less than the head is one.
    assert_eq!(read(head), Some((len, meaning)));
    assert_eq!(read(&head[..len - 1]), None);
}

fuzz_target!(|data: &[u8]| {
    hold(data, asked);
    for method in [Asked::Head, Asked::Connect, Asked::Other] {
        hold(data, |bytes| answered(bytes, method));
    }
});
