//! pcapng blocks that few programs write.

use crate::several::packets;
use crate::{closes, fixture, teardown, text};
use std::io::Write;

/// A pcapng file, little-endian or big-endian.
struct File {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl File {
    /// One section with one Ethernet interface.
    fn new(big_endian: bool) -> Self {
        let mut file = Self { bytes: Vec::new(), big_endian };
        file.section(&[]);
        file.interface(1);
        file
    }

    /// A section header with these options, of which each is a text.
    fn section(&mut self, options: &[(u16, &str)]) {
        let mut header = [self.word(0x1a2b_3c4d), self.halves(1, 0), [0xff; 4], [0xff; 4]].concat();
        for (code, text) in options {
            header.extend(self.halves(*code, text.len() as u16));
            header.extend(text.as_bytes());
            header.resize(header.len().next_multiple_of(4), 0);
        }
        self.block(0x0a0d_0d0a, &header);
    }

    fn interface(&mut self, link: u16) {
        let interface = [self.halves(link, 0), self.word(0)].concat();
        self.block(1, &interface);
    }

    fn word(&self, word: u32) -> [u8; 4] {
        if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() }
    }

    fn halves(&self, first: u16, second: u16) -> [u8; 4] {
        let [[a, b], [c, d]] = [first, second].map(|half| match self.big_endian {
            true => half.to_be_bytes(),
            false => half.to_le_bytes(),
        });
        [a, b, c, d]
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let pad = vec![0; body.len().wrapping_neg() % 4];
        let length = self.word((12 + body.len() + pad.len()) as u32);
        let kind = self.word(kind);
        self.bytes.extend([&kind[..], &length, body, &pad, &length].concat());
    }

    /// The obsolete packet block of a packet of a pcap file.
    fn obsolete(&mut self, interface: u16, packet: &[u8]) {
        let (head, data) = packet.split_at(16);
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("a word"));
        let us = u64::from(word(0)) * 1_000_000 + u64::from(word(4));
        let mut body = self.halves(interface, 0xffff).to_vec();
        for word in [(us >> 32) as u32, us as u32, word(8), word(12)] {
            body.extend(self.word(word));
        }
        body.extend(data);
        self.block(2, &body);
    }
}

#[test]
fn the_obsolete_packet_block_is_read() {
    let whole = fixture("1.4.22__http-server-close__good-pf_c10.back.pcap");
    let capture = std::fs::read(&whole).expect("the fixture");
    let expected = closes(&teardown(&["explain", "--json", &whole.display().to_string()], b""));
    for big_endian in [false, true] {
        let mut file = File::new(big_endian);
        packets(&capture).1.iter().for_each(|packet| file.obsolete(0, packet));
        let found = closes(&teardown(&["explain", "--json", "-"], &file.bytes));
        assert_eq!(found, expected);
        // What is too short for one, or on no interface, is left out and told of.
        file.block(2, &[0; 16]);
        file.obsolete(7, packets(&capture).1[0]);
        let output = teardown(&["explain", "--json", "-"], &file.bytes);
        assert_eq!(closes(&output), expected);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for wanted in [
            "1 packet(s) have impossible headers",
            "1 packet(s) are on an interface that the file does not describe",
        ] {
            assert!(said.contains(wanted), "{said}");
        }
    }
}

#[test]
fn what_comes_behind_a_recording_is_read_whole() {
    let whole = fixture("1.4.22__http-server-close__good-pf_c10.back.pcap");
    let capture = std::fs::read(&whole).expect("the fixture");
    let whole = whole.display().to_string();
    let expected = closes(&teardown(&["explain", "--json", &whole], b""));
    let mut recording = File { bytes: Vec::new(), big_endian: false };
    recording.section(&[(4, "teardown 0"), (1, "control segments only")]);
    let mut sections = File { bytes: recording.bytes.clone(), big_endian: false };
    // The next file, and the next section of the same one.
    let found = closes(&teardown(&["explain", "--json", "-", &whole], &recording.bytes));
    assert_eq!(found, expected);
    sections.section(&[]);
    sections.interface(1);
    packets(&capture).1.iter().for_each(|packet| sections.obsolete(0, packet));
    assert_eq!(closes(&teardown(&["explain", "--json", "-"], &sections.bytes)), expected);
}

#[test]
fn a_copy_at_another_interface_has_no_bytes_of_its_own() {
    let whole = fixture("1.4.22__http-server-close__good-pf_c10.back.pcap");
    let capture = std::fs::read(&whole).expect("the fixture");
    let read = |places: u16| {
        let mut file = File::new(false);
        file.interface(1);
        for packet in packets(&capture).1 {
            (0..places).for_each(|place| file.obsolete(place, packet));
        }
        text(&teardown(&["explain", "--format-out", "eve", "-"], &file.bytes))
    };
    assert_eq!(read(2), read(1));
}

#[test]
fn a_simple_packet_needs_an_interface_too() {
    let whole = fixture("1.4.22__http-server-close__good-pf_c10.back.pcap");
    let capture = std::fs::read(&whole).expect("the fixture");
    let mut file = File { bytes: Vec::new(), big_endian: false };
    file.section(&[]);
    let data = &packets(&capture).1[0][16..];
    file.block(3, &[&(data.len() as u32).to_le_bytes()[..], data].concat());
    let output = teardown(&["explain", "--json", "-"], &file.bytes);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("on an interface that the file does not describe"), "{said}");
}

#[test]
fn an_interface_that_is_described_late_changes_nothing() {
    let whole = fixture("1.4.22__http-server-close__good-pf_c10.back.pcap");
    let capture = std::fs::read(&whole).expect("the fixture");
    let mut packets = packets(&capture).1;
    // The last FIN is repeated, where it was captured before.
    let fin = packets.iter().rposition(|packet| packet[16 + 14 + 20 + 13] & 1 != 0);
    packets.push(packets[fin.expect("a FIN")]);
    let read = |late: bool| {
        let mut file = File::new(false);
        for (number, packet) in packets.iter().enumerate() {
            if late && number == packets.len() - 1 {
                file.interface(1);
            }
            file.obsolete(0, packet);
        }
        closes(&teardown(&["explain", "--json", "-"], &file.bytes))
    };
    assert_eq!(read(true), read(false));
}

#[test]
fn an_unknown_link_type_is_told_of_once() {
    let mut file = File::new(false);
    for _ in 0..3 {
        file.interface(999);
    }
    let output = teardown(&["explain", "--json", "-"], &file.bytes);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("link type 999 is not known here").count(), 1, "{said}");
}

#[test]
fn what_is_wrong_is_named() {
    let file = fixture("1.4.22__http-server-close__good-pf_c10.back.pcap").display().to_string();
    let mut text = tempfile::NamedTempFile::new().expect("a file");
    writeln!(text, "11:17:45.102437 IP 192.0.2.1.4 > 192.0.2.2.80: Flags [S], seq 1, length 0")
        .expect("it is written");
    let text = text.path().display().to_string();
    for (arguments, code, wanted) in [
        (&["-c", "1", "--state", "SF", &file][..], 2, "connection 1 does not pass the filters"),
        (&["-c", "2", "--state", "SF", &file], 2, "no connection 2: they are 1 to 1"),
        (&["--format", "pcap", &text], 1, "it does not begin as a pcap file does"),
    ] {
        let output = teardown(&[&["explain"], arguments].concat(), b"");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(wanted), "{said}");
    }
}
