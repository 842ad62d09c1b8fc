//! Captures that do not show everything: one direction, the end of a connection, a packet twice.

use crate::{teardown, text, wire};

/// The server closes first, half a second before the client.
const WHOLE: [&str; 9] = [
    "> [S], seq 100",
    "< [S.], seq 900, ack 101",
    "> [.], ack 1",
    "> [P.], seq 1:11, ack 1",
    "< [P.], seq 1:21, ack 11",
    "< [F.], seq 21, ack 11",
    "> [.], ack 22",
    "> [F.], seq 11, ack 22",
    "< [.], ack 12",
];

#[test]
fn a_capture_without_tcp_says_what_it_holds() {
    let udp = "10:00:00.000000 IP 192.0.2.1.53 > 192.0.2.2.53: UDP, length 12\n";
    let coloured = wire(&WHOLE).replace("Flags", "\x1b[1mFlags\x1b[0m");
    for (input, packets) in [(udp, 1), (&coloured, 9)] {
        let said = text(&teardown(&["explain", "-"], input.as_bytes()));
        let wanted =
            format!("Note: standard input: none of its {packets} packet(s) is read as TCP");
        assert!(said.contains(&wanted), "{said}");
    }
    let said = text(&teardown(&["explain", "-"], wire(&WHOLE).as_bytes()));
    assert!(!said.contains("is read as TCP"), "{said}");
}
