//! What one line of tcpdump's says, as it says it.

use super::classic;
use super::printed::{CWR, ECE, Line, decimal};
use super::stamp::Stamp;
use memchr::memmem::Finder;
use proxy_common::segment::{ACK, FIN, NO_WINDOW_SCALE, PSH, RST, SYN, URG};
use std::sync::LazyLock;

/// Where the bracket of a TCP packet's flags opens, which its line has since tcpdump 4.0. They stand
/// behind the receiver, or behind the arrow where the addresses were removed; those of a tunnel
/// around it (`GREv0, Flags [none]`) do not.
fn flags_at(line: &[u8]) -> Option<usize> {
    static FLAGS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"Flags ["));
    FLAGS.find_iter(line).find(|&at| matches!(line[..at].trim_ascii_end(), [.., b':' | b'>']))
}

/// Whether a text is of ICMP: what `-v` quotes in it is no packet that was seen.
pub(super) fn is_icmp(text: &[u8]) -> bool {
    static ICMP: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" ICMP"));
    ICMP.find_iter(text).any(|at| {
        // `: ICMP host …`, `: [icmp6 sum ok] ICMP6, …`; `proto ICMP (1)` stands before either.
        matches!(text[..at], [.., b':' | b']']) && matches!(text.get(at + 5), Some(b' ' | b'6'))
    })
}

/// Reads a line; `None` where it tells no TCP packet.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parsed = Line::EMPTY;
    let head = match flags_at(line) {
        Some(at) if is_icmp(&line[..at]) => return None,
        Some(at) => {
            let rest = &line[at + 7..];
            let bracket = rest.iter().take(10).position(|&byte| byte == b']')?;
            parsed.flags = flags(&rest[..bracket])?;
            fields(&rest[bracket + 1..], &mut parsed);
            &line[..at]
        }
        None => {
            let at = classic::flags_at(line).filter(|&at| !is_icmp(&line[..at]))?;
            classic::fields(&line[at..], &mut parsed)?;
            &line[..at]
        }
    };
    let head = addresses(head, &mut parsed)?;
    prefix(head, &mut parsed);
    if parsed.flags & SYN != 0 && parsed.seq.is_none() {
        return None;
    }
    Some(parsed)
}

/// Whether a line holds a TCP packet's text from its flags to its length.
pub(super) fn is_complete(line: &[u8]) -> bool {
    match flags_at(line) {
        Some(at) => length_field(&line[at..]).is_some(),
        None => classic::flags_at(line).is_some_and(|at| classic::is_complete(&line[at..])),
    }
}

/// Where the number after `length` begins, behind the flags.
fn length_field(fields: &[u8]) -> Option<usize> {
    static LENGTH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b", length "));
    let at = LENGTH.find(fields)? + 9;
    fields.get(at).is_some_and(u8::is_ascii_digit).then_some(at)
}

/// Whether a packet's text begins with this line: with a time, or with the protocol.
pub(super) fn begins(line: &[u8]) -> bool {
    let (first, rest) = Stamp::parse(line);
    first != Stamp::None || is_ip(rest) || is_ip(interface(rest).1) || {
        let (stamp, rest) = Stamp::find(line);
        stamp != Stamp::None && is_ip(rest)
    }
}

/// Whether a line begins with a time.
pub(super) fn has_time(line: &[u8]) -> bool {
    Stamp::find(line).0 != Stamp::None
}

/// Whether a text begins with the protocol.
pub(super) fn is_ip(text: &[u8]) -> bool {
    text.starts_with(b"IP ") || text.starts_with(b"IP6 ")
}

/// The time of a line that a packet stands on, of whatever protocol. Data that `-A` shows may begin
/// with a time too.
pub(super) fn stamp(line: &[u8]) -> Option<Stamp> {
    static ENDS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" > "));
    const PROTOCOLS: [&[u8]; 6] = [b"IP", b"ARP, ", b"LLDP, ", b"STP ", b"CDPv", b"802.1"];
    let (stamp, rest) = Stamp::find(line);
    let is_packet = PROTOCOLS.iter().any(|protocol| rest.starts_with(protocol));
    (stamp != Stamp::None && (is_packet || ENDS.find(rest).is_some())).then_some(stamp)
}

