//! Dates in cookies: five characters of base64, a number of 30 bits that counts four seconds each.

use std::time::SystemTime;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Seconds since 1970.
pub(super) fn now() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Reads the date that `text` begins with, in seconds; none if it is none, or 1970's first.
pub(super) fn read(text: &[u8]) -> Option<u32> {
    let mut number = 0;
    for byte in text.get(..5)? {
        let digit = LETTERS.iter().position(|letter| letter == byte)?;
        number = number << 6 | u32::try_from(digit).ok()?;
    }
    (number > 0).then_some(number << 2)
}

/// Writes the first date that is not before `seconds`.
pub(super) fn write(out: &mut Vec<u8>, seconds: u32) {
    let number = seconds.div_ceil(4);
    out.extend([24, 18, 12, 6, 0].map(|shift| LETTERS[(number >> shift & 0x3f) as usize]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_back_rounded_up_to_four_seconds() {
        for (seconds, back) in
            [(1, 4), (4, 4), (1_800_000_001, 1_800_000_004), (u32::MAX - 3, u32::MAX - 3)]
        {
            let mut text = Vec::new();
            write(&mut text, seconds);
            assert_eq!((text.len(), read(&text)), (5, Some(back)), "{seconds}");
        }
        assert_eq!(read(b"AAAAB|"), Some(4));
        for wrong in ["", "AAAA", "AAAAA", "AA-AB", "AAAA|"] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
