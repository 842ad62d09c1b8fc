//! A time as any of tcpdump's `-t` options prints it.

/// A time as printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// None (`-t`).
    None,
    /// Hours, minutes, seconds: the time of day, or since a packet (`-ttt`, `-ttttt`), in
    /// nanoseconds.
    Hours(u64),
    /// The same with a sign before it: this packet's time lies before that of the one before (`-ttt`).
    Back(u64),
    /// Nanoseconds since 1970: `-tt` or, with a date, `-tttt` (taken for UTC).
    Epoch(u64),
}

/// Where a time begins at the latest, in bytes; what stands before it is not tcpdump's.
const FRONT: usize = 256;
const SECOND: u64 = 1_000_000_000;
pub(super) const DAY: u64 = 86_400 * SECOND;

impl Stamp {
    /// Reads the time that a line begins with, behind a packet number (`-#`) if there is one,
    /// and gives the rest.
    #[must_use]
    pub fn parse(line: &[u8]) -> (Self, &[u8]) {
        let line = line.trim_ascii_start();
        if let [_, _, b':', ..] = line {
            return clock(line).unwrap_or((Self::None, line));
        }
        if let [b'-', behind @ ..] = line
            && let Some((Self::Hours(time), rest)) = clock(behind)
        {
            return (Self::Back(time), rest);
        }
        let (first, after) = number(line);
        let Some(first) = first else { return (Self::None, line) };
        match after {
            [b'-', rest @ ..] if first >= 1970 => date(first, rest).unwrap_or((Self::None, line)),
            [b'.', rest @ ..] => match fraction(rest) {
                Some((nanoseconds, rest)) if first < 1 << 33 => {
                    (Self::Epoch(first * SECOND + nanoseconds), rest.trim_ascii_start())
                }
                _ => (Self::None, line),
            },
            [b' ', b' ', rest @ ..] => {
                // A packet number; what follows it must not be another.
                match rest.trim_ascii_start() {
                    rest @ [b'0'..=b'9', ..] if number(rest).1.first() != Some(&b' ') => {
                        Self::parse(rest)
                    }
                    rest => (Self::None, rest),
                }
            }
            _ => (Self::None, line),
        }
    }

    /// Reads the time before a packet also where it does not stand first: behind a host in
    /// brackets, the name of a file, a line's number.
    #[must_use]
    pub fn find(line: &[u8]) -> (Self, &[u8]) {
        let first = Self::parse(line);
        if first.0 != Self::None {
            return first;
        }
        let begins = |&at: &usize| {
            let before = line[at - 1];
            line[at].is_ascii_digit() && !before.is_ascii_alphanumeric() && before != b'.'
        };
        let places = (1..line.len().min(FRONT)).filter(begins);
        let mut stamps = places.filter(|&at| !is_cut_date(&line[..at])).map(|at| &line[at..]);
        stamps.find_map(whole).unwrap_or(first)
    }
}

/// A time with its fraction, which tcpdump never leaves out, and not the number of anything else.
fn whole(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let (stamp, rest) = Stamp::parse(text);
    let printed = &text[..text.len() - rest.len()];
    let point = memchr::memchr(b'.', printed)?;
    // Seconds since 1970 have ten digits since 2001.
    let is_time = printed.contains(&b':') || point == 10;
    (stamp != Stamp::None && is_time).then_some((stamp, rest))
}

/// Whether a text ends in a date's month and day: what follows lost its year when it was selected.
fn is_cut_date(text: &[u8]) -> bool {
    matches!(text, [.., b'-', a, b, b' '] if a.is_ascii_digit() && b.is_ascii_digit())
}

/// `HH:MM:SS.fraction`.
fn clock(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let (hours, rest) = two_digits(text)?;
    let (minutes, rest) = two_digits(rest.strip_prefix(b":")?)?;
    let (seconds, rest) = two_digits(rest.strip_prefix(b":")?)?;
    let (nanoseconds, rest) = match rest {
        [b'.', rest @ ..] => fraction(rest)?,
        rest => (0, rest),
    };
    if minutes > 59 || seconds > 60 || !matches!(rest.first(), None | Some(b' ')) {
        return None;
    }
    let time = ((hours * 60 + minutes) * 60 + seconds) * SECOND + nanoseconds;
    Some((Stamp::Hours(time), rest.trim_ascii_start()))
}

