//! Dates as log lines have them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write as _;
use std::time::SystemTime;

/// `06/Feb/2009:12:14:14`, with `.655` if wanted.
pub fn date(out: &mut Vec<u8>, at: SystemTime, zone: &TimeZone, format: &str, millis: bool) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let stamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    // A vector takes everything.
    let _ = write!(out, "{}", stamp.to_zoned(zone.clone()).strftime(format));
    if millis {
        let _ = write!(out, ".{:03}", since.subsec_millis());
    }
}
