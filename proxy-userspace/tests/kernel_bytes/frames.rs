//! Frames of recorded captures, and what of a frame a hook is shown.

use std::path::Path;

/// The Ethernet frames of every classic pcap file in a folder, little endian or big.
pub(crate) fn frames_of(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pcap"));
    files.sort();
    let mut frames = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let little = bytes[0] != 0xa1;
        let word = |at: usize| {
            let word = bytes[at..at + 4].try_into().expect("four bytes");
            if little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) }
        };
        if word(20) & 0xffff != 1 {
            continue;
        }
        let mut at = 24;
        while at + 16 <= bytes.len() {
            let length = word(at + 8) as usize;
            let frame = &bytes[at + 16..at + 16 + length];
            // What the kernel takes on the bench: less than a page, with its own overhead.
            frames.push(frame[..length.min(2048)].to_vec());
            at += 16 + length;
        }
    }
    frames
}

/// Whether the kernel takes the frame on the bench: an Ethernet header and, where that speaks of
/// IP, the fixed part of an IP header.
pub(crate) fn is_taken(frame: &[u8]) -> bool {
    frame.len()
        >= match frame.get(12..14) {
            Some([0x08, 0x00]) => 14 + 20,
            Some([0x86, 0xdd]) => 14 + 40,
            _ => 15,
        }
}

/// The frame without its Ethernet header and tags, as a raw-IP device shows it.
pub(crate) fn behind_ethernet(frame: &[u8]) -> &[u8] {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81 | 0x91, 0] | [0x88, 0xa8])) {
        at += 4;
    }
    frame.get(at + 2..).unwrap_or_default()
}
