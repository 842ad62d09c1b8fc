//! HAProxy's units: times and sizes as its configuration spells them; and bytes in hexadecimal.

/// Why a time or a size was refused: a sentence's end, such as "is not a time".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number at the start of a time.
    #[error("is not a number with a unit, such as 5s or 200ms")]
    NotATime,
    /// No number at the start of a size.
    #[error("is not a number with a unit, such as 64k or 100m")]
    NotASize,
    /// A number, then something that is no unit of its kind.
    #[error("has an unknown unit; the units of a time are us, ms, s, m, h, d")]
    TimeUnit,
    /// A number, then something that is no unit of its kind.
    #[error("has an unknown unit; the units of a size are k, m, g")]
    SizeUnit,
    /// More than `i32::MAX` milliseconds, HAProxy's own limit.
    #[error("is above the longest time, 2147483647 ms (about 24 days)")]
    TooLong,
    /// More than `i32::MAX` seconds, the limit where HAProxy counts in seconds.
    #[error("is above the longest time, 2147483647 s (about 68 years)")]
    TooManySeconds,
    /// Not nothing, but below the smallest step.
    #[error("is not zero but below one millisecond, the shortest time")]
    TooShort,
    /// Does not fit in 64 bits.
    #[error("is too large")]
    TooLarge,
}

/// A time in milliseconds; a bare number means `unit_us` microseconds a piece (HAProxy's
/// `parse_time_err`; most directives count in milliseconds, so 1000).
///
/// # Errors
/// What is wrong with `text`.
pub fn time(text: &str, unit_us: u64) -> Result<u32, UnitError> {
    let micros = micros(text, unit_us)?;
    let millis = micros.div_ceil(1_000);
    if micros > 0 && micros < 1_000 {
        return Err(UnitError::TooShort);
    }
    u32::try_from(millis).ok().filter(|&ms| ms <= i32::MAX.unsigned_abs()).ok_or(UnitError::TooLong)
}

/// A time in seconds, one that has begun being whole; a bare number is seconds.
///
/// # Errors
/// What is wrong with `text`.
pub fn time_s(text: &str) -> Result<u32, UnitError> {
    let seconds = micros(text, 1_000_000)?.div_ceil(1_000_000);
    let fits = |seconds: &u32| *seconds <= i32::MAX.unsigned_abs();
    u32::try_from(seconds).ok().filter(fits).ok_or(UnitError::TooManySeconds)
}

/// A time in microseconds.
fn micros(text: &str, unit_us: u64) -> Result<u64, UnitError> {
    let (number, unit) = split(text, UnitError::NotATime)?;
    let unit_us = match unit {
        "" => unit_us,
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(UnitError::TimeUnit),
    };
    number.checked_mul(unit_us).ok_or(UnitError::TooLong)
}

/// A time in milliseconds, a bare number being milliseconds.
///
/// # Errors
/// What is wrong with `text`.
pub fn time_ms(text: &str) -> Result<u32, UnitError> {
    time(text, 1_000)
}

/// A size in bytes: a number with `k`, `m` or `g`, powers of 1024 (HAProxy's `parse_size_err`).
///
/// # Errors
/// What is wrong with `text`.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text, UnitError::NotASize)?;
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err(UnitError::SizeUnit),
    };
    number.checked_mul(1 << shift).ok_or(UnitError::TooLarge)
}

/// A time as briefly as it can be written: `5s`, `1500ms`, `2m`.
#[must_use]
pub fn show_time(ms: u32) -> String {
    const UNITS: [(u32, &str); 4] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    for (size, unit) in UNITS {
        if ms > 0 && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

fn split(text: &str, otherwise: UnitError) -> Result<(u64, &str), UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(otherwise);
    }
    Ok((number.parse().map_err(|_| UnitError::TooLarge)?, unit))
}

/// The byte that two hexadecimal digits write.
#[must_use]
pub fn hex_byte(digits: &[u8]) -> Option<u8> {
    let &[high, low] = digits else { return None };
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_unless_a_unit_says_otherwise() {
        let cases = [("30", 30), ("30s", 30_000), ("1m", 60_000), ("2h", 7_200_000), ("0", 0)];
        for (text, ms) in cases {
            assert_eq!(time_ms(text), Ok(ms), "{text}");
        }
        assert_eq!(time("5", 1_000_000), Ok(5_000));
        assert_eq!(time_ms("1500us"), Ok(2));
        assert_eq!(time_ms("24d"), Ok(2_073_600_000));
    }

    #[test]
    fn some_times_are_seconds() {
        let cases = [("30", Ok(30)), ("90d", Ok(7_776_000)), ("1500ms", Ok(2)), ("0", Ok(0))];
        for (text, seconds) in cases {
            assert_eq!(time_s(text), seconds, "{text}");
        }
        assert_eq!(time_s("40000d"), Err(UnitError::TooManySeconds));
        assert_eq!(time_s("5x"), Err(UnitError::TimeUnit));
    }

    #[test]
    fn wrong_times_say_why() {
        let cases = [
            ("", UnitError::NotATime),
            ("abc", UnitError::NotATime),
            ("5x", UnitError::TimeUnit),
            ("1.5s", UnitError::TimeUnit),
            ("25d", UnitError::TooLong),
            ("1us", UnitError::TooShort),
            ("99999999999999999999", UnitError::TooLarge),
        ];
        for (text, why) in cases {
            assert_eq!(time_ms(text), Err(why), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("16k"), Ok(16_384));
        assert_eq!(size("1G"), Ok(1 << 30));
        assert_eq!(size("1t"), Err(UnitError::SizeUnit));
        assert_eq!(size("much"), Err(UnitError::NotASize));
        assert_eq!(size("99999999999g"), Err(UnitError::TooLarge));
    }

    #[test]
    fn a_byte_has_two_digits_and_no_sign() {
        assert_eq!([hex_byte(b"4f"), hex_byte(b"FF")], [Some(0x4f), Some(0xff)]);
        for digits in ["", "4", "4ff", "+4", "-0", "4g", "é"] {
            assert_eq!(hex_byte(digits.as_bytes()), None, "{digits}");
        }
    }

    #[test]
    fn shown_times_read_back() {
        for ms in [0, 1, 999, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000, 2_147_483_647] {
            assert_eq!(time_ms(&show_time(ms)), Ok(ms));
        }
    }
}
