//! A close as one line of fixed columns, for people who read `ss` and tcpdump.

use super::clock::Stamp;
use super::put;
use super::record::{Record, Said};
use crate::console::has_colour;
use proxy_common::key::Endpoint;
use proxy_common::verdict::{Owner, Signal};
use std::io;

/// Above the columns.
pub const HEADER: &str = "\
Time            Orig                  Resp                  State  First        Answer   Half-closed  \
Orig-bytes Resp-bytes   Duration  Lost          Why                 Owner                Request\n";

const ENDPOINT: usize = 21;

/// How lines are painted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    /// With colour.
    pub colour: bool,
}

impl Paint {
    /// Those on stdout.
    #[must_use]
    pub fn of_stdout() -> Self {
        Self { colour: has_colour(&io::stdout()) }
    }
}

#[derive(Clone, Copy)]
enum Hue {
    Dim,
    Calm,
    Warn,
    Alarm,
}

impl Hue {
    fn code(self) -> &'static [u8] {
        match self {
            Self::Dim => b"\x1b[2m",
            Self::Calm => b"\x1b[32m",
            Self::Warn => b"\x1b[33m",
            Self::Alarm => b"\x1b[31m",
        }
    }
}

impl Paint {
    fn paint(self, out: &mut Vec<u8>, hue: Option<Hue>, put: impl FnOnce(&mut Vec<u8>)) {
        let Some(hue) = hue.filter(|_| self.colour) else { return put(out) };
        out.extend_from_slice(hue.code());
        put(out);
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// Appends the line, with its end.
pub fn close(out: &mut Vec<u8>, record: &Record<'_>, stamp: &mut Stamp, paint: Paint) {
    let close = record.close;
    paint.paint(out, Some(Hue::Dim), |out| stamp.time_of_day(out, record.unix_ns));
    out.push(b' ');
    left(out, ENDPOINT, |out| put::endpoint(out, &close.orig.endpoint));
    left(out, ENDPOINT, |out| responder(out, record, &close.resp.endpoint));
    paint.paint(out, hue(record), |out| {
        left(out, 6, |out| out.extend_from_slice(close.conn_state.as_str().as_bytes()));
        left(out, 12, |out| first(out, record));
        left(out, 8, |out| answer(out, record));
    });
    right(out, 11, |out| optional(out, record.half_closed_ns(), duration));
    right(out, 11, |out| optional(out, close.orig.bytes, put::number));
    right(out, 10, |out| optional(out, close.resp.bytes, put::number));
    right(out, 10, |out| duration(out, close.duration_ns));
    out.push(b' ');
    let alarm = record.lost_anything().then_some(Hue::Alarm);
    paint.paint(out, alarm, |out| left(out, 13, |out| lost(out, record)));
    left(out, 19, |out| match record.change {
        Some(change) => {
            if let Some(asked) = change.asked {
                out.extend_from_slice(asked.as_str().as_bytes());
                out.push(b'>');
            }
            out.extend_from_slice(change.sent.as_str().as_bytes());
            out.extend_from_slice(b" by ");
            out.extend_from_slice(change.cause.as_str().as_bytes());
        }
        None => out.extend_from_slice(record.why().unwrap_or("-").as_bytes()),
    });
    let owner = |out: &mut Vec<u8>| match record.owner() {
        Some(owner) => process(out, owner),
        None => out.push(b'-'),
    };
    match &record.said {
        Some(said) => {
            left(out, 20, owner);
            request(out, said);
        }
        None => owner(out),
    }
    out.push(b'\n');
}

/// A process's name and id: `nginx/4242`.
pub fn process(out: &mut Vec<u8>, owner: &Owner) {
    put::name(out, owner.name());
    out.push(b'/');
    put::number(out, owner.pid.into());
}

/// What the proxy said: `CD-- GET 200`, `---- check`, and how many requests it was if several.
pub fn request(out: &mut Vec<u8>, said: &Said<'_>) {
    out.extend_from_slice(said.termination.as_str().as_bytes());
    if said.class != "traffic" {
        out.push(b' ');
        out.extend_from_slice(said.class.as_bytes());
    }
    if let Some(method) = said.method {
        out.push(b' ');
        put::name(out, method.as_bytes());
    }
    if let Some(status) = said.status {
        out.push(b' ');
        put::number(out, status.into());
    }
    if said.requests > 1 {
        out.extend_from_slice(b", the last of ");
        put::number(out, said.requests.into());
    }
}

/// Calm where both ends said goodbye, a warning where one has not (yet), an alarm for a reset.
fn hue(record: &Record<'_>) -> Option<Hue> {
    let close = record.close;
    match [close.first_signal, close.answer] {
        [Some(Signal::Fin), Some(Signal::Fin)] => Some(Hue::Calm),
        [Some(Signal::Rst | Signal::RstAck), _] | [_, Some(Signal::Rst | Signal::RstAck)] => {
            Some(Hue::Alarm)
        }
        [Some(Signal::Fin | Signal::Timeout), None] => Some(Hue::Warn),
        _ => None,
    }
}

fn responder(out: &mut Vec<u8>, record: &Record<'_>, end: &Endpoint) {
    if record.label.is_empty() {
        put::endpoint(out, end);
    } else {
        record.label.put(out);
    }
}

/// `resp fin`, `orig rst_ack`, `timeout`.
fn first(out: &mut Vec<u8>, record: &Record<'_>) {
    let words = [
        record.close.first_closer.map(|role| role.as_str()),
        record.close.first_signal.map(|signal| signal.as_str()),
    ];
    match words {
        [None, None] => out.push(b'-'),
        [None, Some(word)] | [Some(word), None] => out.extend_from_slice(word.as_bytes()),
        [Some(who), Some(what)] => {
            out.extend_from_slice(who.as_bytes());
            out.push(b' ');
            out.extend_from_slice(what.as_bytes());
        }
    }
}

fn answer(out: &mut Vec<u8>, record: &Record<'_>) {
    let text = match record.close.answer {
        Some(answer) => answer.as_str(),
        None if record.is_half_open() => "none yet",
        None => "-",
    };
    out.extend_from_slice(text.as_bytes());
}

/// `120 unread`, `4096 unacked`, or both with a comma.
fn lost(out: &mut Vec<u8>, record: &Record<'_>) {
    let start = out.len();
    for (bytes, word) in
        [(record.unread_bytes(), &b" unread"[..]), (record.unacked_bytes(), &b" unacked"[..])]
    {
        if let Some(bytes) = bytes.filter(|&bytes| bytes > 0) {
            if out.len() > start {
                out.push(b',');
            }
            put::number(out, bytes);
            out.extend_from_slice(word);
        }
    }
    if out.len() == start {
        out.push(b'-');
    }
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => put(out, value),
        None => out.push(b'-'),
    }
}

/// `332us`, `104.532ms`, `12.345s`, `2h05m`: four digits or more of what matters.
pub fn duration(out: &mut Vec<u8>, ns: u64) {
    let us = ns / 1_000;
    match us {
        0..1_000 => {
            put::number(out, us);
            out.extend_from_slice(b"us");
        }
        1_000..1_000_000 => {
            put::number(out, us / 1_000);
            out.push(b'.');
            put::digits::<3>(out, us % 1_000);
            out.extend_from_slice(b"ms");
        }
        1_000_000..1_000_000_000 => {
            put::number(out, us / 1_000_000);
            out.push(b'.');
            put::digits::<3>(out, us / 1_000 % 1_000);
            out.push(b's');
        }
        _ => {
            let minutes = us / 60_000_000;
            put::number(out, minutes / 60);
            out.push(b'h');
            put::digits::<2>(out, minutes % 60);
            out.push(b'm');
        }
    }
}

/// A cell of `width`, then a blank. What is wider pushes the rest, as in `ss`.
fn left(out: &mut Vec<u8>, width: usize, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out);
    let used = columns(&out[start..]);
    out.resize(out.len() + width.saturating_sub(used) + 1, b' ');
}

