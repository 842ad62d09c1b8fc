//! What is said to be lost, and what is not.

use crate::{closes, fixture, tcpdump, teardown, text, wire};
use serde_json::Value;

#[test]
fn lost_data_is_found() {
    let lines = "\
10:00:00.000000 IP 192.0.2.1.4000 > 192.0.2.2.80: Flags [S], seq 100, win 500, length 0
10:00:00.001000 IP 192.0.2.2.80 > 192.0.2.1.4000: Flags [S.], seq 900, ack 101, win 500, length 0
10:00:00.002000 IP 192.0.2.1.4000 > 192.0.2.2.80: Flags [P.], seq 1:11, ack 1, win 500, length 10
10:00:00.003000 IP 192.0.2.2.80 > 192.0.2.1.4000: Flags [P.], seq 1:1001, ack 11, win 500, length 1000
10:00:00.004000 IP 192.0.2.2.80 > 192.0.2.1.4000: Flags [P.], seq 1001:1501, ack 11, win 500, length 500
10:00:00.005000 IP 192.0.2.1.4000 > 192.0.2.2.80: Flags [R.], seq 11, ack 1001, win 500, length 0
";
    let said = text(&teardown(&["explain", "-"], lines.as_bytes()));
    assert!(said.contains("500 bytes of the server's were never acknowledged"), "{said}");
    assert!(
        said.contains("the client resets and throws away 500 bytes that the server sent"),
        "{said}"
    );
}

fn said(packets: &[&str]) -> String {
    text(&teardown(&["explain", "--ladder", "-"], wire(packets).as_bytes()))
}

#[test]
fn a_syn_or_a_rst_is_no_byte_of_data() {
    const SYN: &str = "> [S], seq 100";
    const SYN_ACK: &str = "< [S.], seq 900, ack 101";
    for packets in [
        // A refused connection, a scan, an answer that nobody takes, and two ends of connections.
        &[SYN, "< [R.], seq 0, ack 101"][..],
        &[SYN, SYN_ACK, "> [R], seq 101"],
        &[SYN, SYN_ACK, SYN_ACK, "< [R], seq 901"],
        &["> [P.], seq 101:151, ack 901", "< [R.], seq 901, ack 151"],
        &["< [F.], seq 900, ack 101", "> [R], seq 101"],
    ] {
        let said = said(packets);
        assert!(said.contains("; nothing lost."), "{said}");
        assert!(!said.contains("1 byte"), "{said}");
    }
    let data = [SYN, SYN_ACK, "> [.], ack 1", "< [P.], seq 1:2, ack 1", "> [R.], seq 1, ack 1"];
    let said = said(&data);
    assert!(said.contains("; 1 byte of the server's was never acknowledged."), "{said}");
    assert!(said.contains("resets and throws away 1 byte that the server sent"), "{said}");
    assert!(said.contains("the server sends 1 byte\n"), "{said}");
}

#[test]
fn a_rst_out_of_window_tells_nothing_of_bytes() {
    let packets = [
        "> [S], seq 100",
        "< [S.], seq 900, ack 101",
        "> [.], ack 1",
        "> [P.], seq 1:101, ack 1",
        "< [R], seq 900000",
        "> [P.], seq 101:111, ack 1",
        "< [F.], seq 1, ack 111",
        "> [F.], seq 111, ack 2",
        "< [.], ack 112",
    ];
    // With its FIN the server tells where its data ends; before, what was acknowledged does.
    for packets in [&packets[..], &packets[..6]] {
        let said = said(packets);
        assert!(!said.contains("never acknowledged"), "{said}");
        assert!(
            said.contains("the server sends RST, which the other end does not believe"),
            "{said}"
        );
        assert!(!said.contains("already reset"), "{said}");
    }
}

