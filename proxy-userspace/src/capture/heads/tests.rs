//! Heads of whole and of cut segments.

use super::*;
use bytemuck::Zeroable;

fn heads(payloads: &[&str]) -> Heads {
    let mut heads = None;
    let mut segment = Segment { seq: 1000, ..Segment::zeroed() };
    for payload in payloads {
        let is_request = !payload.starts_with("HTTP");
        segment.sender = if is_request { Side(0) } else { Side(1) };
        segment.payload = payload.len() as u32;
        Heads::find(&mut heads, &segment, payload.as_bytes(), true, |_| {});
        segment.seq += 1000;
    }
    heads.map(|heads| *heads).unwrap_or_default()
}

#[test]
fn the_threads_exchange() {
    let heads = heads(&[
        "GET / HTTP/1.0\r\nAccept: */*\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 365\r\nConnection: close\r\n\r\nbody",
    ]);
    assert_eq!(heads.line(true).as_deref(), Some("GET /: 200"));
    assert!(heads.promise_close());
    assert_eq!(heads.response_end(), Some(2000 + 59 + 365));
    assert_eq!(heads.response.unwrap().told, Some(365));
}

#[test]
fn a_length_is_not_always_that_of_a_body() {
    let end = |request: &str, response: &str| heads(&[request, response]).response_end();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 365\r\n\r\n";
    assert_eq!(end("GET / HTTP/1.1\r\n\r\n", head), Some(2000 + 40 + 365));
    assert_eq!(end("HEAD / HTTP/1.1\r\n\r\n", head), Some(2000 + 40));
    let unmodified = head.replace("200 OK", "304 OK");
    assert_eq!(end("GET / HTTP/1.1\r\n\r\n", &unmodified), Some(2000 + 40));
    let chunked = head.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(end("GET / HTTP/1.1\r\n\r\n", &chunked), None);
}

#[test]
fn a_first_line_is_enough() {
    let heads = heads(&["POST /a HTTP/1.1", "HTTP/1.1 404 Not Found"]);
    assert_eq!(heads.line(true).as_deref(), Some("POST /a: 404"));
    assert!(!heads.promise_close());
}

#[test]
fn keep_alive_is_no_promise() {
    let heads = heads(&[
        "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]);
    assert_eq!((heads.requests, heads.responses), (1, 1));
    assert!(!heads.promise_close());
}

#[test]
fn other_bytes_are_no_heads() {
    for payload in ["\x16\x03\x01", "SSH-2.0-x", "HELO there\r\n", "", "H", "HTTP/1"] {
        assert_eq!(heads(&[payload]), Heads::default(), "{payload}");
    }
}

#[test]
fn a_head_may_come_in_pieces() {
    let request = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\nConnection: close\r\n\r\n";
    let bodies = ["HTTP/1.1 500 In a body\r\n\r\n", "POST /b HTTP/1.1\r\nHost: a\r\n\r\n"];
    let stream = [request, bodies[0], bodies[1]].concat();
    for cut in 1..stream.len() {
        let mut heads = None;
        let mut segment = Segment { seq: 1000, ..Segment::zeroed() };
        let mut found = Vec::new();
        for piece in stream.as_bytes().chunks(cut) {
            segment.payload = piece.len() as u32;
            Heads::find(&mut heads, &segment, piece, true, |head| {
                found.push(match head {
                    Head::Request(request) => request.seq,
                    Head::Response(response) => response.seq,
                });
            });
            segment.seq += segment.payload;
        }
        let last = 1000 + stream.len() as u32 - bodies[1].len() as u32;
        // Of the first one so much must be in the first segment that it is known for one.
        let Some(heads) = heads.filter(|_| cut >= "POST /a HTTP/1.1\r\n".len()) else { continue };
        assert_eq!((found, heads.requests), (vec![1000, last], 2), "cut at {cut}");
        assert!(!heads.request.is_some_and(|request| request.close), "the second's");
    }
}

#[test]
fn fields_may_be_in_the_second_segment() {
    let cookie = format!("Cookie: {}\r\n", "x".repeat(1400));
    let request = format!("GET / HTTP/1.1\r\n{cookie}Connection: close\r\n\r\n");
    let mut heads = None;
    let mut segment = Segment { seq: 1000, ..Segment::zeroed() };
    for (place, piece) in request.as_bytes().chunks(1000).enumerate() {
        segment.payload = piece.len() as u32;
        Heads::find(&mut heads, &segment, piece, true, |_| {});
        segment.seq += segment.payload;
        let heads = heads.as_ref().expect("a request");
        assert_eq!(heads.requests, 1);
        assert_eq!(heads.request.as_ref().is_some_and(|request| request.close), place == 1);
    }
}
