//! The times of a text: which of tcpdump's `-t` options printed them, and what they come to.

use super::super::Clock;
use super::super::table::DISORDER;
use super::stamp::{DAY, Stamp};
use super::{lines, packet};

/// Whether a time in seconds since 1970 lost its first digits, as the one behind it shows.
fn is_cut(time: u64, behind: u64) -> bool {
    behind.saturating_sub(time) > 365 * DAY
}

/// How many lines tell times since the line before from those since the first.
const TELLING: usize = 16;

/// Whether the times of these first lines tell how they are to be read. Those that begin at zero do
/// so only where there are enough.
pub(in super::super) fn is_told(head: &[u8]) -> bool {
    let lines = lines::all(head).map(lines::plain);
    let stamps = lines.filter_map(|line| packet::stamp(lines::unquoted(&line)));
    let mut hours = stamps.filter(|stamp| matches!(stamp, Stamp::Hours(_)));
    hours.next() != Some(Stamp::Hours(0)) || hours.count() + 1 >= TELLING
}

/// Turns stamps into times that go forward.
#[derive(Debug)]
pub(super) struct Times {
    reading: Reading,
    /// No time of the reading's kind was seen yet, but one will be.
    may_be_cut: bool,
    /// The last stamp, and the days or sums that have been added to it.
    last: u64,
    sum: u64,
    lines: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// No time seen yet; with `-t` none comes.
    Open,
    Epoch,
    TimeOfDay,
    /// Since the line before (`-ttt`).
    Deltas,
    /// Since the first line (`-ttttt`).
    SinceFirst,
}

impl Times {
    /// Tells the option by the times of the text's first lines, most of which are of one kind.
    /// `-ttt` and `-ttttt` both begin at zero: times since the line before go down about as often
    /// as up, or far, behind a pause. Those since the first go back to zero, where another text follows.
    pub(super) fn guess(head: &[u8]) -> Self {
        let lines = lines::all(head).map(lines::plain);
        let stamps = lines.filter_map(|line| packet::stamp(lines::unquoted(&line)));
        let (mut hours, mut epochs) = (Vec::new(), Vec::new());
        let mut goes_back = false;
        for stamp in stamps {
            match stamp {
                Stamp::Hours(time) => hours.push(time),
                Stamp::Back(_) => goes_back = true,
                Stamp::Epoch(time) => epochs.push(time),
                Stamp::None => {}
            }
        }
        let is_epoch = epochs.len() > hours.len();
        if let [first, second, ..] = epochs[..]
            && is_cut(first, second)
        {
            epochs.remove(0);
        }
        let first = if is_epoch { &epochs } else { &hours }.first();
        let falls = hours.windows(2).filter(|pair| pair[1] < pair[0] && pair[1] != 0);
        let far = falls.clone().any(|pair| pair[0] - pair[1] > DISORDER);
        let falls = falls.count();
        let reading = match first {
            None => Reading::Open,
            Some(_) if is_epoch => Reading::Epoch,
            Some(0) if goes_back || far || falls * 8 > hours.len() - 1 => Reading::Deltas,
            Some(0) if hours.len() > 1 => Reading::SinceFirst,
            Some(_) => Reading::TimeOfDay,
        };
        // A selection may have cut the first line's time, so that nothing of it is left, or a
        // number that is another kind's: that line has the time of the first behind it.
        let may_be_cut = first.is_some();
        Self { reading, may_be_cut, last: first.copied().unwrap_or(0), sum: 0, lines: 0 }
    }

    /// The time of the next line, in nanoseconds. Lines without one are a nanosecond apart, so
    /// that their order stands.
    pub(super) fn time_ns(&mut self, stamp: Stamp) -> u64 {
        self.lines += 1;
        if self.may_be_cut {
            self.may_be_cut = match stamp {
                Stamp::None => true,
                Stamp::Hours(_) | Stamp::Back(_) => self.reading == Reading::Epoch,
                Stamp::Epoch(time) => self.reading != Reading::Epoch || is_cut(time, self.last),
            };
            if self.may_be_cut {
                return self.last;
            }
        }
        if self.reading == Reading::Open {
            self.reading = match stamp {
                Stamp::None => Reading::Open,
                Stamp::Hours(_) | Stamp::Back(_) => Reading::TimeOfDay,
                Stamp::Epoch(_) => Reading::Epoch,
            };
        }
        match stamp {
            Stamp::Epoch(time) => {
                self.last = time;
                time
            }
            Stamp::Hours(time) if self.reading == Reading::Deltas => {
                self.sum = self.sum.saturating_add(time);
                self.sum
            }
            Stamp::Back(time) if self.reading == Reading::Deltas => {
                self.sum = self.sum.saturating_sub(time);
                self.sum
            }
            Stamp::Hours(time) | Stamp::Back(time) => {
                // Past midnight the time of day starts again. A packet from before it may come late.
                if self.last > time + DAY / 2 {
                    self.sum += DAY;
                } else if self.sum >= DAY && self.last + DAY < time + DISORDER {
                    self.sum -= DAY;
                }
                self.last = time;
                self.sum + time
            }
            Stamp::None if self.reading == Reading::Open => self.lines,
            Stamp::None => self.sum + self.last,
        }
    }