/// `MM-DD HH:MM:SS.fraction` behind the year.
fn date(year: u64, rest: &[u8]) -> Option<(Stamp, &[u8])> {
    let (month, rest) = number(rest);
    let (day, rest) = number(rest.strip_prefix(b"-")?);
    let rest = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"T"))?;
    let (Stamp::Hours(time), rest) = clock(rest)? else { return None };
    let (month, day) = (month?, day?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year > 2500 {
        return None;
    }
    Some((Stamp::Epoch(days(year, month, day) * DAY + time), rest))
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March, so that the leap day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let months = (month + 9) % 12;
    let day_of_year = (153 * months + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// A number that is printed with two digits: with one, the other was cut off.
fn two_digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = text else { return None };
    Some((u64::from(tens - b'0') * 10 + u64::from(ones - b'0'), rest))
}

/// A number of at most ten digits, and what follows.
fn number(text: &[u8]) -> (Option<u64>, &[u8]) {
    let mut value = 0;
    let mut len = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(len) {
        if len == 10 {
            return (None, text);
        }
        value = value * 10 + u64::from(digit - b'0');
        len += 1;
    }
    (if len == 0 { None } else { Some(value) }, &text[len..])
}

/// The digits behind a decimal point as nanoseconds.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut nanoseconds = 0;
    let mut unit = SECOND;
    let mut len = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(len) {
        unit /= 10;
        nanoseconds += u64::from(digit - b'0') * unit;
        len += 1;
    }
    let ends = matches!(text.get(len), None | Some(b' '));
    (ends && (1..=9).contains(&len)).then(|| (nanoseconds, &text[len..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(text: &str) -> Stamp {
        Stamp::parse(text.as_bytes()).0
    }

    #[test]
    fn every_t_option_is_read() {
        let day = (10 * 3600 + 18 * 60 + 7) * SECOND;
        let epoch = 1_795_342_687 * SECOND;
        assert_eq!(stamp("10:18:07.097758 IP x"), Stamp::Hours(day + 97_758_000));
        assert_eq!(stamp(" 00:00:00.000017 IP x"), Stamp::Hours(17_000));
        assert_eq!(stamp("1795342687.097758 IP"), Stamp::Epoch(epoch + 97_758_000));
        assert_eq!(stamp("2026-11-22 10:18:07.097758123 IP"), Stamp::Epoch(epoch + 97_758_123));
        assert_eq!(stamp("    3  10:18:07.097758 IP x"), Stamp::Hours(day + 97_758_000));
        assert_eq!(stamp("IP x"), Stamp::None);
        assert_eq!(stamp("10.9.2.2.34754 > 10.9.2.1.8001: Flags"), Stamp::None);
        assert_eq!(stamp("72:f6:08:f7:15:c9 > da:bd"), Stamp::None);
    }

    #[test]
    fn a_time_is_whole_or_none() {
        for cut in ["0:18:07.097758 IP x", ":18:07.097758 IP", "18:07.097758 IP", "07.097758 IP"] {
            let (found, _) = Stamp::find(cut.as_bytes());
            assert_ne!(found, stamp("10:18:07.097758 IP"), "{cut}");
            assert!(!matches!(found, Stamp::Hours(_)), "{cut}");
        }
        assert_eq!(Stamp::find(b"026-11-22 10:18:07.097758 IP").0, Stamp::None);
        assert_eq!(Stamp::find(b"00:11:22:33:44:55 > 00:11:22:33:44:56, ethertype").0, Stamp::None);
    }

    #[test]
    fn a_time_may_stand_behind_what_a_tool_puts_before_it() {
        for time in ["10:18:07.097758", "2026-11-22 10:18:07.097758", "1795342687.097758"] {
            let path = format!("{}/a.txt:12:", "/var/captures".repeat(12));
            let fronts =
                ["[lb1] ", "/tmp/a-1.txt:", "a.txt:12:", "12: ", "12:", "- ", "lb1 | ", &path];
            for before in fronts {
                let line = format!("{before}{time} IP x");
                assert_eq!(Stamp::find(line.as_bytes()), (stamp(time), &b"IP x"[..]), "{line}");
            }
        }
    }

    #[test]
    fn leap_years_count() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 2, 29) + 1, days(2000, 3, 1));
        assert_eq!(days(2026, 11, 22) * 86_400, 1_795_305_600);
    }
}