#[test]
fn what_both_ends_reset_was_not_refused() {
    let both = [
        "> [S], seq 100",
        "< [S.], seq 900, ack 101",
        "> [.], ack 1",
        "> [R.], seq 1, ack 1",
        "< [R.], seq 1, ack 1",
    ];
    let lines = wire(&both);
    let found = closes(&teardown(&["explain", "--json", "-"], lines.as_bytes()));
    assert_eq!(found[0]["conn_state"], "REJ", "as Zeek has it");
    let said = said(&both);
    let wanted = "The client closed first, with RST+ACK; the server reset as well, with RST+ACK";
    assert!(said.contains(wanted), "{said}");
    assert!(!said.contains("refuse"), "{said}");
}

#[test]
fn a_capture_tells_what_was_never_acknowledged() {
    let packets = [
        "> [S], seq 100",
        "< [S.], seq 900, ack 101",
        "> [.], ack 1",
        "< [P.], seq 1:1001, ack 1",
        "> [R.], seq 1, ack 1",
    ];
    let lines = wire(&packets);
    let found = closes(&teardown(&["explain", "--json", "--lost", "-"], lines.as_bytes()));
    assert_eq!(found[0]["unacked_bytes"], 1000);
    assert!(found[0]["unread_bytes"].is_null(), "no capture tells it");
    assert!(said(&packets).contains(" 1000 unacked "));
    let unlost = wire(&[packets[0], packets[1], packets[2], "> [R.], seq 1, ack 1"]);
    assert!(closes(&teardown(&["explain", "--json", "--lost", "-"], unlost.as_bytes())).is_empty());
    // Nobody has closed: what is on its way may still be acknowledged.
    let open = wire(&packets[..4]);
    let found = closes(&teardown(&["explain", "--json", "-"], open.as_bytes()));
    assert!(found[0]["unacked_bytes"].is_null(), "{}", found[0]);
    let many: String = (0..41).map(|n| lines.replace(".4000", &format!(".{}", 5000 + n))).collect();
    let said = text(&teardown(&["explain", "-"], many.as_bytes()));
    let row: Vec<&str> = said
        .lines()
        .find(|line| line.starts_with("  192.0.2.2:80 "))
        .expect("the summary by backend")
        .split_whitespace()
        .collect();
    assert_eq!(row[6..], ["-", "41000"], "{said}");
}

/// The packets, and after the pause the rest.
fn paused(first: &[&str], rest: &[&str]) -> String {
    let late = wire(&[first, rest].concat());
    let lines = late.lines().enumerate().map(|(at, line)| {
        let line = if at < first.len() { line.into() } else { line.replace("10:00:0", "10:00:1") };
        format!("{line}\n")
    });
    text(&teardown(&["explain", "--ladder", "-"], lines.collect::<String>().as_bytes()))
}

const OPEN: [&str; 3] = ["> [S], seq 100", "< [S.], seq 900, ack 101", "> [.], ack 1"];

#[test]
fn who_is_waited_for_in_vain_is_named() {
    let syn = OPEN[0];
    let unanswered = paused(&[syn], &[syn]);
    for wanted in [
        "The client's SYN, sent 2 times, was not answered.",
        "  - nobody answers: SYNs have waited for 10.001 s: 1 of 1 (#1)",
    ] {
        assert!(unanswered.contains(wanted), "{wanted}\n{unanswered}");
    }
    let half_open = paused(&OPEN[..2], &OPEN[1..2]);
    for wanted in [
        "The client never completed the handshake: the server's SYN+ACK, sent 2 times, was not \
         acknowledged.",
        "  - the client does not complete the handshake: the server repeats its SYN+ACK: 1 of 1",
    ] {
        assert!(half_open.contains(wanted), "{wanted}\n{half_open}");
    }
    let fin = "< [F.], seq 1, ack 1";
    let unheard = paused(&[&OPEN[..], &[fin]].concat(), &[fin, fin]);
    for wanted in [
        "The server closed first, with FIN; the client never acknowledged the FIN, which was sent 3 \
         times",
        "  - the client does not acknowledge the FIN, which is repeated: it is gone, or out of reach",
    ] {
        assert!(unheard.contains(wanted), "{wanted}\n{unheard}");
    }
    assert!(!unheard.contains("half closed") && !unheard.contains("close-wait"), "{unheard}");
    let data = "> [P.], seq 1:51, ack 1";
    let repeated = paused(&[&OPEN[..], &[data]].concat(), &[data, data]);
    for wanted in [
        "Nobody has closed: open when the capture ends; 50 bytes of the client's not acknowledged \
         yet.",
        "the client sends 50 bytes, repeated 2 times over 10.002 s\n",
    ] {
        assert!(repeated.contains(wanted), "{wanted}\n{repeated}");
    }
}

