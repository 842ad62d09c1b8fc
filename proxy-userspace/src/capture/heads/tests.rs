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
        Heads::find(&mut heads, &segment, payload.as_bytes(), true);
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
