//! Bytes as text, and back: base64 (RFC 4648) and percent signs (RFC 3986).

use std::io::Write as _;

/// The letters, but for the last two.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The last two.
fn last(url: bool) -> [u8; 2] {
    if url { *b"-_" } else { *b"+/" }
}

/// In base64, or, with `url`, in the alphabet of URLs, which goes without padding.
#[must_use]
pub(crate) fn base64(bytes: &[u8], url: bool) -> String {
    let letters = || LETTERS.iter().copied().chain(last(url));
    let letters: Vec<char> = letters().map(char::from).collect();
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= three.len() {
                out.push(letters[(bits >> (18 - 6 * place) & 63) as usize]);
            } else if !url {
                out.push('=');
            }
        }
    }
    out
}

/// What was encoded; nothing where it is not of that form. The alphabet of URLs may go without padding.
pub(super) fn from_base64(text: &[u8], url: bool) -> Option<Vec<u8>> {
    let unpadded = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    let is_bare = url && unpadded.len() == text.len();
    if !is_bare && !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for four in unpadded.chunks(4) {
        if four.len() == 1 {
            return None;
        }
        let mut bits = 0;
        for place in 0..4 {
            let value = four.get(place).map_or(Some(0), |letter| value(*letter, url))?;
            bits = bits << 6 | u32::from(value);
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(out)
}

/// The number that a letter stands for.
fn value(letter: u8, url: bool) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        _ => 62 + u8::from(letter == last(url)[1]),
    })
    .filter(|value| *value < 62 || last(url).contains(&letter))
}

/// With `%XX` for every byte but those that may stand as they are.
pub(super) fn percent(bytes: &[u8], may_stand: impl Fn(&u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if may_stand(byte) {
            out.push(*byte);
        } else {
            // Writing to a vector does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Whether a byte has no meaning of its own in a URL (RFC 3986, 2.3).
pub(super) fn is_unreserved(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648, section 10.
    #[test]
    fn base64_is_the_rfcs() {
        let all = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let encoded = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (plain, encoded) in all.iter().zip(encoded) {
            assert_eq!(base64(plain.as_bytes(), false), encoded);
            assert_eq!(from_base64(encoded.as_bytes(), false), Some(plain.as_bytes().to_vec()));
            let url = encoded.trim_end_matches('=');
            assert_eq!(base64(plain.as_bytes(), true), url);
            assert_eq!(from_base64(url.as_bytes(), true), Some(plain.as_bytes().to_vec()));
        }
        assert_eq!(base64(&[0xfb, 0xff], false), "+/8=");
        assert_eq!(base64(&[0xfb, 0xff], true), "-_8");
        for (text, url) in [
            ("Zg", false),
            ("Z===", false),
            ("====", false),
            ("Zg=a", false),
            ("Zg==Zg==", false),
            ("Z-==", false),
            ("Z", true),
            ("Zm9vZ", true),
        ] {
            assert_eq!(from_base64(text.as_bytes(), url), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_comes_back(bytes: Vec<u8>, url: bool) {
            let text = base64(&bytes, url);
            proptest::prop_assert_eq!(from_base64(text.as_bytes(), url), Some(bytes));
        }
    }
}
