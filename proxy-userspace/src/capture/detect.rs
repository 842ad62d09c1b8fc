//! What kind of capture a stream is, by its first bytes.

use super::text::{clock, packet};
use super::utf16;
use clap::ValueEnum;

/// The kinds that can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// libpcap's format, with microseconds or nanoseconds, in either byte order.
    #[default]
    Pcap,
    /// The pcapng format.
    Pcapng,
    /// What tcpdump prints.
    Text,
}

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// The first bytes that tell the kind; a text may take all of them to be told.
pub const LOOK: usize = 16_384;

/// The compression of a stream that begins with `head`.
#[must_use]
pub fn compression(head: &[u8]) -> Option<Compression> {
    match head {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
        // A skippable frame may come first (RFC 8878, 3.1.2).
        [low, 0x2a, 0x4d, 0x18, ..] if low & 0xf0 == 0x50 => Some(Compression::Zstd),
        _ => None,
    }
}

/// The kind of a stream that begins with `head`, decompressed.
///
/// # Errors
/// What it is instead, and what would be right.
pub fn kind(head: &[u8]) -> Result<Kind, String> {
    match head {
        [] => return Err("it is empty".into()),
        [0xd4, 0xc3, 0xb2, 0xa1, ..]
        | [0xa1, 0xb2, 0xc3, 0xd4, ..]
        | [0x4d, 0x3c, 0xb2, 0xa1, ..]
        | [0xa1, 0xb2, 0x3c, 0x4d, ..]
        | [0x34, 0xcd, 0xb2, 0xa1, ..]
        | [0xa1, 0xb2, 0xcd, 0x34, ..] => return Ok(Kind::Pcap),
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => return Ok(Kind::Pcapng),
        _ => {}
    }
    if let Some(format) = foreign_binary(head) {
        return Err(format!("it is {format}; convert it with `editcap -F pcapng`"));
    }
    if let Some(encoding) = utf16::unmarked(head) {
        return Err(format!(
            "it is text in UTF-16 without a byte order mark; convert it with \
             `iconv -f {encoding} -t UTF-8`"
        ));
    }
    if head.contains(&0) {
        return Err("it is neither a pcap or pcapng file nor the text of tcpdump".into());
    }
    match foreign_text(head) {
        Some(what) => Err(what),
        None => Ok(Kind::Text),
    }
}

/// Whether the first lines that came of a text tell how it is to be read, or what else it is.
pub(super) fn tells_text(head: &[u8]) -> bool {
    let end = head.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let lines = &head[..end];
    match kind(lines) {
        Ok(Kind::Text) => tells_packet(lines) && clock::is_told(lines),
        Ok(_) => false,
        Err(_) => !lines.is_empty(),
    }
}

/// Formats of other tools that Wireshark's editcap converts.
fn foreign_binary(head: &[u8]) -> Option<&'static str> {
    const MAGICS: [(&[u8], &str); 5] = [
        (b"snoop\0\0\0", "a snoop file"),
        (b"RTSS", "a Network Monitor file"),
        (b"GMBU", "a Network Monitor file"),
        (b"TRSNIFF data", "a Sniffer file"),
        (b"\x7fver", "an EtherPeek file"),
    ];
    MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name)
}

/// Whether a line of tcpdump's with a TCP packet is among those of `text`.
pub(super) fn tells_packet(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"Flags [").is_some()
        || text.split(|byte| b"\r\n".contains(byte)).any(|line| packet::parse(line).is_some())
}

/// Texts of other tools, known by their first lines.
fn foreign_text(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    if tells_packet(head) {
        return None;
    }
    text.lines().take(40).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let has = |wanted: &str| words.contains(&wanted);
        if has("Recv-Q") && has("Send-Q") {
            return Some(
                "it is the table of `ss` or `netstat`: sockets as they stand, without the \
                 segments that tell how they close; capture with `tcpdump -w FILE tcp`"
                    .into(),
            );
        }
        let arrow = has("→") || has("->");
        if arrow && has("TCP") || line.contains(" [SYN]") || line.contains(" [FIN, ACK]") {
            return Some(
                "it is the text of tshark or Wireshark, which leaves out what a close needs; \
                 give the capture itself, or `tcpdump -n -r FILE`"
                    .into(),
            );
        }
        (line.trim_start().starts_with("<?xml")).then(|| {
            "it is XML (`tshark -T pdml`?); give the capture itself, or `tcpdump -n -r FILE`".into()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magics_tell_the_kind() {
        assert_eq!(kind(&[0x4d, 0x3c, 0xb2, 0xa1, 2, 0]), Ok(Kind::Pcap));
        assert_eq!(kind(&[0x0a, 0x0d, 0x0d, 0x0a]), Ok(Kind::Pcapng));
        assert_eq!(kind(b"11:17:45.102437 IP > Flags [S], seq 1"), Ok(Kind::Text));
        assert_eq!(compression(&[0x28, 0xb5, 0x2f, 0xfd]), Some(Compression::Zstd));
        assert_eq!(compression(&[0x1f, 0x8b, 8]), Some(Compression::Gzip));
    }

    #[test]
    fn other_tools_are_refused_kindly() {
        let ss = b"State  Recv-Q Send-Q Local Address:Port Peer Address:Port\nESTAB 0 0 1.2.3.4:5";
        assert!(kind(ss).unwrap_err().contains("ss"));
        let tshark = "    1   0.000000 10.0.0.1 → 10.0.0.2 TCP 74 34754 → 80 [SYN] Seq=0 Win=64240";
        assert!(kind(tshark.as_bytes()).unwrap_err().contains("tshark"));
        assert!(kind(b"snoop\0\0\0\0\0\0\x02").unwrap_err().contains("snoop"));
        assert!(kind(b"1\x001\0:\x000\0").unwrap_err().contains("UTF-16LE"));
        assert!(kind(b"\x001\x001\0:\x000").unwrap_err().contains("UTF-16BE"));
        assert!(kind(b"\x7fELF\0\0").unwrap_err().contains("neither"));
        assert!(kind(b"").is_err());
    }
}
