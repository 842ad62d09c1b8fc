//! What HTTP's heads say of a connection's close.

use crate::several::packets;
use crate::{fixture, teardown, text};
use std::io::Write;
use std::process::Command;

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

#[test]
fn of_more_than_half_of_all_numbers_nothing_is_said() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3000000000\r\nConnection: close\r\n\r\n";
    for (length, is_short) in [("2000000000", true), ("3000000000", false)] {
        let head = head.replace("3000000000", length);
        let packets = [
            tcp(b'>', 100, 0, 2, b""),
            tcp(b'<', 900, 101, 0x12, b""),
            tcp(b'>', 101, 901, 0x18, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            tcp(b'<', 901, 128, 0x18, head.as_bytes()),
            tcp(b'<', 901 + head.len() as u32, 128, 0x11, b""),
        ];
        let said = text(&teardown(&["explain", "-"], &pcap(&packets)));
        assert!(said.contains("GET /: 200"), "{said}");
        assert_eq!(said.contains(" short"), is_short, "{said}");
        assert!(!said.contains("ignores Connection: close"), "{said}");
    }
}

#[test]
fn what_only_looks_like_a_head_is_none() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let body = 901 + head.len() as u32;
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let packets = [
        tcp(b'>', 100, 0, 2, b""),
        tcp(b'<', 900, 101, 0x12, b""),
        tcp(b'>', 101, 901, 0x18, &request("/a")),
        tcp(b'<', 901, 129, 0x18, head),
        // The body is a log.
        tcp(b'<', body, 129, 0x18, b"HTTP/1.1 500 Internal Server Error\r\n\r\n"),
        tcp(b'<', body + 38, 129, 0x18, &[b'x'; 62]),
        tcp(b'>', 129, body + 100, 0x18, &request("/b")),
        // Late copies of the first request and its response.
        tcp(b'>', 101, 901, 0x18, &request("/a")),
        tcp(b'<', 901, 129, 0x18, head),
        tcp(b'<', body + 100, 157, 0x18, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    ];
    let said = |count: usize| text(&teardown(&["explain", "-"], &pcap(&packets[..count])));
    assert!(said(6).contains("GET /a: 200\n"), "{}", said(6));
    assert!(!said(6).contains("HTTP/1.1 500"), "{}", said(6));
    assert!(said(9).contains("GET /b: no answer\n"), "{}", said(9));
    assert!(said(9).contains("GET /a HTTP/1.1, sent again"), "{}", said(9));
    assert!(said(10).contains("GET /b: 404\n"), "{}", said(10));
}

/// A packet of raw IPv4 with this much of TCP, from port 4000 to 80 or back.
pub(crate) fn tcp(way: u8, seq: u32, ack: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let length = (40 + data.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 1, 0x40, 0, 64, 6, 0, 0];
    let (addresses, ports) = match way {
        b'>' => ([192, 0, 2, 1, 192, 0, 2, 2], [4000_u16, 80]),
        _ => ([192, 0, 2, 2, 192, 0, 2, 1], [80, 4000]),
    };
    packet.extend(addresses);
    packet.extend(ports.map(u16::to_be_bytes).concat());
    packet.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
    packet.extend([0x50, flags, 1, 244, 0, 0, 0, 0]);
    packet.extend(data);
    packet
}

/// A pcap file of them, two seconds apart.
pub(crate) fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 101]);
    for (number, packet) in packets.iter().enumerate() {
        let length = packet.len() as u32;
        file.extend(words(&[1_700_000_000 + 2 * number as u32, 0, length, length]));
        file.extend(packet);
    }
    file
}

/// What an end says in a segment: `>` the client, `<` the server.
type Part<'a> = (u8, &'a [u8]);

