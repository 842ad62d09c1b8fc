//! Several captures read as one: of the same minute at two places, and one that was rotated.

use crate::{closes, comparable, fixture, tcpdump, teardown, text, text_of};
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
