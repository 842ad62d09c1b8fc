//! Captures that do not show everything: one direction, the end of a connection, a packet twice.

use crate::{closes, teardown, text, wire};

pub(crate) fn said(packets: &[&str]) -> String {
    text(&teardown(&["explain", "--ladder", "-"], wire(packets).as_bytes()))
}

/// The server closes first, half a second before the client.
pub(crate) const WHOLE: [&str; 9] = [
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
fn nothing_is_said_of_an_end_that_was_not_captured() {
    for way in [">", "<"] {
        let one: Vec<String> = wire(&WHOLE)
            .lines()
            .filter(|line| line.contains(if way == ">" { "2.80: " } else { "1.4000: " }))
            .map(|line| format!("{line}\n"))
            .collect();
        // A minute on, something else ends the capture.
        let later = wire(&WHOLE).replace("10:00", "10:01").replace(".4000", ".4001");
        let input = one.concat() + &later;
        let said = text(&teardown(&["explain", "--ladder", "-"], input.as_bytes()));
        let (other, end) = if way == ">" { ("server", "client") } else { ("client", "server") };
        let wanted = format!(
            "The {end} closed first, with FIN, {} after its last data; nothing of the {other}'s was \
             captured.",
            if way == ">" { "4.000 ms" } else { "1.000 ms" },
        );
        assert!(said.contains(&wanted), "{said}");
        assert!(said.contains("only one direction was captured: 1 of 2 (#1)"), "{said}");
        assert!(!said.contains("never closed") && !said.contains("half closed for"), "{said}");
        // Its numbers are counted from the first that was acknowledged, as tcpdump does.
        assert!(!said.contains("429496"), "{said}");
        assert!(
            said.contains(if way == ">" { " FIN+ACK 11 ack 22 " } else { " ack 1 ──│" }),
            "{said}"
        );
        let records = closes(&teardown(&["explain", "--json", "-"], input.as_bytes()));
        assert_ne!(records[0]["half_open"], true, "{records:?}");
    }
    // Who never answers at all may as well be gone.
    let alone = said(&["> [S], seq 100", "> [F.], seq 101, ack 0"]);
    assert!(!alone.contains("nothing lost"), "{alone}");
}

#[test]
fn a_simultaneous_close_ends_in_two_acknowledgments() {
    let packets = [
        "> [S], seq 100",
        "< [S.], seq 900, ack 101",
        "> [.], ack 1",
        "> [F.], seq 1, ack 1",
        "< [F.], seq 1, ack 1",
        "> [.], ack 2",
        "< [.], ack 2",
    ];
    let said = said(&packets);
    for wanted in [
        "The client closed first, with FIN; the server closed too, with FIN 1.000 ms later, before \
         that FIN had reached it (a simultaneous close), acknowledged after 1.000 ms more; TIME_WAIT stays \
         with both; clean; nothing lost.",
        "closes too, 1.000 ms later, before that FIN has reached it: a simultaneous close\n",
        "the client has seen the FIN, 1.000 ms later, and stays in TIME_WAIT\n",
        "the server has seen the FIN, 3.000 ms later, and stays in TIME_WAIT\n",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    assert_eq!(said.matches("  connected\n").count(), 1, "{said}");
    // The same once more, from another number, to be worth a finding.
    let again = packets.map(|packet| packet.replace("100", "70100").replace("101", "70101"));
    let both = self::said(&[&packets[..], &again.each_ref().map(String::as_str)].concat());
    let finding =
        "both close with FIN before they have the other's: TIME_WAIT stays with both: 2 of 2";
    assert!(both.contains(finding), "{both}");
}

#[test]
fn who_closes_first_stays_in_time_wait() {
    let packets = [
        "> [S], seq 100",
        "< [S.], seq 900, ack 101",
        "> [.], ack 1",
        "< [F.], seq 1, ack 1",
        "> [.], ack 2",
        "> [F.], seq 1, ack 2",
        "< [.], ack 2",
        "> [F.], seq 1, ack 2",
        "< [.], ack 2",
    ];
    let ladder = said(&packets);
    for wanted in [
        "the client has seen the FIN, 1.000 ms later\n",
        "the server has seen the FIN, 1.000 ms later, and stays in TIME_WAIT\n",
        "the client repeats its FIN: the acknowledgment did not reach it\n",
    ] {
        assert!(ladder.contains(wanted), "{wanted}\n{ladder}");
    }
    // Not where a RST ends it.
    let reset = said(&[&packets[..7], &["< [R.], seq 2, ack 2"]].concat());
    assert!(!reset.contains("TIME_WAIT"), "{reset}");
}

#[test]
fn a_simultaneous_open_is_called_so() {
    let said = said(&[
        "> [S], seq 100",
        "< [S], seq 900",
        "> [S.], seq 100, ack 901",
        "< [S.], seq 900, ack 101",
        "< [S.], seq 900, ack 101",
    ]);
    for wanted in [
        "the server asks as well: a simultaneous open\n",
        "the client accepts after 1.000 ms\n",
        "the server accepts after 3.000 ms\n",
        "the server accepts again\n",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}

#[test]
fn ports_used_again_before_a_close_are_told() {
    let said = said(&[
        "> [S], seq 100",
        "< [S.], seq 900, ack 101",
        "> [.], ack 1",
        "> [S], seq 70000",
        "< [S.], seq 9000, ack 70001",
        "> [.], ack 1",
    ]);
    let another = "Nobody has closed, and another connection began on the same ports.";
    assert!(said.contains(another), "{said}");
    assert!(said.contains("Nobody has closed: open when the capture ends."), "{said}");
}

#[test]
fn a_capture_begun_late_does_not_know_what_came_before() {
    let said = said(&["> [.], ack 22", "> [F.], seq 11, ack 22", "< [.], ack 12"]);
    assert!(!said.contains("having sent nothing") && !said.contains("connected\n"), "{said}");
    assert!(said.contains("open before the capture began"), "{said}");
    assert!(said.contains("the client closes first, with FIN\n"), "{said}");
}

#[test]
fn who_may_have_closed_before_the_capture_began_is_not_accused() {
    let late = ["> [.], ack 22", "> [F.], seq 11, ack 22", "< [.], ack 12"];
    // A minute on, something else ends the capture.
    let later = wire(&WHOLE).replace("10:00", "10:01").replace(".4000", ".4001");
    let said = |packets: &[&str]| {
        let input = wire(packets) + &later;
        let records = closes(&teardown(&["explain", "--json", "-"], input.as_bytes()));
        let half_open = records[0]["half_open"] == true;
        (text(&teardown(&["explain", "--ladder", "-"], input.as_bytes())), half_open)
    };
    let (unknown, half_open) = said(&late);
    let wanted = "; the server may have closed before the capture began; nothing lost.";
    assert!(unknown.contains(wanted) && !half_open, "{unknown}");
    assert!(!unknown.contains("half closed for"), "{unknown}");
    // Its data shows that it had not.
    let (known, half_open) = said(&[&["< [P.], seq 1:22, ack 11"][..], &late].concat());
    assert!(known.contains("leaves connections half closed for 60.0") && half_open, "{known}");
}

#[test]
fn data_that_was_not_captured_was_sent_all_the_same() {
    // As in a recording of control segments.
    for (fin, words) in [
        ("< [F.], seq 901, ack 101", ", having sent nothing\n"),
        ("< [F.], seq 942, ack 119", "\n"),
    ] {
        let said = said(&["> [S], seq 100", "< [S.], seq 900, ack 101", fin]);
        assert!(said.contains(&format!("the server closes first, with FIN{words}")), "{said}");
    }
}

#[test]
fn a_packet_that_was_captured_twice_was_sent_once() {
    // As `-i any` shows it on a host with bridges: at each of two interfaces.
    let twice: String = wire(&WHOLE)
        .lines()
        .flat_map(|line| {
            let copy = line.replace("000 IP", "400 IP");
            [line.replace(" IP ", " veth1 P   IP "), copy.replace(" IP ", " br0 In  IP ")]
        })
        .map(|line| format!("{line}\n"))
        .collect();
    // And as a port of a switch that mirrors both ways.
    let mirrored: String = wire(&WHOLE)
        .lines()
        .flat_map(|line| [line.to_owned(), line.replace("000 IP", "003 IP")])
        .map(|line| format!("{line}\n"))
        .collect();
    for input in [twice, mirrored] {
        let said = text(&teardown(&["explain", "--ladder", "-"], input.as_bytes()));
        assert!(!said.contains("asks again") && !said.contains("not acknowledged"), "{said}");
        assert_eq!(said.matches("the same packet, captured again").count(), 4, "{said}");
        assert!(
            said.contains("data 1:11 ack 1 ") && said.contains("the client sends 10 bytes"),
            "{said}"
        );
    }
    // What is sent again is that: the timer of a SYN is a second, that of a FIN some hundred ms.
    let repeated = wire(&["> [S], seq 100", "> [S], seq 100"]).replace("00.001", "01.000");
    let said = text(&teardown(&["explain", "--ladder", "-"], repeated.as_bytes()));
    assert!(said.contains("the client asks again: no answer yet"), "{said}");
}

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

#[test]
fn lines_that_were_cut_are_told() {
    // As a terminal's width cuts them.
    let cut: String = wire(&WHOLE).lines().map(|line| format!("{line:.87}\n")).collect();
    let said = text(&teardown(&["explain", "-"], cut.as_bytes()));
    assert!(
        said.contains(
            "Note: standard input: 5 packet(s) end before their `length`, the first in line 2"
        ),
        "{said}"
    );
    let said = text(&teardown(&["explain", "-"], wire(&WHOLE).as_bytes()));
    assert!(!said.contains("end before"), "{said}");
}

#[test]
fn a_challenge_and_what_it_asks_for_are_shown() {
    // The client was restarted and takes the same port; the server holds the older connection.
    let ladder = said(&[
        "> [S], seq 100",
        "< [S.], seq 900, ack 101",
        "> [.], ack 1",
        "> [S], seq 70000",
        "< [.], ack 1",
        "> [R], seq 101",
        "> [S], seq 70000",
        "< [S.], seq 9000, ack 70001",
        "> [.], ack 1",
    ]);
    for wanted in [
        "the server holds an older connection on these ports: a challenge ACK\n",
        "the client knows nothing of that one, and resets it\n",
        "the client asks again\n",
        "the server accepts after 4.000 ms\n",
        "  connected\n",
    ] {
        assert!(ladder.contains(wanted), "{wanted}\n{ladder}");
    }
}

#[test]
fn a_socket_that_is_connected_to_itself_is_called_so() {
    let packets = [
        "> [S], seq 100",
        "> [S.], seq 100, ack 101",
        "> [.], ack 1",
        "> [P.], seq 1:11, ack 1",
        "> [.], ack 11",
        "> [F.], seq 11, ack 11",
        "> [.], ack 12",
    ];
    let input = wire(&packets).replace("192.0.2.2.80", "192.0.2.1.4000");
    let said = text(&teardown(&["explain", "--ladder", "-"], input.as_bytes()));
    for wanted in [
        "192.0.2.1:4000 to 192.0.2.1:4000",
        "The socket is connected to itself, and closed with FIN.",
        "a socket is connected to itself: the port that it asked for was given to it as its own; \
         keep that port out of net.ipv4.ip_local_port_range: 1 of 1 (#1)",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    assert!(!said.contains("one direction") && !said.contains("the server"), "{said}");
}

#[test]
fn the_ladder_counts_from_the_data_that_was_last() {
    let ladder = said(&[
        "> [S], seq 100",
        "< [S.], seq 900, ack 101",
        "> [.], ack 1",
        "> [P.], seq 1:11, ack 1",
        "< [P.], seq 1:21, ack 11",
        "> [F.], seq 11, ack 21",
    ]);
    let wanted = "the client closes first, with FIN, 1.000 ms after the server's last data\n";
    assert!(ladder.contains(wanted), "{ladder}");
}

#[test]
fn what_crossed_a_close_is_no_answer_to_it() {
    let open = ["> [S], seq 100", "< [S.], seq 900, ack 101", "> [.], ack 1"];
    // The RST+ACK does not acknowledge the FIN; what answers the FIN is the RST behind it.
    let reset = said(
        &[&open[..], &["< [F.], seq 1, ack 1", "> [R.], seq 1, ack 1", "> [R], seq 101"]].concat(),
    );
    for wanted in [
        "the client reset, with RST+ACK 1.000 ms later, before that FIN had reached it;",
        "the client resets, 1.000 ms later, before that FIN has reached it\n",
        "the client closes open connections with RST",
    ] {
        assert!(reset.contains(wanted), "{wanted}\n{reset}");
    }
    // One that does is the answer.
    let answer = said(&[&open[..], &["< [F.], seq 1, ack 1", "> [R.], seq 1, ack 2"]].concat());
    assert!(answer.contains("the client answered with RST+ACK 1.000 ms later"), "{answer}");
    // Nobody answers a RST.
    let fin = said(&[&open[..], &["> [R.], seq 1, ack 1", "< [F.], seq 1, ack 1"]].concat());
    let crossed = "RST+ACK; the server had sent its FIN before it came, seen 1.000 ms later;";
    assert!(fin.contains(crossed), "{fin}");
}

#[test]
fn what_answers_a_close_or_a_timer_is_no_race() {
    let open = ["> [S], seq 100", "< [S.], seq 900, ack 101", "> [.], ack 1"];
    let data = ["> [P.], seq 1:11, ack 1", "< [P.], seq 1:21, ack 11"];
    let client = ["> [F.], seq 11, ack 21", "< [F.], seq 21, ack 12", "> [.], ack 22"];
    let server = ["< [F.], seq 21, ack 11", "> [F.], seq 11, ack 22", "< [.], ack 12"];
    // A packet every tenth of a millisecond; the second connection waits before it closes.
    let lines =
        |text: String, second: &str| text.replace("10:00:00.", &format!("10:00:{second}.0"));
    let once = |close: &[&str]| wire(&[&open[..], &data, close].concat());
    let told = |pause: bool| {
        let late: String = once(&server)
            .lines()
            .enumerate()
            .map(|(at, line)| {
                let second = if pause && at > 4 { "04" } else { "02" };
                lines(format!("{line}\n"), second).replace(".4000", ".4001")
            })
            .collect();
        let both = lines(once(&client), "00") + &late;
        text(&teardown(&["explain", "-"], both.as_bytes()))
    };
    assert!(told(false).contains("who is first is a race: the client 1 time, the server 1 time "));
    // The server's own timer closes, and races with nothing.
    let paused = told(true);
    assert!(!paused.contains("race"), "{paused}");
}
