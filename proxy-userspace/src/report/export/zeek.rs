//! Zeek's conn.log (`scripts/base/protocols/conn/main.zeek`), as its ASCII writer writes it.

use super::{Traffic, ends, identity};
use crate::ends::address;
use jiff::Zoned;
use proxy_common::verdict::Close;
use std::io::Write;

const FIELDS: [(&str, &str); 22] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("conn_state", "string"),
    ("local_orig", "bool"),
    ("local_resp", "bool"),
    ("missed_bytes", "count"),
    ("history", "string"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("tunnel_parents", "set[string]"),
    ("ip_proto", "count"),
];

/// The lines above the first connection; the log is opened at `now`.
pub fn header(out: &mut Vec<u8>, now: &Zoned) {
    out.extend_from_slice(
        b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n\
          #path\tconn\n#open\t",
    );
    date(out, now);
    out.extend_from_slice(b"\n#fields");
    for (name, _) in FIELDS {
        out.push(b'\t');
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\n#types");
    for (_, kind) in FIELDS {
        out.push(b'\t');
        out.extend_from_slice(kind.as_bytes());
    }
    out.push(b'\n');
}

/// The line below the last; the log is closed at `now`.
pub fn footer(out: &mut Vec<u8>, now: &Zoned) {
    out.extend_from_slice(b"#close\t");
    date(out, now);
    out.push(b'\n');
}

/// When Zeek opens and closes a log: the host's clock and zone, whatever the capture's are.
fn date(out: &mut Vec<u8>, at: &Zoned) {
    out.extend_from_slice(at.strftime("%Y-%m-%d-%H-%M-%S").to_string().as_bytes());
}

/// The line of one connection.
pub fn close(out: &mut Vec<u8>, traffic: &Traffic<'_>, close: &Close) {
    let [orig, resp] = ends(close);
    let start = out.len();
    // Writing to a Vec does not fail.
    let _ = write!(
        out,
        "{}\t{}\t{}\t{}\t{}\t{}\ttcp\t{}\t",
        seconds(close.started_ns),
        uid(identity(close, traffic.number)),
        address(&orig.endpoint),
        orig.endpoint.port,
        address(&resp.endpoint),
        resp.endpoint.port,
        traffic.service.unwrap_or("-"),
    );
    // Zeek leaves the three out where no time passed: only one segment was seen.
    if close.duration_ns == 0 {
        out.extend_from_slice(b"-\t-\t-");
    } else {
        let _ = write!(
            out,
            "{}\t{}\t{}",
            seconds(close.duration_ns),
            count(orig.bytes),
            count(resp.bytes)
        );
    }
    let mut history = close.history.as_str().to_owned();
    if let Some(at) = traffic.stopped_at.map(usize::from).filter(|&at| at <= history.len()) {
        // Zeek's letter for a connection whose protocol it looks at no longer.
        history.insert(at, 'X');
    }
    let _ = writeln!(
        out,
        "\t{}\t-\t-\t{}\t{}\t{}\t{}\t{}\t{}\t-\t6",
        close.conn_state.as_str(),
        if traffic.gaps == 0 { "0" } else { "-" },
        if history.is_empty() { "-" } else { &history },
        count(orig.segments),
        count(traffic.ip_bytes[0]),
        count(resp.segments),
        count(traffic.ip_bytes[1]),
    );
    debug_assert_eq!(out[start..].iter().filter(|&&byte| byte == b'\t').count(), FIELDS.len() - 1);
}

fn count(value: Option<u64>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Zeek writes times with six digits behind the point.
fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns / 1_000 % 1_000_000)
}

/// A connection's identifier: a C and base 62.
fn uid(mut identity: u64) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::from("C");
    for _ in 0..11 {
        text.push(char::from(DIGITS[(identity % 62) as usize]));
        identity /= 62;
    }
    text
}