/// A blank, then a cell of `width` that ends with its text.
fn right(out: &mut Vec<u8>, width: usize, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out);
    let pad = width.saturating_sub(columns(&out[start..])) + 1;
    out.resize(out.len() + pad, b' ');
    out[start..].rotate_right(pad);
}

/// How wide a text is: its characters; the bytes of one after its first count nothing.
fn columns(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::report::label::Label;
    use crate::report::sample;
    use jiff::tz::TimeZone;
    use proxy_common::verdict;

    fn lines(colour: bool) -> String {
        let server = Label { proxy: Some("www"), backend: Some("web"), server: Some("w1") };
        let none = Label::default();
        let mut out = HEADER.as_bytes().to_vec();
        for (script, label, half_open_ns) in [
            (sample::clean(), server, None),
            (sample::reset(), none, None),
            (sample::half_open(), none, Some(1_500_000_000)),
        ] {
            let close = verdict::close(&script.key, &script.flow);
            let record = Record {
                label,
                rst_reason: close.orig.rst_reason.map(|_| "TCP_ABORT_ON_CLOSE"),
                said: close
                    .first_signal
                    .filter(|one| one.as_str() == "rst_ack")
                    .map(|_| sample::said()),
                half_open_ns,
                ..Record::of(&close)
            };
            super::close(&mut out, &record, &mut Stamp::in_zone(TimeZone::UTC), Paint { colour });
        }
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn the_columns() {
        insta::assert_snapshot!(lines(false), @r"
        Time            Orig                  Resp                  State  First        Answer   Half-closed  Orig-bytes Resp-bytes   Duration  Lost          Why                 Owner                Request
        23:59:59.227988 10.0.0.1:40000        web/w1                SF     resp fin     fin             332us          78        167  104.532ms -             -                   -
        00:00:01.123706 [::1]:50000           [::1]:8080            RSTO   orig rst_ack -                   -          10       4096     2.000s 4096 unread   TCP_ABORT_ON_CLOSE  a\x22b\x20c\xff/4242 CD-- GET 200, the last of 3
        23:59:59.123656 10.0.0.1:40000        10.0.0.5:80           S2     orig fin     none yet       1.500s          10          0      200us -             -                   -
        ");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let mut painted = lines(true);
        assert!(painted.contains("\x1b[31m"), "a reset is red");
        for code in ["\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"] {
            painted = painted.replace(code, "");
        }
        assert_eq!(painted, lines(false));
    }

    #[test]
    fn durations() {
        let text = |ns| {
            let mut out = Vec::new();
            duration(&mut out, ns);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(text(999), "0us");
        assert_eq!(text(332_999), "332us");
        assert_eq!(text(104_532_000), "104.532ms");
        assert_eq!(text(999_999_999), "999.999ms");
        assert_eq!(text(12_345_678_901), "12.345s");
        assert_eq!(text(7_500_000_000_000), "2h05m");
        assert_eq!(text(u64::MAX), "5124095h34m");
    }
}
