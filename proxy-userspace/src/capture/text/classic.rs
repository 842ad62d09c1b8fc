//! The lines of tcpdump before 4.0, as tickets from the days of HAProxy 1.4 hold them:
//! `10.0.0.1.80 > 10.0.0.2.4000: F 1:1(0) ack 78 win 5840 <nop,nop,timestamp 7 9> (DF)`.
//!
//! The flags are bare letters and leave ACK out, which shows as `ack`; every segment ends in its
//! window, and the options stand in angle brackets.

use super::printed::{CWR, ECE, Line, decimal};
use memchr::memmem;
use proxy_common::segment::{ACK, FIN, NO_WINDOW_SCALE, PSH, RST, SYN, URG};

/// Where the flags of such a line begin; `None` where it is none.
pub(super) fn flags_at(line: &[u8]) -> Option<usize> {
    // They follow the receiver's address, or the arrow where the addresses were removed.
    let ends = memchr::memchr2_iter(b':', b'>', line);
    ends.map(|end| end + 2).find(|&at| line.get(at - 1) == Some(&b' ') && begins(&line[at..]))
}

/// Whether a text begins with flags and what follows them.
fn begins(text: &[u8]) -> bool {
    let Some((_, rest)) = flags(text) else { return false };
    let rest = without_checksum(rest).0.trim_ascii_start();
    let (number, behind) = decimal(rest);
    number.is_some() && behind.starts_with(b":")
        || rest.starts_with(b"ack ")
        || rest.starts_with(b"win ")
}

/// Whether the text from the flags on is there to its end.
pub(super) fn is_complete(text: &[u8]) -> bool {
    let Some(at) = memmem::find(text, b" win ") else { return false };
    let behind = &text[at + 5..];
    let open = memchr::memchr(b'<', behind);
    behind.first().is_some_and(u8::is_ascii_digit)
        && open.is_none_or(|open| memchr::memchr(b'>', &behind[open..]).is_some())
}

/// Reads what stands from the flags on.
pub(super) fn fields(text: &[u8], parsed: &mut Line<'_>) -> Option<()> {
    let (flags, rest) = flags(text)?;
    parsed.flags = flags;
    let (rest, bad_checksum) = without_checksum(rest);
    parsed.bad_checksum = bad_checksum;
    let rest = rest.trim_ascii_start();
    let (seq, behind) = decimal(rest);
    let mut rest = rest;
    parsed.length = Some(0);
    if let (Some(_), [b':', end @ ..]) = (seq, behind) {
        let (end, behind) = decimal(end);
        let (length, behind) = decimal(behind.strip_prefix(b"(")?);
        (parsed.seq, parsed.seq_end, parsed.length) = (seq, end, length);
        rest = behind;
    }
    let field = |name: &[u8]| {
        let at = memmem::find(rest, name)?;
        decimal(&rest[at + name.len()..]).0
    };
    parsed.window = field(b"win ")? as u16;
    parsed.ack = field(b"ack ");
    if parsed.ack.is_some() {
        parsed.flags |= ACK;
    }
    if field(b" urg ").is_some() {
        parsed.flags |= URG;
    }
    if let Some(at) = memchr::memchr(b'<', rest) {
        let list = &rest[at + 1..];
        options(&list[..memchr::memchr(b'>', list).unwrap_or(list.len())], parsed);
    }
    Some(())
}

/// The flags, and what stands behind them.
fn flags(text: &[u8]) -> Option<(u8, &[u8])> {
    let len = text.iter().position(|byte| matches!(byte, b' ' | b',')).filter(|&len| len > 0)?;
    let (letters, rest) = text.split_at(len);
    // Those of ECN may stand in words behind the letters.
    let (ecn, rest) = match rest {
        [b' ', b'[', b'E', b'C', b'N', b'-', ..] | [b' ', b'[', b'C', b'W', b'R', ..] => {
            let end = memchr::memchr(b']', rest)?;
            let has = |word: &[u8]| memmem::find(&rest[..end], word).is_some();
            let echo = if has(b"ECN-Echo") { ECE } else { 0 };
            (echo | if has(b"CWR") { CWR } else { 0 }, &rest[end + 1..])
        }
        _ => (0, rest),
    };
    if letters == b"." {
        return Some((ecn, rest));
    }
    let flags = letters.iter().try_fold(ecn, |flags, letter| {
        let flag = match letter {
            b'S' => SYN,
            b'F' => FIN,
            b'R' => RST,
            b'P' => PSH,
            b'E' => ECE,
            b'W' => CWR,
            _ => return None,
        };
        Some(flags | flag)
    })?;
    Some((flags, rest))
}