/// What both ends say by turns, as a capture.
fn talk(parts: &[Part<'_>]) -> Vec<u8> {
    let mut packets = vec![tcp(b'>', 100, 0, 2, b""), tcp(b'<', 900, 101, 0x12, b"")];
    let (mut client, mut server) = (101, 901);
    for &(way, data) in parts {
        let (ours, theirs) =
            if way == b'>' { (&mut client, server) } else { (&mut server, client) };
        packets.push(tcp(way, *ours, theirs, 0x18, data));
        *ours += data.len() as u32;
    }
    packets.push(tcp(b'<', server, client, 0x11, b""));
    pcap(&packets)
}

/// The heads that tshark finds.
fn tshark(capture: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(capture).expect("written");
    let mut command = Command::new("tshark");
    command.args(["-Y", "http", "-T", "fields", "-e", "http.request.method"]);
    command.args(["-e", "http.request.uri", "-e", "http.response.code", "-r"]);
    let output = command.arg(file.path()).output().expect("tshark is installed");
    let lines = String::from_utf8(output.stdout).expect("ASCII");
    // Those of one segment stand behind one another in each column.
    let heads = lines.lines().flat_map(|line| {
        let columns: Vec<Vec<&str>> =
            line.split('\t').map(|all| all.split(',').collect()).collect();
        let most = columns.iter().map(Vec::len).max().unwrap_or(0);
        let head = |at| columns.iter().filter_map(|column| column.get(at).copied()).collect();
        (0..most).map(head).collect::<Vec<Vec<&str>>>()
    });
    heads.map(|words| words.join(" ").trim().to_owned()).collect::<Vec<_>>().join(", ")
}

/// The heads in the ladder.
fn heads(said: &str) -> String {
    let rows = said.lines().filter_map(|line| line.rsplit_once('│'));
    let heads = rows.flat_map(|(_, words)| words.split("; ")).filter_map(|words| {
        let words = words.trim();
        match words.strip_prefix("HTTP/1.1 ") {
            Some(status) => status.get(..3),
            None => words.split_once(" HTTP/1.1").map(|(request, _)| request),
        }
    });
    heads.collect::<Vec<_>>().join(", ")
}

#[test]
fn heads_are_those_that_tshark_reads() {
    const INNER: &[u8] = b"HTTP/1.1 500 In a body\r\n\r\n";
    const ASKED: &[u8] = b"GET /inner HTTP/1.1\r\n\r\n";
    let get: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let last: &[u8] = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let not_found: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let both = [get, last].concat();
    let answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", not_found].concat();
    let post: &[u8] = b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let upload: &[u8] = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\n";
    let head: &[u8] = b"HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n";
    let upgrade: &[u8] =
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let cases: [(&str, &[Part<'_>]); 9] = [
        (
            "GET /b: 404",
            &[
                (b'>', get),
                (b'<', chunked),
                (b'<', b"1a\r\n"),
                (b'<', INNER),
                (b'<', b"\r\n34\r\n"),
                (b'<', INNER),
                (b'<', INNER),
                (b'<', b"\r\n0\r\nX: y\r\n\r\n"),
                (b'>', last),
                (b'<', not_found),
            ],
        ),
        ("GET /b: 404", &[(b'>', &both), (b'<', &answers)]),
        (
            "GET /b: 404",
            &[
                (b'>', &both[..get.len() + 7]),
                (b'<', &answers[..9]),
                (b'<', &answers[9..40]),
                (b'>', &last[7..]),
                (b'<', not_found),
            ],
        ),
        (
            "GET /b: no answer",
            &[(b'>', &both), (b'<', &answers[..answers.len() - not_found.len()])],
        ),
        (
            "POST /p: 404",
            &[
                (b'>', post),
                (b'>', b"17\r\n"),
                (b'>', ASKED),
                (b'>', b"\r\n0\r\n\r\n"),
                (b'<', not_found),
            ],
        ),
        ("POST /p: 404", &[(b'>', upload), (b'>', INNER), (b'<', not_found)]),
        (
            "GET /b: 404",
            &[
                (b'>', head),
                (b'<', b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
                (b'>', get),
                (b'<', b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\n\r\n"),
                (b'>', last),
                (b'<', not_found),
            ],
        ),
        (
            "GET /a: 200",
            &[
                (b'>', get),
                (b'<', b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
                (b'<', INNER),
            ],
        ),
        (
            "GET /ws: 101",
            &[
                (b'>', upgrade),
                (b'<', b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
                (b'>', ASKED),
                (b'<', INNER),
            ],
        ),
    ];
    for (title, parts) in cases {
        let capture = talk(parts);
        let said = text(&teardown(&["explain", "-"], &capture));
        assert!(said.contains(&format!("\n{title}\n")), "{title}\n{said}");
        assert_eq!(heads(&said), tshark(&capture), "{title}\n{said}");
    }
}

#[test]
fn a_request_may_stand_behind_the_proxy_protocol() {
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let one = [b"PROXY TCP4 192.0.2.9 192.0.2.2 4 80\r\n", &get[..]].concat();
    let two = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &[7; 12][..], get].concat();
    for asked in [one, two] {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let said = text(&teardown(&["explain", "-"], &talk(&[(b'>', &asked), (b'<', answer)])));
        assert!(said.contains("\nGET /a: 404\n"), "{said}");
    }
}
