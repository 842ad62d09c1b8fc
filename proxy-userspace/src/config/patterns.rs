//! Patterns of acls and maps: networks, and ranges of numbers.

use super::address::network;
use crate::prefix::Prefix;

/// `ADDRESS/LENGTH` or `ADDRESS/MASK`.
pub(super) fn with_mask(text: &str) -> Option<Prefix> {
    if let Some((address, mask)) = text.split_once('/')
        && let Ok(mask) = mask.parse::<std::net::Ipv4Addr>()
    {
        let bits = mask.to_bits();
        let length = bits.leading_ones();
        let whole = bits.count_ones() == length;
        let length = whole.then(|| u8::try_from(length).ok())??;
        return Prefix::new(address.parse().ok()?, length);
    }
    network(text)
}

/// Bytes in hexadecimal.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("'{text}' is no bytes in hexadecimal, of two digits each");
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong());
    }
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    pairs.iter().map(byte).collect::<Option<_>>().ok_or_else(wrong)
}

/// `5`, `1:10`, `gt 5`, `ge`, `lt`, `le`, `eq`, as inclusive ranges.
pub(super) fn numbers(patterns: &[String]) -> Result<Vec<(i64, i64)>, String> {
    let mut ranges = Vec::new();
    let mut operator = "eq";
    for pattern in patterns {
        if matches!(pattern.as_str(), "eq" | "gt" | "ge" | "lt" | "le") {
            operator = pattern;
            continue;
        }
        let number = |text: &str, open: i64| {
            if text.is_empty() { Ok(open) } else { text.parse::<i64>() }
        };
        let (low, high) = pattern.split_once(':').unwrap_or((pattern, pattern));
        let wrong = |_| {
            format!(
                "'{pattern}' is neither a number, a range such as 1:10, nor one of eq, gt, ge, lt, le"
            )
        };
        if pattern.is_empty() || pattern == ":" {
            return Err(format!("'{pattern}' is not a number"));
        }
        let (low, high) =
            (number(low, i64::MIN).map_err(wrong)?, number(high, i64::MAX).map_err(wrong)?);
        ranges.push(match operator {
            "gt" => (high.saturating_add(1), i64::MAX),
            "ge" => (low, i64::MAX),
            "lt" => (i64::MIN, low.saturating_sub(1)),
            "le" => (i64::MIN, high),
            _ => (low, high),
        });
    }
    Ok(ranges)
}
