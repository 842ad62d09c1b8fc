//! Several captures read as one: of the same minute at two places, and one that was rotated.

use crate::{
    closes, comparable, fixture, fixtures, tcpdump, teardown, text, text_of, wire,
    without_addresses,
};
use std::path::Path;

/// The global header of a pcap file, and its packets with their headers.
pub(crate) fn packets(capture: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (header, mut rest) = capture.split_at(24);
    let mut packets = Vec::new();
    while rest.len() >= 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().expect("four bytes")) as usize;
        let (packet, behind) = rest.split_at(16 + length);
        packets.push(packet);
        rest = behind;
    }
    (header, packets)
}

#[test]
fn captures_of_the_same_minute_keep_their_times() {
    let [front, back] =
        ["front", "back"].map(|side| fixture(&format!("1.4.22__httpclose__dodgy_c10.{side}.pcap")));
    let path = |path: &Path| path.display().to_string();
    let alone = [&front, &back]
        .map(|file| closes(&teardown(&["explain", "--json", &path(file)], b"")).remove(0));
    let both = closes(&teardown(&["explain", "--json", &path(&front), &path(&back)], b""));
    assert_eq!(both, alone);
    let turned = closes(&teardown(&["explain", "--json", &path(&back), &path(&front)], b""));
    assert_eq!(turned, [alone[1].clone(), alone[0].clone()]);
    // The same as two texts one behind the other, of which the second begins before the first ends.
    let pasted = format!("{}{}", tcpdump(&back, &["-n"]), tcpdump(&front, &["-n"]));
    let output = teardown(&["explain", "--json", "-"], pasted.as_bytes());
    assert_eq!(comparable(&closes(&output), true), comparable(&turned, true));
    let note = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(note.contains("its times go back by 75.001 s at line 12"), "{note}");
}

#[test]
fn a_connection_in_two_captures_of_the_same_minute_repeats_nothing() {
    let capture = fixture("1.4.22__httpclose__dodgy_c10.back.pcap").display().to_string();
    let explain = |files: &[&str]| {
        text(&teardown(&[&["explain", "--format-out", "eve"], files].concat(), b""))
    };
    assert_eq!(explain(&[&capture, &capture]), explain(&[&capture]));
    let said = text(&teardown(&["explain", "--ladder", &capture, &capture], b""));
    assert!(
        said.contains("the same packet, captured again") && !said.contains("repeats"),
        "{said}"
    );
}

#[test]
fn names_of_two_texts_stay_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let read = |texts: [String; 2]| {
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        let paths = [0, 1].map(|at| {
            std::fs::write(&paths[at], &texts[at]).expect("it is written");
            paths[at].display().to_string()
        });
        let closes = closes(&teardown(&["explain", "--json", &paths[0], &paths[1]], b""));
        let ends = closes.iter().map(|close| {
            ["orig", "resp"].map(|end| close[end].as_str().expect("an end").to_owned())
        });
        ends.collect::<Vec<_>>()
    };
    let whole = wire(&["> [S], seq 100", "< [S.], seq 900, ack 101", "> [R], seq 101"]);
    let named = |client: &str, server: &str| {
        whole
            .replace("192.0.2.1.", &format!("{client}."))
            .replace("192.0.2.2.", &format!("{server}."))
    };
    let found = read([named("anna", "web"), named("bert", "db")]);
    assert_eq!(found, [["anna:4000", "web:80"], ["bert:4000", "db:80"]]);
    // The same name is the same end, and what was removed is another's each time.
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let parts = [lines[..2].concat(), lines[2..].concat()];
    let parts = parts.map(|part| part.replace("192.0.2.1.", "anna.").replace("192.0.2.2.", "web."));
    assert_eq!(read(parts), [["anna:4000", "web:80"]]);
    let bare = without_addresses(&whole);
    assert_eq!(read([bare.clone(), bare]), [["client-1", "server"], ["client-2", "server"]]);
}

#[test]
fn a_folder_may_be_one_capture_that_was_rotated() {
    let whole = fixture("1.4.22__thread-config__pf__production.back.pcap");
    let capture = std::fs::read(&whole).expect("the fixture");
    let (header, packets) = packets(&capture);
    let folder = tempfile::tempdir().expect("a folder");
    // Eleven parts, so that the third comes behind the eleventh by name.
    for (number, part) in packets.chunks(packets.len().div_ceil(11)).enumerate() {
        let file = folder.path().join(format!("a.pcap{}", number + 1));
        std::fs::write(file, [header, &part.concat()].concat()).expect("a part");
    }
    let [whole, parts] = [&whole, folder.path()].map(|path: &Path| path.display().to_string());
    let output = teardown(&["diff", &whole, &parts], b"");
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert!(text(&output).contains("Nothing changed."));
}

#[test]
fn a_name_does_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a b\u{1b}[31m\n.pcap");
    std::fs::copy(fixture("1.4.22__httpclose__dodgy_c10.back.pcap"), &file).expect("a copy");
    let path = file.display().to_string();
    let missing = folder.path().join("\u{1b}c").display().to_string();
    for arguments in [
        &["explain", &path][..],
        &["explain", &missing],
        &["diff", &path, &path],
        &["diff", &path, &missing],
    ] {
        let output = teardown(arguments, b"");
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.contains(&0x1b), "{}", String::from_utf8_lossy(&said));
        assert!(memchr::memmem::find(&said, b"\\u{1b}").is_some(), "{}", said.escape_ascii());
    }
}

#[test]
fn many_ladders_begin_with_the_first() {
    let files: Vec<String> = fixtures().iter().map(|path| path.display().to_string()).collect();
    let arguments = ["explain", "--ladder"].into_iter().chain(files.iter().map(String::as_str));
    let said = text(&teardown(&arguments.collect::<Vec<_>>(), b""));
    let mut lines = said.lines();
    assert!(lines.next().is_some_and(|line| line.trim_start().starts_with("# ")), "{said}");
    assert!(lines.next().is_some_and(|line| line.trim_start().starts_with("1 ")), "{said}");
    assert_eq!(said.matches("# Time").count(), 1, "{said}");
}

#[test]
fn all_lines_come_in_the_order_of_the_ends() {
    let files: Vec<String> = fixtures().iter().map(|path| path.display().to_string()).collect();
    let explain = |form| {
        let arguments = ["explain", form].into_iter().chain(files.iter().map(String::as_str));
        teardown(&arguments.collect::<Vec<_>>(), b"")
    };
    let ends = closes(&explain("--json")).into_iter();
    let ends: Vec<String> =
        ends.map(|close| close["orig"].as_str().expect("an end").to_owned()).collect();
    let said = text(&explain("--all"));
    let lines = said.lines().skip(1).take(ends.len());
    let shown: Vec<&str> = lines.filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(shown, ends);
    // What is found is shown by the first connections, whenever they ended.
    assert!(said.contains("18 of 19 (#55, #57, #59, #61, #63 and 13 more)"), "{said}");
}
