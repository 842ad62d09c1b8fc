//! `teardown diff`: what changed between two captures, or two folders of them.

use crate::{fixture, teardown, text_of, wire};
use serde_json::Value;
use std::io::Write;

#[test]
fn the_thread_is_answered() {
    let old = fixture("1.4.22__thread-config__pf__production.back.pcap").display().to_string();
    let new = fixture("1.5.4__thread-config__pf__production.back.pcap").display().to_string();
    let output = teardown(&["diff", &old, &new], b"");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let said = text_of(&output);
    for wanted in [
        "when the server closes first, the client answers with FIN instead of with RST+ACK: the \
         passive close changed as from HAProxy 1.4 to 1.5 (5 of 5 now, 0 of 5 before)",
        "TIME_WAIT stays with the server more often (5 of 5 now, 0 of 5 before)",
        "'10.9.2.1 passive rst'",
        "RST+ACK 32 ack 598",
        "FIN+ACK 32 ack 598",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    let same = teardown(&["diff", &old, &old], b"");
    assert_eq!(same.status.code(), Some(0));
    assert!(text_of(&same).contains("Nothing changed."));
    let json = teardown(&["diff", "--json", "--by", "all", &old, &new], b"");
    assert_eq!(json.status.code(), Some(1));
    let all = text_of(&teardown(&["diff", "--by", "all", &old, &new], b""));
    assert!(all.contains("teardown watch --policy 'ADDR[:PORT] passive rst'"), "{all}");
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let backends = json["backends"].as_array().expect("a list");
    assert_eq!(backends.len(), 1);
    assert_eq!(backends[0]["old"]["kinds"]["resp fin, orig rst_ack"], 10);
    assert_eq!(backends[0]["new"]["kinds"]["resp fin, orig fin"], 10);
    assert_eq!(backends[0]["said"][0]["old_way_back"], "passive rst");
    let mapped = [
        "diff",
        "--json",
        "--map",
        "10.9.2.1:8000=10.9.2.1:8020",
        "--map",
        "10.9.2.3:8000=10.9.2.3:8020",
        &old,
        &new,
    ];
    let json: Value = serde_json::from_slice(&teardown(&mapped, b"").stdout).expect("JSON");
    assert_eq!(json["backends"][0]["backend"], "10.9.2.1:8020");
    assert_eq!(json["backends"][0]["old"]["connections"], 5);
    for wrong in
        [&["diff", "/nonexistent", &new][..], &["diff", &old], &["diff", "--map", "x", &old, &new]]
    {
        assert_eq!(teardown(wrong, b"").status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn folders_are_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    for version in ["1.4.22", "1.5.4"] {
        std::fs::create_dir(folder.path().join(version)).expect("a folder");
        for kind in ["pf", "dodgy"] {
            // Beside each capture lies its text, which must not count again.
            for end in ["pcap", "txt"] {
                let name = format!("{version}__thread-config__{kind}__production.back.{end}");
                std::fs::copy(fixture(&name), folder.path().join(version).join(&name))
                    .expect(&name);
            }
        }
        std::fs::write(folder.path().join(version).join("README.md"), "notes").expect("a note");
    }
    let [old, new] = ["1.4.22", "1.5.4"].map(|v| folder.path().join(v).display().to_string());
    let output = teardown(&["diff", "--json", "--by", "address", &old, &new], b"");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let connections = |backend: &Value| backend["old"]["connections"].as_u64().expect("a count");
    let sum: u64 = json["backends"].as_array().expect("a list").iter().map(connections).sum();
    assert_eq!(sum, 20);
}

#[test]
fn a_longer_half_close_is_a_change() {
    // Everybody closes as before, the client first; only the server takes 70 s for its answer.
    let [old, new] = ["check-l4__good-pf", "httpclose__dodgy_c10"]
        .map(|case| fixture(&format!("1.4.22__{case}.back.pcap")).display().to_string());
    for (old, new, code) in [(&old, &new, 1), (&new, &old, 1), (&new, &new, 0)] {
        let output = teardown(&["diff", old, new], b"");
        assert_eq!(output.status.code(), Some(code), "{}", text_of(&output));
        assert_eq!(text_of(&output).contains("half closed for "), code == 1);
    }
    let said = text_of(&teardown(&["diff", &old, &new], b""));
    assert!(said.contains("half closed for 69.999 s now, for 0."), "{said}");
    assert!(said.contains("10.9.2.1 half-close 5s'"), "{said}");
}

#[test]
fn some_that_stay_half_closed_are_a_change() {
    // Twenty connections that the server closes; `late` of its FINs are answered after 3 s.
    let capture = |late: usize| {
        let mut lines = Vec::new();
        for n in 0..20 {
            let (client, server) = (format!("10.0.0.1.{}", 40_000 + n), "10.0.0.2.80");
            let mut say = |at: usize, from: &str, to: &str, what: &str| {
                let us = n * 1000 + at;
                let time = format!("12:00:{:02}.{:06}", us / 1_000_000, us % 1_000_000);
                lines.push(format!("{time} IP {from} > {to}: Flags {what}, win 512, length 0\n"));
            };
            let answer = if n < late { 3_000_000 } else { 500 };
            say(0, &client, server, "[S], seq 100");
            say(10, server, &client, "[S.], seq 300, ack 101");
            say(20, &client, server, "[.], ack 301");
            say(30, server, &client, "[F.], seq 301, ack 101");
            say(answer, &client, server, "[F.], seq 101, ack 302");
            say(answer + 10, server, &client, "[.], ack 102");
        }
        lines.sort();
        lines.concat()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = |late: usize| {
        let path = folder.path().join(format!("{late}.txt"));
        std::fs::write(&path, capture(late)).expect("a text");
        path.display().to_string()
    };
    let (none, one, four) = (file(0), file(1), file(4));
    let output = teardown(&["diff", &none, &four], b"");
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    let more = "more are half closed for a second or longer (4 of 20 now, 0 of 20 before)";
    assert!(text_of(&output).contains(more), "{}", text_of(&output));
    assert!(text_of(&output).contains("10.0.0.2:80 close-wait 5s'"), "{}", text_of(&output));
    let back = text_of(&teardown(&["diff", &four, &none], b""));
    assert!(back.contains("fewer are half closed") && !back.contains("old way"), "{back}");
    let same = teardown(&["diff", &none, &one], b"");
    assert_eq!(same.status.code(), Some(0), "{}", text_of(&same));
    let json = teardown(&["diff", "--json", "--tolerance", "4", &none, &one], b"");
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["backends"][0]["new"]["half_closed_long"], 1);
    assert_eq!(json["backends"][0]["changed"], true);
}

#[test]
fn what_cannot_be_compared_is_no_answer() {
    let capture = fixture("1.4.22__thread-config__pf__production.back.pcap");
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.pcap").display().to_string();
    std::fs::write(&empty, &std::fs::read(&capture).expect("the fixture")[..24]).expect("a file");
    let capture = capture.display().to_string();
    for (wrong, why) in [
        (&["diff", "--port", "9", &capture, &capture][..], "no connection of either capture"),
        (&["diff", &empty, &capture], "empty.pcap: no TCP connection is in it"),
        (&["diff", &capture, &empty], "empty.pcap: no TCP connection is in it"),
    ] {
        let output = teardown(wrong, b"");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{said}");
    }
    // One of them may have none that passes: then something has come, or has gone.
    let fresh = [
        "diff",
        "--state",
        "SF",
        &capture,
        &fixture("1.5.4__thread-config__pf__production.back.pcap").display().to_string(),
    ]
    .map(String::from);
    let fresh: Vec<&str> = fresh.iter().map(String::as_str).collect();
    assert_eq!(teardown(&fresh, b"").status.code(), Some(1));
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_teardown"))
        .args(["diff", &capture, &capture])
        .stdout(full)
        .status()
        .expect("it runs");
    assert_eq!(status.code(), Some(2), "what was not written is no answer either");
}

#[test]
fn a_folder_of_texts_holds_what_explain_reads() {
    let capture = fixture("1.4.22__http-server-close__good-pf_c10.back.pcap");
    let lines = crate::tcpdump(&capture, &["-n"]);
    let before_4 = "16:48:49.844750 IP 192.0.2.1.34018 > 192.0.2.2.80: S 1:1(0) win 5840\n";
    let late = format!("{}{lines}", "what was said before the capture\n".repeat(1000));
    for text in [lines.as_str(), before_4, &late] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.txt"), text).expect("a text");
        std::fs::write(folder.path().join("README"), "notes\n").expect("a note");
        let folder = folder.path().display().to_string();
        let output = teardown(&["diff", &folder, &folder], b"");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
    }
}

/// Ten connections, a second apart: each packet with its milliseconds.
fn ten(packets: &[(u64, &str)]) -> tempfile::NamedTempFile {
    let mut lines = Vec::new();
    for n in 0..10 {
        let [client, server] = [&*format!("10.0.0.1.{}", 40_000 + n), "10.0.0.2.80"];
        for (ms, packet) in packets {
            let (way, what) = packet.split_once(' ').expect("a way and a packet");
            let [from, to] = if way == ">" { [client, server] } else { [server, client] };
            let at = n * 1000 + ms;
            let time = format!("12:00:{:02}.{:03}000", at / 1000, at % 1000);
            let (first, end) = what.split_once("seq ").map_or(("0", "0"), |(_, numbers)| {
                let numbers = numbers.split(',').next().expect("a number");
                numbers.split_once(':').unwrap_or((numbers, numbers))
            });
            let [first, end] = [first, end].map(|number| number.parse::<u32>().expect("a number"));
            let length = end - first;
            lines
                .push(format!("{time} IP {from} > {to}: Flags {what}, win 512, length {length}\n"));
        }
    }
    lines.sort();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(lines.concat().as_bytes()).expect("it is written");
    file
}

const SYN: (u64, &str) = (0, "> [S], seq 100");
const SYN_ACK: (u64, &str) = (1, "< [S.], seq 900, ack 101");
const OPEN: (u64, &str) = (2, "> [.], ack 901");

fn compared(old: &[(u64, &str)], new: &[(u64, &str)]) -> String {
    let [old, new] = [ten(old), ten(new)];
    let [old, new] = [&old, &new].map(|file| file.path().display().to_string());
    let output = teardown(&["diff", &old, &new], b"");
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    text_of(&output)
}

#[test]
fn connections_that_come_to_nothing_are_named() {
    let served = [
        SYN,
        SYN_ACK,
        OPEN,
        (3, "< [F.], seq 901, ack 101"),
        (4, "> [F.], seq 101, ack 902"),
        (5, "< [.], ack 102"),
    ];
    let refused = [SYN, (1, "< [R.], seq 0, ack 101")];
    let said = compared(&served, &refused);
    assert!(
        said.contains("- more connections are refused (10 of 10 now, 0 of 10 before)"),
        "{said}"
    );
    assert!(!said.contains("closing first"), "{said}");
    let said = compared(&served, &[SYN, (900, SYN.1)]);
    assert!(
        said.contains("- more connections are not answered (10 of 10 now, 0 of 10 before)"),
        "{said}"
    );
    let said = compared(&served, &[SYN, SYN_ACK, OPEN]);
    assert!(
        said.contains("- more connections are open when the capture ends (10 of 10 now"),
        "{said}"
    );
    // A server that resets what it has served is another thing than one that refuses.
    let reset = [SYN, SYN_ACK, OPEN, (3, "< [R.], seq 901, ack 101")];
    let said = compared(&reset, &refused);
    assert!(
        said.contains("- more connections are refused (10 of 10 now, 0 of 10 before)"),
        "{said}"
    );
    let said = compared(&refused, &reset);
    assert!(
        said.contains("- fewer connections are refused (0 of 10 now, 10 of 10 before)"),
        "{said}"
    );
}

#[test]
fn who_leaves_connections_half_closed_gets_the_rule() {
    let client = |answer: u64| {
        [
            SYN,
            SYN_ACK,
            OPEN,
            (3, "< [F.], seq 901, ack 101"),
            (4, "> [.], ack 902"),
            (answer, "> [F.], seq 101, ack 902"),
            (answer + 1, "< [.], ack 102"),
        ]
    };
    let said = compared(&client(5), &client(9000));
    assert!(said.contains("half closed for 8.997 s now, for 2.000 ms before (median)"), "{said}");
    assert!(
        said.contains("10.0.0.2:80 close-wait 5s'") && !said.contains("half-close 5s"),
        "{said}"
    );
    // Who closes with RST at once leaves nothing half closed, not for 0 ms either.
    let reset = [SYN, SYN_ACK, OPEN, (3, "> [R.], seq 101, ack 901")];
    let said = compared(&client(9000), &reset);
    assert!(said.contains("half closed no more, for 8.997 s before (median)"), "{said}");
}

#[test]
fn who_is_reset_at_once_has_left_nothing_half_closed() {
    let client = (3, "> [F.], seq 101, ack 901");
    let closed = (4, "< [F.], seq 901, ack 102");
    let answered = [SYN, SYN_ACK, OPEN, client, closed, (5, "> [.], ack 902")];
    let reset = [SYN, SYN_ACK, OPEN, client, (4, "< [.], ack 102"), (5, "> [R], seq 102")];
    let said = compared(&answered, &reset);
    let wanted = "- when the client closes first with FIN, the server does not close, where it \
                  answered with FIN (10 of 10 now, 0 of 10 before)";
    assert!(said.contains(wanted), "{said}");
    assert!(!said.contains("half-close"), "{said}");
    let back = compared(&reset, &answered);
    assert!(back.contains("the server answers with FIN instead of not at all (10 of 10"), "{back}");
}

#[test]
fn data_that_is_lost_now_is_a_change() {
    // Both close by the client's RST; only one of them lets the response come first.
    let asked = [SYN, SYN_ACK, OPEN, (3, "> [P.], seq 101:111, ack 901")];
    let answer = [(4, "< [P.], seq 901:921, ack 111"), (5, "< [P.], seq 921:931, ack 111")];
    let [taken, lost] = [931, 921].map(|ack| (6, format!("> [R.], seq 111, ack {ack}")));
    let [old, new] =
        [&taken, &lost].map(|(at, reset)| [&asked[..], &answer, &[(*at, reset.as_str())]].concat());
    let said = compared(&old, &new);
    assert!(said.contains("- more connections lose data (10 of 10 now, 0 of 10 before)"), "{said}");
}

#[test]
fn what_explain_tells_apart_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, packets: &[&str]| {
        let path = folder.path().join(name);
        std::fs::write(&path, wire(packets)).expect("it is written");
        path.display().to_string()
    };
    let opened = ["> [S], seq 100", "< [S.], seq 900, ack 101", "> [.], ack 1"];
    let diff = |old: &str, new: &str| text_of(&teardown(&["diff", old, new], b""));
    // The server is not captured, or does not answer.
    let deaf = write("deaf", &["> [S], seq 100", "> [S], seq 100"]);
    let unseen =
        write("unseen", &[opened[0], "> [.], seq 101, ack 901", "> [.], seq 101, ack 950"]);
    let said = diff(&deaf, &unseen);
    assert!(said.contains("fewer connections are not answered (0 of 1 now"), "{said}");
    assert!(said.contains("captured in one direction alone (1 of 1 now"), "{said}");
    assert!(!said.contains("are open when the capture ends"), "{said}");
    // Both close at once, or one after the other.
    let after = ["> [F.], seq 1, ack 1", "< [F.], seq 1, ack 2", "> [.], ack 2"];
    let at_once = ["> [F.], seq 1, ack 1", "< [F.], seq 1, ack 1", "> [.], ack 2", "< [.], ack 2"];
    let after = write("after", &[&opened[..], &after].concat());
    let at_once = write("at_once", &[&opened[..], &at_once].concat());
    let said = diff(&after, &at_once);
    assert!(said.contains("TIME_WAIT stays with both more often (1 of 1 now, 0 of 1"), "{said}");
}

#[test]
fn what_cannot_be_read_in_a_folder_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = fixture("1.4.22__httpclose__dodgy_c10.back.pcap");
    let add = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("it is written");
    };
    std::fs::copy(&capture, folder.path().join("a.pcap")).expect("a copy");
    add("README", b"These are captures.\n");
    add("empty", b"");
    add("b.snoop", b"snoop\0\0\0\0\0\0\x02");
    let paths = [folder.path(), &capture].map(|path| path.display().to_string());
    let diff = || teardown(&["diff", &paths[0], &paths[1]], b"");
    let output = diff();
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("passed over").count(), 1, "{said}");
    assert!(said.contains("b.snoop: it is a snoop file; convert it"), "{said}");
    // What may be half of the capture is not left out.
    let broken = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0xff; 32]].concat();
    add("c.pcap.gz", &broken);
    let output = diff();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot read") && said.contains("c.pcap.gz"), "{said}");
}