#[test]
fn who_goes_on_was_answered() {
    let one_way = paused(&[OPEN[0]], &["> [P.], seq 101:151, ack 901"]);
    assert!(
        one_way.contains("Nobody has closed; nothing of the server's was captured."),
        "{one_way}"
    );
    assert!(!one_way.contains("answer"), "{one_way}");
    // A handshake whose SYN is missing is no challenge.
    let late = said(&["< [S.], seq 900, ack 101", "> [.], ack 1"]);
    assert!(late.contains("  connected\n"), "{late}");
}

#[test]
fn a_server_that_resets_is_found_and_a_lone_rst_accuses_nobody() {
    let data = ["> [P.], seq 1:51, ack 1", "< [.], ack 51", "< [R.], seq 1, ack 51"];
    let reset = said(&[&OPEN[..], &data].concat());
    assert!(reset.contains("  - the server closes open connections with RST"), "{reset}");
    let lone = said(&["> [R.], seq 101, ack 901"]);
    assert!(lone.contains("Nothing but RST+ACK of the client's was captured."), "{lone}");
    assert!(!lone.contains("open connections") && !lone.contains("one direction"), "{lone}");
}

#[test]
fn a_host_that_did_not_ask_has_closed_nothing() {
    let scan = said(&[&OPEN[..2], &["> [R], seq 101"]].concat());
    for wanted in [
        "The client answered the SYN+ACK with RST: its host knew nothing of the connection; \
         nothing lost.",
        "the client's host knows nothing of the connection, and answers RST\n",
        "  - the client's host answers the SYN+ACK with RST, as where ports are scanned",
    ] {
        assert!(scan.contains(wanted), "{wanted}\n{scan}");
    }
    assert!(!scan.contains("abort fin"), "{scan}");
    // A check that connects and resets has an ACK on its RST.
    let check = said(&[&OPEN[..2], &["> [R.], seq 1, ack 1"]].concat());
    assert!(check.contains("The client closed first, with RST+ACK"), "{check}");
}

#[test]
fn of_a_capture_of_control_segments_no_loss_is_told() {
    for name in ["1.4.22__thread-config__dodgy__production.back", "1.5.4__default__dodgy_c10.front"]
    {
        let path = fixture(&format!("{name}.pcap"));
        let filter = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0";
        let filtered = tcpdump(&path, &["-n", "-S", filter]);
        let said = text(&teardown(&["explain", "--ladder", "-"], filtered.as_bytes()));
        for wrong in ["not acknowledged", "never acknowledged", "nothing lost", "handshake"] {
            assert!(!said.contains(wrong), "{wrong}: {said}");
        }
        assert!(said.contains("only segments with SYN, FIN or RST are in it"), "{said}");
        let unacked = |close: &Value| close["unacked_bytes"].is_null();
        let told = closes(&teardown(&["explain", "--json", "-"], filtered.as_bytes()));
        assert!(told.iter().all(unacked), "{told:?}");
        // How they closed is the same.
        let whole = closes(&teardown(&["explain", "--json", &path.display().to_string()], b""));
        let how = |closes: &[Value]| -> Vec<String> {
            let words = |close: &Value| format!("{} {}", close["first_closer"], close["answer"]);
            closes.iter().map(words).collect()
        };
        assert_eq!(how(&told), how(&whole));
    }
}