/// Whether a line has what only a TCP packet's has.
pub(super) fn has_flags(line: &[u8]) -> bool {
    flags_at(line).is_some_and(|at| !is_icmp(&line[..at]))
}

/// Whether the line tells a TCP packet as `-q` does: `… > 192.0.2.2.80: tcp 77`.
pub(super) fn is_without_flags(line: &[u8]) -> bool {
    let (before, length) = last_word(line);
    before.ends_with(b": tcp ") && decimal(length).0.is_some()
}

/// The flags between the brackets.
fn flags(letters: &[u8]) -> Option<u8> {
    if letters == b"none" {
        return Some(0);
    }
    letters.iter().try_fold(0, |flags, letter| {
        Some(
            flags
                | match letter {
                    b'F' => FIN,
                    b'S' => SYN,
                    b'R' => RST,
                    b'P' => PSH,
                    b'.' => ACK,
                    b'U' => URG,
                    b'E' => ECE,
                    b'W' => CWR,
                    // Accurate ECN's bit, in the byte before.
                    b'e' => 0,
                    _ => return None,
                },
        )
    })
}

/// Takes `SOURCE > DESTINATION: ` off the end of what stands before the flags.
fn addresses<'a>(head: &'a [u8], parsed: &mut Line<'a>) -> Option<&'a [u8]> {
    let mut head = head.trim_ascii_end();
    if let [rest @ .., b':'] = head {
        head = rest.trim_ascii_end();
    }
    let (before, last) = last_word(head);
    let (before, last) = if last == b">" {
        (before, None)
    } else {
        let (before, arrow) = last_word(before);
        if arrow != b">" {
            return None;
        }
        (before, Some(last))
    };
    parsed.destination = last;
    let (rest, source) = last_word(before);
    // Where the addresses were removed, what stands before the arrow is the protocol.
    if source.is_empty() || source == b"IP" || source == b"IP6" || source.ends_with(b")") {
        return Some(before);
    }
    parsed.source = Some(source);
    // Behind the headers of a tunnel stand other addresses, with their ports.
    parsed.hosts = if source.contains(&b'.') { None } else { hosts(rest) };
    Some(rest)
}

/// The two addresses where other headers stand between them and the ports:
/// `2001:db8::1 > 2001:db8::2: HBH frag (0|32) 40000 > 80`.
fn hosts(before: &[u8]) -> Option<[&[u8]; 2]> {
    const HEADERS: [&[u8]; 5] = [b"HBH", b"DSTOPT", b"RT6", b"frag", b"AH("];
    let arrow = memchr::memmem::rfind(before, b" > ")?;
    let (_, source) = last_word(&before[..arrow]);
    let end = memchr::memmem::find(&before[arrow..], b": ")? + arrow;
    let destination = &before[arrow + 3..end];
    let is_header = HEADERS.iter().any(|header| before[end + 2..].starts_with(header));
    (is_header && !destination.contains(&b' ')).then_some([source, destination])
}

/// The last word of a text, and what stands before it.
fn last_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_end();
    let start = memchr::memrchr(b' ', text).map_or(0, |at| at + 1);
    (&text[..start], &text[start..])
}

/// Reads the time and the interface, which stand first.
fn prefix<'a>(head: &'a [u8], parsed: &mut Line<'a>) {
    let (stamp, rest) = Stamp::find(head);
    parsed.stamp = stamp;
    let (interface, _) = interface(rest);
    // Before tcpdump 4.0 it is `eth0 < …`, which without a time may be anything.
    if stamp != Stamp::None || !interface.ends_with(b"<") && !interface.ends_with(b">") {
        parsed.interface = interface;
    }
}