    /// What the times mean.
    pub(super) fn clock(&self) -> Clock {
        match self.reading {
            Reading::Epoch => Clock::Date,
            Reading::TimeOfDay => Clock::TimeOfDay,
            Reading::Deltas | Reading::SinceFirst => Clock::SinceFirst,
            Reading::Open => Clock::None,
        }
    }

    /// What is to be said of them.
    pub(super) fn note(&self) -> Option<String> {
        let note = match self.reading {
            Reading::Open if self.lines > 0 => {
                "the text has no times (tcpdump -t): the order of lines is all that is known, and \
                 every duration reads as zero"
            }
            Reading::Deltas => "the times are taken for those since the line before (tcpdump -ttt)",
            Reading::SinceFirst => {
                "the times are taken for those since the first line (tcpdump -ttttt)"
            }
            _ => return None,
        };
        Some(note.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(text: &str) -> Stamp {
        Stamp::parse(text.as_bytes()).0
    }

    #[test]
    fn deltas_and_elapsed_times_are_told_apart() {
        let deltas = " 00:00:00.000000 IP\n 00:00:00.000017 IP\n 00:00:00.000010 IP\n";
        let elapsed = " 00:00:00.000000 IP\n 00:00:00.000017 IP\n 00:00:00.000027 IP\n";
        let mut times = Times::guess(deltas.as_bytes());
        let all: Vec<u64> = deltas.lines().map(|line| times.time_ns(stamp(line))).collect();
        assert_eq!(all, [0, 17_000, 27_000]);
        let mut times = Times::guess(elapsed.as_bytes());
        let all: Vec<u64> = elapsed.lines().map(|line| times.time_ns(stamp(line))).collect();
        assert_eq!(all, [0, 17_000, 27_000]);
    }

    #[test]
    fn times_from_zero_take_some_lines_to_be_told() {
        let zero = " 00:00:00.000000 IP\n";
        let more = " 00:00:00.001000 IP\n".repeat(TELLING);
        let lines = |count| zero.len() * count;
        assert!(!is_told(zero.as_bytes()));
        let text = format!("{zero}{more}");
        assert!(!is_told(&text.as_bytes()[..lines(TELLING - 1)]));
        assert!(is_told(&text.as_bytes()[..lines(TELLING)]));
        for first in
            ["10:00:00.000000 IP\n", "1700000000.000000 IP\n", "IP 10.0.0.1.4 > 10.0.0.2.80:"]
        {
            assert!(is_told(first.as_bytes()), "{first}");
        }
    }

    #[test]
    fn one_pause_tells_deltas() {
        // Even traffic with a pause of three seconds in it: the times fall once, and far.
        let even = " 00:00:00.001000 IP\n".repeat(20);
        let deltas = format!(" 00:00:00.000000 IP\n{even} 00:00:03.000000 IP\n{even}");
        let mut times = Times::guess(deltas.as_bytes());
        let last = deltas.lines().map(|line| times.time_ns(stamp(line))).last();
        assert_eq!(last, Some(3_040_000_000));
        // Two captures behind one another begin at zero each.
        let elapsed = " 00:00:00.000000 IP\n 00:00:03.000000 IP\n 00:00:03.000001 IP\n";
        let twice =
            format!("{elapsed}{elapsed} 00:00:04.000000 IP\n 00:00:05.000000 IP\n").repeat(3);
        let mut times = Times::guess(twice.as_bytes());
        let last = twice.lines().map(|line| times.time_ns(stamp(line))).last();
        assert_eq!(last, Some(5_000_000_000));
    }

    #[test]
    fn deltas_may_go_back() {
        let deltas = " 00:00:00.000000 IP\n 00:00:00.000017 IP\n-00:00:00.000010 IP\n";
        let mut times = Times::guess(deltas.as_bytes());
        let all: Vec<u64> = deltas.lines().map(|line| times.time_ns(stamp(line))).collect();
        assert_eq!(all, [0, 17_000, 7_000]);
    }

    #[test]
    fn midnight_goes_forward() {
        let mut times = Times::guess(b"");
        let before = times.time_ns(stamp("23:59:59.999999 IP"));
        let after = times.time_ns(stamp("00:00:00.000001 IP"));
        assert_eq!(after - before, 2_000);
        // Two that changed their places there change nothing.
        let late = times.time_ns(stamp("23:59:59.999998 IP"));
        let then = times.time_ns(stamp("00:00:00.000002 IP"));
        assert_eq!((before - late, then - before), (1_000, 3_000));
    }
}
