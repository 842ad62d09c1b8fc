//! What HTTP's heads say of a connection's close.

use crate::several::packets;
use crate::{fixture, teardown, text};

#[test]
fn a_broken_promise_lasts_until_the_server_closes() {
    let name = "1.4.22__thread-config__dodgy__httpchk.back.pcap";
    let path = fixture(name).display().to_string();
    let whole = text(&teardown(&["explain", &path], b""));
    let capture = std::fs::read(fixture(name)).expect("the fixture");
    let (head, packets) = packets(&capture);
    // Nobody's FIN is in it: a connection may end as it likes, so long as the server ends it.
    let open = packets.into_iter().filter(|packet| packet[16 + 14 + 20 + 13] & 1 == 0);
    let open = [&[head], &open.collect::<Vec<_>>()[..]].concat().concat();
    let open = text(&teardown(&["explain", "-"], &open));
    for said in [&whole, &open] {
        let findings: Vec<&str> =
            said.lines().filter(|line| line.contains("ignores Connection: close")).collect();
        // The last check of each server is the shortest, and the very last is too near the end.
        assert!(
            findings[0].contains("open for 30.") && findings[0].contains(": 12 of 13 "),
            "{said}"
        );
        assert!(
            findings[1].contains("open for 15.") && findings[1].contains(": 13 of 13 "),
            "{said}"
        );
    }
}

/// One line of tcpdump's, `n` milliseconds after ten, with what it says of HTTP.
fn line(n: u64, way: char, what: &str, length: u64, http: &str) -> String {
    const ENDS: [&str; 2] = ["192.0.2.1.4000", "192.0.2.2.80"];
    let [from, to] = if way == '>' { ENDS } else { [ENDS[1], ENDS[0]] };
    let http = if http.is_empty() { String::new() } else { format!(": HTTP: {http}") };
    format!("10:00:00.{n:03}000 IP {from} > {to}: Flags {what}, win 500, length {length}{http}\n")
}

#[test]
fn a_request_is_not_answered_by_what_came_before_it() {
    let first = [
        line(0, '>', "[S], seq 100", 0, ""),
        line(1, '<', "[S.], seq 900, ack 101", 0, ""),
        line(2, '>', "[.], ack 1", 0, ""),
        line(3, '>', "[P.], seq 1:31, ack 1", 30, "GET /a HTTP/1.1"),
        line(4, '<', "[P.], seq 1:51, ack 31", 50, "HTTP/1.1 200 OK"),
    ]
    .concat();
    let second = line(50, '>', "[P.], seq 31:61, ack 51", 30, "POST /b HTTP/1.1");
    let reset = line(60, '<', "[R.], seq 51, ack 61", 0, "");
    let said = text(&teardown(&["explain", "-"], (first.clone() + &second + &reset).as_bytes()));
    assert!(said.contains("\nPOST /b: no answer\n"), "{said}");
    // The first one repeated, as its acknowledgment was late, is no other request.
    let again = line(50, '>', "[P.], seq 1:31, ack 1", 30, "GET /a HTTP/1.1");
    let said = text(&teardown(&["explain", "-"], (first + &again + &reset).as_bytes()));
    assert!(said.contains("\nGET /a: 200\n"), "{said}");
    // Where the answers were not captured, nothing is said of them.
    let asked = line(0, '>', "[S], seq 100", 0, "")
        + &line(3, '>', "[P.], seq 101:131, ack 901", 30, "GET /a HTTP/1.1");
    let said = text(&teardown(&["explain", "-"], asked.as_bytes()));
    assert!(said.contains("\nGET /a\n"), "{said}");
}

#[test]
fn a_response_that_was_cut_short_is_told() {
    let name = "1.4.22__http-server-close__good-pf_c10.back.pcap";
    let whole = std::fs::read(fixture(name)).expect("the fixture");
    let said = text(&teardown(&["explain", "-"], &whole));
    assert!(said.contains("\nGET /: 200\n") && !said.contains("complete"), "{said}");
    // The same with a head that tells 600 bytes more than come.
    let at = memchr::memmem::find(&whole, b"Content-Length: 365").expect("the field");
    let mut cut = whole;
    cut[at + 16] = b'9';
    let said = text(&teardown(&["explain", "-"], &cut));
    for wanted in [
        "\nGET /: 200, 600 bytes short\n",
        "the server closes before the response is complete: 600 bytes of what Content-Length tells \
         were not sent: 1 of 1 (#1)",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}

#[test]
fn who_is_to_stay_open_runs_no_race() {
    let name = "1.4.22__thread-config__imm__production.back.pcap";
    let mut capture = std::fs::read(fixture(name)).expect("the fixture");
    let said = text(&teardown(&["explain", "-"], &capture));
    assert_eq!(said.matches("who is first is a race").count(), 2, "{said}");
    // The same, had HTTP told that the connections stay.
    for (was, is) in [(b"HTTP/1.0\r\n", b"HTTP/1.1\r\n"), (b"n: close\r\n", b"n: alive\r\n")] {
        while let Some(at) = memchr::memmem::find(&capture, was) {
            capture[at..at + was.len()].copy_from_slice(is);
        }
    }
    let said = text(&teardown(&["explain", "-"], &capture));
    assert!(said.contains("the client closes open connections with RST"), "{said}");
    assert!(!said.contains("race"), "{said}");
}