/// Passes over what `-v` says of the checksum, and whether that is bad: `[tcp sum ok]`,
/// `[bad tcp cksum 3e6a (->4f21)!]`, `, cksum 0x1843 (incorrect (-> 0xa237),`.
fn without_checksum(text: &[u8]) -> (&[u8], bool) {
    let text = text.trim_ascii_start();
    if text.starts_with(b"[tcp sum ok]") || text.starts_with(b"[bad tcp cksum ") {
        let end = memchr::memchr(b']', text).map_or(text.len(), |end| end + 1);
        return (&text[end..], text.starts_with(b"[bad"));
    }
    match text.strip_prefix(b", cksum ") {
        Some(told) => {
            let end = memchr::memchr(b',', told).unwrap_or(told.len());
            let bad = memmem::find(&told[..end], b"incorrect").is_some();
            (told.get(end + 1..).unwrap_or_default(), bad)
        }
        None => (text, false),
    }
}

/// Reads `timestamp N N` and `wscale N`.
fn options(list: &[u8], parsed: &mut Line<'_>) {
    for option in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if let Some(values) = option.strip_prefix(b"timestamp ") {
            let (value, rest) = decimal(values);
            let echo = decimal(rest.trim_ascii_start()).0;
            parsed.timestamps = value.zip(echo);
        } else if let Some(shift) = option.strip_prefix(b"wscale ") {
            parsed.window_scale = decimal(shift).0.map_or(NO_WINDOW_SCALE, |s| s.min(14) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::parse;
    use super::*;

    /// (source, destination, flags, (seq, end, length), ack, window) of a line.
    type Told<'a> =
        (&'a str, &'a str, u8, (Option<u32>, Option<u32>, Option<u32>), Option<u32>, u16);

    fn told(line: &str) -> Option<Told<'_>> {
        let parsed = parse(line.as_bytes())?;
        let name = |found: Option<&[u8]>| {
            found.map_or("", |found| {
                let at = found.as_ptr() as usize - line.as_ptr() as usize;
                &line[at..at + found.len()]
            })
        };
        Some((
            name(parsed.source),
            name(parsed.destination),
            parsed.flags,
            (parsed.seq, parsed.seq_end, parsed.length),
            parsed.ack,
            parsed.window,
        ))
    }

    #[test]
    fn the_manuals_own_rlogin() {
        let some = |seq, end, len| (Some(seq), Some(end), Some(len));
        let none = (None, None, Some(0));
        for (line, expected) in [
            (
                "rtsg.1023 > csam.login: S 768512:768512(0) win 4096 <mss 1024>",
                ("rtsg.1023", "csam.login", SYN, some(768_512, 768_512, 0), None, 4096),
            ),
            (
                "csam.login > rtsg.1023: S 947648:947648(0) ack 768513 win 4096 <mss 1024>",
                (
                    "csam.login",
                    "rtsg.1023",
                    SYN | ACK,
                    some(947_648, 947_648, 0),
                    Some(768_513),
                    4096,
                ),
            ),
            (
                "rtsg.1023 > csam.login: . ack 1 win 4096",
                ("rtsg.1023", "csam.login", ACK, none, Some(1), 4096),
            ),
            (
                "rtsg.1023 > csam.login: P 1:2(1) ack 1 win 4096",
                ("rtsg.1023", "csam.login", PSH | ACK, some(1, 2, 1), Some(1), 4096),
            ),
            (
                "csam.login > rtsg.1023: P 3:4(1) ack 21 win 4077 urg 1",
                ("csam.login", "rtsg.1023", PSH | ACK | URG, some(3, 4, 1), Some(21), 4077),
            ),
        ] {
            assert_eq!(told(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_the_years_put_around_it() {
        for line in [
            "14:28:31.182923 IP 10.0.0.1.46893 > 10.0.0.2.80: F 735:735(0) ack 1 win 5840 <nop,nop,timestamp 7 9>",
            "14:28:31.182923 10.0.0.1.46893 > 10.0.0.2.80: F 735:735(0) ack 1 win 5840 <nop,nop,timestamp 7 9> (DF)",
            "14:28:31.182923 eth0 > 10.0.0.1.46893 > 10.0.0.2.80: F 735:735(0) ack 1 win 5840 <nop,nop,timestamp 7 9> (DF) (ttl 64, id 0)",
            "14:28:31.182923 0:b0:d0:e9:4a:34 0:60:97:f:86:ca 0800 60: 10.0.0.1.46893 > 10.0.0.2.80: F [tcp sum ok] 735:735(0) ack 1 win 5840 <nop,nop,timestamp 7 9> (DF) [tos 0x10]  (ttl 64, id 22940, len 40)",
            "14:28:31.182923 00:01:02:ac:0d:bb > 00:11:22:33:44:55, ethertype IPv4 (0x0800), length 74: IP 10.0.0.1.46893 > 10.0.0.2.80: F 735:735(0) ack 1 win 5840 <nop,nop,timestamp 7 9>",
            "IP (tos 0x0, ttl 64, id 7514, offset 0, flags [DF], proto TCP (6), length 60) 10.0.0.1.46893 > 10.0.0.2.80: F, cksum 0x0dcf (correct), 735:735(0) ack 1 win 5840 <nop,nop,timestamp 7 9>",
        ] {
            let some = (Some(735), Some(735), Some(0));
            let expected = ("10.0.0.1.46893", "10.0.0.2.80", FIN | ACK, some, Some(1), 5840);
            assert_eq!(told(line), Some(expected), "{line}");
            assert_eq!(parse(line.as_bytes()).unwrap().timestamps, Some((7, 9)), "{line}");
        }
        let bad = "a.1 > b.2: . [bad tcp cksum 3e6a (->4f21)!] ack 1 win 5840 (DF)";
        assert!(parse(bad.as_bytes()).unwrap().bad_checksum);
        let scale = "a.1 > b.2: S 5:5(0) win 5840 <mss 1460,sackOK,timestamp 61612 0,nop,wscale 5>";
        assert_eq!(parse(scale.as_bytes()).unwrap().window_scale, 5);
        let ecn = told("a.1 > b.2: S [ECN-Echo,CWR] 1000:1000(0) win 5840 <mss 1460>").unwrap();
        assert_eq!((ecn.2, ecn.3), (SYN | 0xc0, (Some(1000), Some(1000), Some(0))));
        let echo = told("a.1 > b.2: . [ECN-Echo] ack 1 win 5840 (DF)").unwrap();
        assert_eq!((echo.2, echo.4), (ACK | 0x40, Some(1)));
        let removed = told("11:00:00.1 IP > R 5:5(0) win 0").unwrap();
        assert_eq!((removed.0, removed.1, removed.2), ("", "", RST));
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "20:27:21.667027 IP 192.0.2.1.53 > 192.0.2.36.32773: 63229 1/5/5 A ostg.com (233)",
            "a.1 > b.2: P",
            "a.1 > b.2: S 1:1 of all",
            "the state is: S ack ",
            "> P 1:2(3",
            "10:00:00.1 IP a.1 > b.2: tcp 0",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
        assert!(!is_complete(b"S 5:5(0) win 5840 <mss 1460,sackOK,timestamp"));
        assert!(is_complete(b"S 5:5(0) win 5840 <mss 1460>"));
    }
}
