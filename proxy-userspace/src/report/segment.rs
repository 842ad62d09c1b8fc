//! A control segment as a line, in tcpdump's words, or as JSON.

use super::clock::Stamp;
use super::put;
use proxy_common::key::FlowKey;
use proxy_common::segment::{ACK, FIN, PSH, RST, SYN, Segment, URG};

/// tcpdump's letters and their order.
const LETTERS: [(u8, u8); 6] =
    [(FIN, b'F'), (SYN, b'S'), (RST, b'R'), (PSH, b'P'), (ACK, b'.'), (URG, b'U')];

/// `TIME  A > B: Flags [F.], seq 1, ack 2, win 3, length 0`, numbers absolute as with `-S`.
pub fn line(out: &mut Vec<u8>, key: &FlowKey, segment: &Segment, unix_ns: i64, stamp: &mut Stamp) {
    stamp.time_of_day(out, unix_ns);
    out.push(b' ');
    put::endpoint(out, key.end(segment.sender));
    out.extend_from_slice(b" > ");
    put::endpoint(out, key.end(segment.sender.other()));
    out.extend_from_slice(b": Flags [");
    flags(out, segment);
    out.extend_from_slice(b"], seq ");
    put::number(out, segment.seq.into());
    if segment.has(ACK) {
        out.extend_from_slice(b", ack ");
        put::number(out, segment.ack.into());
    }
    out.extend_from_slice(b", win ");
    put::number(out, segment.window.into());
    out.extend_from_slice(b", length ");
    put::number(out, segment.payload.into());
    out.push(b'\n');
}

/// `{"v":1,"ts":…,"segment":{"from":…,"to":…,"flags":"F.","seq":…,"ack":…,"win":…,"length":…}}`.
pub fn json(out: &mut Vec<u8>, key: &FlowKey, segment: &Segment, unix_ns: i64, stamp: &mut Stamp) {
    out.extend_from_slice(b"{\"v\":1,\"ts\":\"");
    stamp.rfc3339(out, unix_ns);
    out.extend_from_slice(b"\",\"segment\":{\"from\":\"");
    put::endpoint(out, key.end(segment.sender));
    out.extend_from_slice(b"\",\"to\":\"");
    put::endpoint(out, key.end(segment.sender.other()));
    out.extend_from_slice(b"\",\"flags\":\"");
    flags(out, segment);
    out.push(b'"');
    for (name, value) in [
        ("seq", segment.seq),
        ("ack", segment.ack),
        ("win", segment.window.into()),
        ("length", segment.payload),
    ] {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        put::number(out, value.into());
    }
    out.extend_from_slice(b"}}\n");
}

fn flags(out: &mut Vec<u8>, segment: &Segment) {
    let set = LETTERS.iter().filter(|(flag, _)| segment.has(*flag));
    out.extend(set.map(|(_, letter)| letter));
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use proxy_common::key::Endpoint;
    use proxy_common::segment::NO_WINDOW_SCALE;

    #[test]
    fn reads_as_tcpdump_writes() {
        let (key, sender) =
            FlowKey::new(Endpoint::v4([10, 0, 0, 2], 80), Endpoint::v4([10, 0, 0, 1], 40000));
        let segment = Segment {
            seq: 167,
            ack: 78,
            payload: 0,
            timestamp: 0,
            timestamp_echo: 0,
            vantage: 0,
            window: 32691,
            flags: FIN | ACK,
            window_scale: NO_WINDOW_SCALE,
            sender,
            marks: 0,
            reserved: 0,
        };
        let mut stamp = Stamp::in_zone(TimeZone::UTC);
        let mut out = Vec::new();
        line(&mut out, &key, &segment, 1_000, &mut stamp);
        json(&mut out, &key, &segment, 1_000, &mut stamp);
        insta::assert_snapshot!(String::from_utf8_lossy(&out), @r#"
        00:00:00.000001 10.0.0.2:80 > 10.0.0.1:40000: Flags [F.], seq 167, ack 78, win 32691, length 0
        {"v":1,"ts":"1970-01-01T00:00:00.000001Z","segment":{"from":"10.0.0.2:80","to":"10.0.0.1:40000","flags":"F.","seq":167,"ack":78,"win":32691,"length":0}}
        "#);
    }
}
