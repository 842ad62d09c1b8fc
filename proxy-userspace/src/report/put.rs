//! Writing numbers, endpoints and names into a buffer without allocating.

use crate::ends::address;
use proxy_common::key::Endpoint;
use std::io::Write;
use std::net::IpAddr;

/// `n` in decimal.
pub fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// The last `DIGITS` decimal digits of `n`, zeros in front.
pub fn digits<const DIGITS: usize>(out: &mut Vec<u8>, mut n: u64) {
    let mut text = [b'0'; DIGITS];
    for place in text.iter_mut().rev() {
        // A remainder of ten fits.
        *place += (n % 10) as u8;
        n /= 10;
    }
    out.extend_from_slice(&text);
}

/// `ADDR:PORT`, an IPv6 address in brackets.
pub fn endpoint(out: &mut Vec<u8>, end: &Endpoint) {
    match address(end) {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            for (octet, dot) in [(a, b'.'), (b, b'.'), (c, b'.'), (d, b':')] {
                number(out, octet.into());
                out.push(dot);
            }
        }
        IpAddr::V6(v6) => {
            out.push(b'[');
            // Writing to a Vec does not fail.
            let _ = write!(out, "{v6}");
            out.extend_from_slice(b"]:");
        }
    }
    number(out, end.port.into());
}

/// A name that may hold any bytes, as printable text without quotes, backslashes or blanks left in
/// it: those and all that is not a letter, a digit or printable ASCII become `\xNN`.
///
/// A process can call itself anything; what it chose must neither break a column nor a terminal.
pub fn name(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.iter().all(|&byte| is_plain(byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut utf8 = [0; 4];
            let text = letter.encode_utf8(&mut utf8).as_bytes();
            let plain =
                if letter.is_ascii() { is_plain(text[0]) } else { letter.is_alphanumeric() };
            if plain { out.extend_from_slice(text) } else { hex(out, text) }
        }
        hex(out, chunk.invalid());
    }
}

/// Text as a JSON string. Wants text that is already free of what [`name`] escapes, or any `str`.
pub fn json_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Serialising a str into a Vec does not fail.
        let _ = serde_json::to_writer(out, text);
    }
}

/// [`name`] as a JSON string: `\xNN` stands there with its backslash doubled.
pub fn json_name(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    name(out, bytes);
    // `name` leaves no quote and no control byte, so that only its own backslashes need care.
    let mut at = start;
    while let Some(found) = memchr::memchr(b'\\', &out[at..]) {
        out.insert(at + found, b'\\');
        at += found + 2;
    }
    out.push(b'"');
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')
}

fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).expect("only UTF-8 is written")
    }

    #[test]
    fn endpoints_read_as_in_ss() {
        let v4 = Endpoint::v4([127, 0, 0, 1], 8080);
        let mut loopback = [0; 16];
        loopback[15] = 1;
        assert_eq!(text(|out| endpoint(out, &v4)), "127.0.0.1:8080");
        assert_eq!(text(|out| endpoint(out, &Endpoint::v6(loopback, 443))), "[::1]:443");
    }

    #[test]
    fn numbers_are_padded() {
        assert_eq!(text(|out| digits::<6>(out, 42)), "000042");
        assert_eq!(text(|out| digits::<2>(out, 1234)), "34");
        assert_eq!(text(|out| number(out, u64::MAX)), "18446744073709551615");
    }

    #[test]
    fn any_name_is_one_printable_word() {
        for (bytes, shown) in [
            (&b"haproxy"[..], "haproxy"),
            (b"Web Content", r"Web\x20Content"),
            (b"a\"b\\c", r"a\x22b\x5cc"),
            (b"\x1b[31mred\n", r"\x1b[31mred\x0a"),
            ("größe".as_bytes(), "größe"),
            ("\u{202e}evil".as_bytes(), r"\xe2\x80\xaeevil"),
            (b"\xffbroken\xc3", r"\xffbroken\xc3"),
        ] {
            assert_eq!(text(|out| name(out, bytes)), shown);
            let json = text(|out| json_name(out, bytes));
            assert_eq!(serde_json::from_str::<String>(&json).expect("valid JSON"), shown);
        }
    }

    #[test]
    fn json_strings_are_valid() {
        for value in ["plain", "with \"quotes\"", "tab\t", "größe"] {
            let json = text(|out| json_string(out, value));
            assert_eq!(serde_json::from_str::<String>(&json).expect("valid JSON"), value);
        }
    }
}