/// The interface and direction that stand behind the time, and what follows them: `eth0  Out IP …`,
/// with `-e` `eth0  Out ifindex 2 …`, or, where the capture does not tell the interface, `Out 02:00:…`.
fn interface(rest: &[u8]) -> (&[u8], &[u8]) {
    let is_direction =
        |word: &[u8]| matches!(word, b"In" | b"Out" | b"B" | b"M" | b"P" | b"<" | b">");
    let (name, behind) = first_word(rest);
    let (second, further) = first_word(behind);
    // With `-e` a station's address may stand first.
    let len = if name.starts_with(b"IP") || name.contains(&b':') {
        0
    } else if is_direction(second) {
        rest.len() - further.len()
    } else if is_direction(name) && second.contains(&b':') {
        name.len()
    } else {
        0
    };
    let (interface, behind) = rest.split_at(len);
    (interface, behind.trim_ascii_start())
}

/// The first word of a text, and what stands behind it.
fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    text.split_at(end)
}

/// Reads what stands behind the flags.
fn fields<'a>(mut rest: &'a [u8], parsed: &mut Line<'a>) {
    while let Some(field) = rest.strip_prefix(b", ").or_else(|| rest.strip_prefix(b",")) {
        rest = match field {
            [b's', b'e', b'q', b' ', number @ ..] => {
                let (seq, rest) = decimal(number);
                parsed.seq = seq;
                match rest {
                    [b':', end @ ..] => {
                        let (end, rest) = decimal(end);
                        parsed.seq_end = end;
                        rest
                    }
                    _ => rest,
                }
            }
            [b'a', b'c', b'k', b' ', number @ ..] => {
                let (ack, rest) = decimal(number);
                parsed.ack = ack;
                rest
            }
            [b'w', b'i', b'n', b' ', number @ ..] => {
                let (window, rest) = decimal(number);
                parsed.window = window.unwrap_or_default() as u16;
                rest
            }
            [b'o', b'p', b't', b'i', b'o', b'n', b's', b' ', b'[', list @ ..] => {
                let end = memchr::memchr(b']', list).unwrap_or(list.len());
                options(&list[..end], parsed);
                list.get(end + 1..).unwrap_or_default()
            }
            [b'l', b'e', b'n', b'g', b't', b'h', b' ', number @ ..] => {
                let (length, rest) = decimal(number);
                parsed.length = length;
                parsed.tail = tail(rest);
                return;
            }
            [b'c', b'k', b's', b'u', b'm', rest @ ..] => {
                let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
                parsed.bad_checksum = memchr::memmem::find(&rest[..end], b"(incorrect").is_some();
                &rest[end..]
            }
            _ => field,
        };
        // Over what is not known, and over what a cut number left.
        let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
        rest = &rest[end..];
    }
}

/// What tcpdump shows of HTTP stands behind the length: `length 31: HTTP: GET / HTTP/1.0`.
fn tail(rest: &[u8]) -> &[u8] {
    rest.strip_prefix(b": HTTP: ").or_else(|| rest.strip_prefix(b": HTTP, length: ")).map_or(
        &[],
        |text| match text {
            [b'0'..=b'9', ..] => &[],
            text => text,
        },
    )
}

