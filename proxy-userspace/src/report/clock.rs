//! Nanoseconds since 1970 as the tail shows them: RFC 3339 in JSON, time of day in columns.

use super::put;
use jiff::Timestamp;
use jiff::tz::TimeZone;

const SECOND: i64 = 1_000_000_000;

/// Writes times, and remembers the second that it wrote last: a busy tail has thousands in each.
#[derive(Debug)]
pub struct Stamp {
    zone: TimeZone,
    second: i64,
    utc: [u8; 19],
    local: [u8; 8],
}

impl Stamp {
    /// Times of day will be this host's (`TZ`, else /etc/localtime), as tcpdump's are.
    #[must_use]
    pub fn local() -> Self {
        Self::in_zone(TimeZone::system())
    }

    /// Times of day will be those of `zone`.
    #[must_use]
    pub fn in_zone(zone: TimeZone) -> Self {
        let mut stamp = Self { zone, second: i64::MIN, utc: [0; 19], local: [0; 8] };
        stamp.turn_to(0);
        stamp
    }

    /// `2026-01-31T23:59:59.123456Z`.
    pub fn rfc3339(&mut self, out: &mut Vec<u8>, unix_ns: i64) {
        self.turn_to(unix_ns.div_euclid(SECOND));
        out.extend_from_slice(&self.utc);
        fraction(out, unix_ns);
        out.push(b'Z');
    }

    /// `23:59:59.123456`.
    pub fn time_of_day(&mut self, out: &mut Vec<u8>, unix_ns: i64) {
        self.turn_to(unix_ns.div_euclid(SECOND));
        out.extend_from_slice(&self.local);
        fraction(out, unix_ns);
    }

    fn turn_to(&mut self, second: i64) {
        if second == self.second {
            return;
        }
        // Nanoseconds in an i64 reach from 1677 to 2262; jiff's calendar is wider.
        let at = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        let utc = TimeZone::UTC.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let local = self.zone.to_datetime(at).strftime("%H:%M:%S").to_string();
        self.utc.copy_from_slice(utc.as_bytes());
        self.local.copy_from_slice(local.as_bytes());
        self.second = second;
    }
}

fn fraction(out: &mut Vec<u8>, unix_ns: i64) {
    out.push(b'.');
    put::digits::<6>(out, unix_ns.rem_euclid(SECOND).unsigned_abs() / 1_000);
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::Offset;

    #[test]
    fn both_forms() {
        let mut stamp = Stamp::in_zone(TimeZone::fixed(Offset::constant(2)));
        let at = 1_769_903_999_123_456_789;
        let mut out = Vec::new();
        stamp.rfc3339(&mut out, at);
        out.push(b' ');
        stamp.time_of_day(&mut out, at);
        out.push(b' ');
        stamp.time_of_day(&mut out, at + SECOND);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "2026-01-31T23:59:59.123456Z 01:59:59.123456 02:00:00.123456"
        );
    }

    #[test]
    fn before_the_epoch() {
        let mut out = Vec::new();
        Stamp::in_zone(TimeZone::UTC).rfc3339(&mut out, -1_000);
        assert_eq!(String::from_utf8_lossy(&out), "1969-12-31T23:59:59.999999Z");
    }
}
