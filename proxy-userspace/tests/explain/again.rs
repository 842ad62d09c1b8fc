//! What comes again or late, what does not count, and what never comes.

use crate::heads::{pcap, tcp};
use crate::sides::{WHOLE, said};
use crate::{closes, teardown, text, wire};
use std::io::Write;
use std::process::Command;

#[test]
fn what_is_repeated_long_after_the_close_begins_no_other_connection() {
    let last = WHOLE[7].to_owned() + ", win 500, length 0";
    let late: String = [1, 3, 7, 15, 31, 63]
        .map(|s| {
            let at = format!("10:{:02}:{:02}.007000", s / 60, s % 60);
            format!("{at} IP 192.0.2.1.4000 > 192.0.2.2.80: Flags {}\n", &last[2..])
        })
        .concat();
    let whole = wire(&WHOLE);
    let output = teardown(&["explain", "--json", "-"], (whole.clone() + &late).as_bytes());
    assert_eq!(closes(&output).len(), 1, "{}", text(&output));
    // A SYN does.
    let again = wire(&WHOLE[..1]).replace("10:00:00", "10:00:40").replace("seq 100", "seq 5000");
    let output = teardown(&["explain", "--json", "-"], (whole + &again).as_bytes());
    assert_eq!(closes(&output).len(), 2, "{}", text(&output));
}

#[test]
fn what_is_given_up_for_its_silence_is_told_as_that() {
    let open = wire(&WHOLE[..5]);
    let again = wire(&WHOLE).replace("10:00:00", "10:06:40").replace("seq 100", "seq 5000");
    let again = again.replace("ack 101", "ack 5001");
    let input = open + &again;
    for (arguments, is, is_not) in [
        (&["explain", "--zeek", "--ladder", "-"][..], "given up for its silence", "another conn"),
        (&["explain", "--ladder", "-"], "another connection began on the same ports", "silence"),
    ] {
        let said = text(&teardown(arguments, input.as_bytes()));
        assert!(said.contains(is) && !said.contains(is_not), "{said}");
    }
    let zeek = ["explain", "--zeek", "--format-out", "ipfix-json", "-"];
    let said = text(&teardown(&zeek, input.as_bytes()));
    assert!(said.lines().next().is_some_and(|line| line.contains("\"flowEndReason\":1")), "{said}");
    // Whose SYN nobody answers waits no longer because of what others do later.
    let attempt = wire(&["> [S], seq 100"]);
    let other = wire(&WHOLE).replace(".4000", ".4001").replace("10:00:00", "10:08:20");
    let said = text(&teardown(&["explain", "-"], (attempt + &other).as_bytes()));
    assert!(said.contains("130.000 s"), "{said}");
}

#[test]
fn the_last_data_is_not_what_is_sent_again() {
    // The server's only answer is repeated, and the client asks whether it is still there.
    let packets = [
        "> [S], seq 100",
        "< [S.], seq 900, ack 101",
        "> [.], ack 1",
        "> [P.], seq 1:11, ack 1",
        "< [P.], seq 1:21, ack 11",
        "< [P.], seq 1:21, ack 11",
        "> [.], seq 10:11, ack 21",
        "< [.], ack 11",
        "< [F.], seq 21, ack 11",
        "> [F.], seq 11, ack 22",
        "< [.], ack 12",
    ];
    let said = said(&packets);
    for wanted in [
        "The server closed first, with FIN, 4.000 ms after its last data",
        "the server closes first, with FIN, 4.000 ms after its last data",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn what_does_not_count_is_not_counted() {
    let wrong =
        wire(&WHOLE[3..4]).replace("win 500", "cksum 0x1843 (incorrect -> 0xa237), win 500");
    let wrong = wrong.replace("[P.]", "[P.U]").replace("seq 1:11", "seq 1:12");
    let input = wire(&WHOLE[..3])
        + &wrong
        + &wire(&WHOLE[..]).lines().skip(3).fold(String::new(), |text, line| text + line + "\n");
    let said = text(&teardown(&["explain", "--checksums", "--ladder", "-"], input.as_bytes()));
    assert!(said.contains("its checksum is wrong: it is dropped"), "{said}");
    assert!(said.contains("the client sends 10 bytes\n"), "{said}");
    // The flags of what was dropped are nobody's.
    let ipfix = ["explain", "--checksums", "--format-out", "ipfix-json", "-"];
    let found = closes(&teardown(&ipfix, input.as_bytes()));
    let expected = closes(&teardown(&ipfix, wire(&WHOLE).as_bytes()));
    let flags = |closes: &[serde_json::Value]| closes[0]["tcpControlBits"].clone();
    assert!(!flags(&expected).is_null(), "{expected:?}");
    assert_eq!(flags(&found), flags(&expected));
}

#[test]
fn who_is_chosen_by_a_filter_has_a_ladder_and_a_picture() {
    let input: String =
        (0..60).map(|n| wire(&WHOLE).replace(".4000", &format!(".{}", 4000 + n))).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let picture = folder.path().join("ladder.svg").display().to_string();
    let arguments = ["explain", "--port", "4055", "--svg", &picture, "-"];
    let said = text(&teardown(&arguments, input.as_bytes()));
    assert!(said.contains("Connection 56: 192.0.2.1:4055 to 192.0.2.2:80, SF"), "{said}");
    let drawn = std::fs::read_to_string(&picture).expect("the picture");
    assert!(drawn.contains("192.0.2.1:4055"), "{drawn}");
}

#[test]
fn who_asks_again_after_a_refusal_has_had_an_answer() {
    let said = said(&["> [S], seq 100", "< [R.], seq 0, ack 101", "> [S], seq 100"]);
    assert!(said.contains("the client asks again, after it was refused"), "{said}");
}

#[test]
fn a_ladder_goes_on_with_what_comes_late() {
    let fin = || tcp(b'>', 101, 902, 0x11, b"");
    let mut packets = vec![
        tcp(b'>', 100, 0, 2, b""),
        tcp(b'<', 900, 101, 0x12, b""),
        tcp(b'>', 101, 901, 0x10, b""),
        tcp(b'<', 901, 101, 0x11, b""),
        fin(),
    ];
    let closed = pcap(&packets);
    // Two seconds apart: the connection is let go of after the first two.
    packets.extend((0..4).map(|_| fin()));
    packets.push(tcp(b'<', 902, 0, 4, b""));
    let whole = pcap(&packets);
    let said = text(&teardown(&["explain", "-"], &whole));
    assert_eq!(said.matches("the client repeats its FIN").count(), 4, "{said}");
    assert!(said.contains("the server sends RST: for it the connection is gone"), "{said}");
    let rows = said.lines().filter(|line| line.contains("──")).count();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&whole).expect("written");
    let mut tshark = Command::new("tshark");
    let tshark = tshark.args(["-Y", "tcp.stream == 0", "-r"]).arg(file.path()).output();
    let stream = tshark.expect("tshark is installed").stdout;
    assert_eq!(rows, stream.split(|&byte| byte == b'\n').count() - 1, "{said}");
    // How it closed has been said before, and stays the same.
    let json = |capture: &[u8]| text(&teardown(&["explain", "--json", "-"], capture));
    assert_eq!(json(&whole), json(&closed));
    let filter = text(&teardown(&["explain", "--ladder", "--host", "192.0.2.1", "-"], &whole));
    assert!(filter.contains("for it the connection is gone"), "{filter}");
}