/// Reads the options that matter: `TS val N ecr N` and `wscale N`.
fn options(mut list: &[u8], parsed: &mut Line<'_>) {
    loop {
        match list {
            [b'T', b'S', b' ', b'v', b'a', b'l', b' ', number @ ..] => {
                let (value, rest) = decimal(number);
                let echo = rest.strip_prefix(b" ecr ").and_then(|number| decimal(number).0);
                parsed.timestamps = value.zip(echo);
            }
            [b'w', b's', b'c', b'a', b'l', b'e', b' ', number @ ..] => {
                parsed.window_scale =
                    decimal(number).0.map_or(NO_WINDOW_SCALE, |shift| shift.min(14) as u8);
            }
            _ => {}
        }
        match memchr::memchr(b',', list) {
            Some(at) => list = list[at + 1..].trim_ascii_start(),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line() {
        let line = parse(
            b"11:17:45.313580 IP 192.0.2.1.4000 > web.example.http: Flags [P.], seq 1:167, ack 78, \
              win 32691, options [nop,nop,TS val 7 ecr 9], length 166: HTTP: HTTP/1.1 200 OK",
        )
        .unwrap();
        assert_eq!(line.source, Some(&b"192.0.2.1.4000"[..]));
        assert_eq!(line.destination, Some(&b"web.example.http"[..]));
        assert_eq!((line.seq, line.seq_end, line.ack), (Some(1), Some(167), Some(78)));
        assert_eq!((line.flags, line.window, line.length), (PSH | ACK, 32691, Some(166)));
        assert_eq!((line.timestamps, line.tail), (Some((7, 9)), &b"HTTP/1.1 200 OK"[..]));
    }

    #[test]
    fn the_threads_line_has_no_addresses() {
        let line = parse(
            b"11:17:45.102437 IP > Flags [S], seq 3118574468, win 29200, options [mss 1460,sackOK,\
              TS val 60317 ecr 0,nop,wscale 6], length 0",
        )
        .unwrap();
        assert_eq!((line.source, line.destination), (None, None));
        assert_eq!((line.seq, line.window_scale), (Some(3_118_574_468), 6));
        let other = parse(b"IP > : Flags [.], ack 1, win 2, length 0").unwrap();
        assert_eq!((other.source, other.destination, other.ack), (None, None, Some(1)));
    }

    #[test]
    fn a_tunnels_flags_are_not_tcps() {
        let line = parse(
            b"11:17:45.1 IP 192.0.2.1 > 192.0.2.2: GREv0, Flags [none], length 48 IP \
              10.0.0.1.4 > 10.0.0.2.80: Flags [S], seq 5, win 1, length 0",
        )
        .unwrap();
        assert_eq!((line.source, line.flags), (Some(&b"10.0.0.1.4"[..]), SYN));
        assert!(!has_flags(b"IP 192.0.2.1 > 192.0.2.2: GREv0, Flags [none], length 48"));
    }

    #[test]
    fn link_headers_and_interfaces_stand_before() {
        let line = parse(
            b"10:18:07.097758 72:f6:08:f7:15:c9 > da:bd:58:35:aa:24, ethertype IPv4 (0x0800), \
              length 74: 10.9.2.2.34754 > 10.9.2.1.8001: Flags [S], seq 5, win 1, length 0",
        )
        .unwrap();
        assert_eq!(line.source, Some(&b"10.9.2.2.34754"[..]));
        assert_eq!(line.length, Some(0));
        let any = parse(b"14:50:19.935828 lo    In  IP 127.0.0.1.5 > 127.0.0.1.1: Flags [R], seq 0, win 0, length 0");
        assert_eq!(any.unwrap().interface, b"lo    In");
    }

    #[test]
    fn what_is_no_packet_is_none() {
        for line in [
            &b"11:17:45.1 IP 192.0.2.1.53 > 192.0.2.2.53: UDP, length 12"[..],
            b"the Flags [S] are set",
            b"GET /?Flags [S], seq 1 HTTP/1.1",
            b"IP a > b: Flags [S",
            b"IP a > b: Flags [XX], seq 1",
        ] {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn quiet_lines_are_known_as_such() {
        let quiet = b"11:17:45.1 IP 192.0.2.1.4000 > 192.0.2.2.80: tcp 77";
        assert!(is_without_flags(quiet) && parse(quiet).is_none());
        assert!(!is_without_flags(b"11:17:45.1 IP 192.0.2.1.53 > 192.0.2.2.53: UDP, length 12"));
    }

    #[test]
    fn checksums_are_read_from_v() {
        let line = parse(b"10.9.2.2.3 > 10.9.2.1.8: Flags [S], cksum 0x1843 (incorrect -> 0xa237), seq 5, win 1, length 0");
        assert!(line.unwrap().bad_checksum);
        let line = parse(
            b"10.9.2.2.3 > 10.9.2.1.8: Flags [S], cksum 0x1843 (correct), seq 5, win 1, length 0",
        );
        assert!(!line.unwrap().bad_checksum);
    }
}
