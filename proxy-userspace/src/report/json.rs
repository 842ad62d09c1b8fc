//! A close as one JSON object, version 1; docs/tail.md lists its fields.
//!
//! Written by hand: at tens of thousands of lines a second a serialiser's maps would be most of the
//! daemon's time. A snapshot test holds it to what is documented.

use super::clock::Stamp;
use super::put;
use super::record::Record;
use proxy_common::acts::Cause;
use proxy_common::verdict::EndReport;

/// Appends the object, without a line's end.
pub fn close(out: &mut Vec<u8>, record: &Record<'_>, stamp: &mut Stamp) {
    let close = record.close;
    out.extend_from_slice(b"{\"v\":1,\"ts\":\"");
    stamp.rfc3339(out, record.unix_ns);
    out.extend_from_slice(b"\",\"orig\":\"");
    put::endpoint(out, &close.orig.endpoint);
    out.extend_from_slice(b"\",\"resp\":\"");
    put::endpoint(out, &close.resp.endpoint);
    out.push(b'"');
    word(out, "conn_state", Some(close.conn_state.as_str()));
    word(out, "history", Some(close.history.as_str()));
    word(out, "first_closer", close.first_closer.map(|role| role.as_str()));
    word(out, "first_signal", close.first_signal.map(|signal| signal.as_str()));
    word(out, "answer", close.answer.map(|answer| answer.as_str()));
    number(out, "half_closed_us", record.half_closed_ns().map(|ns| ns / 1_000));
    number(out, "duration_us", Some(close.duration_ns / 1_000));
    number(out, "orig_bytes", close.orig.bytes);
    number(out, "resp_bytes", close.resp.bytes);
    number(out, "unread_bytes", record.unread_bytes());
    number(out, "unacked_bytes", record.unacked_bytes());
    text(out, "rst_reason", record.rst_reason);
    let owner = record.owner();
    key(out, "process");
    match owner {
        Some(owner) => put::json_name(out, owner.name()),
        None => out.extend_from_slice(b"null"),
    }
    number(out, "pid", owner.map(|owner| owner.pid.into()));
    text(out, "proxy", record.label.proxy);
    text(out, "backend", record.label.backend);
    text(out, "server", record.label.server);
    if let Some(change) = record.change {
        let rule = change.cause != Cause::Command;
        word(out, "actor", Some(if rule { "rule" } else { "command" }));
        text(out, "rule", change.rule);
        word(out, "asked", change.asked.map(|asked| asked.as_str()));
        word(out, "sent", Some(change.sent.as_str()));
        word(out, "cause", Some(change.cause.as_str()));
    }
    if record.is_half_open() {
        out.extend_from_slice(b",\"half_open\":true");
    }
    if let Some(said) = &record.said {
        word(out, "class", Some(said.class));
        word(out, "termination", Some(said.termination.as_str()));
        word(out, "phase", said.phase);
        text(out, "method", said.method);
        number(out, "status", said.status.map(u64::from));
        number(out, "requests", Some(said.requests.into()));
    }
    path(out, ["orig_srtt_us", "orig_retransmissions"], &close.orig);
    path(out, ["resp_srtt_us", "resp_retransmissions"], &close.resp);
    out.push(b'}');
}

/// What a local socket measured of the way to its peer.
fn path(out: &mut Vec<u8>, [srtt, retransmissions]: [&str; 2], end: &EndReport) {
    if let Some(srtt_us) = end.srtt_us {
        number(out, srtt, Some(srtt_us.into()));
        number(out, retransmissions, end.retransmissions.map(u64::from));
    }
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A word of ours, which needs no escaping.
fn word(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    key(out, name);
    match value {
        Some(value) => {
            out.push(b'"');
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// A text of somebody else's.
fn text(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    key(out, name);
    match value {
        Some(value) => put::json_string(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: Option<u64>) {
    key(out, name);
    match value {
        Some(value) => put::number(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::label::Label;
    use crate::report::sample::{self, Script};
    use jiff::tz::TimeZone;
    use proxy_common::verdict;

    fn json(script: &Script, label: Label<'_>, half_open_ns: Option<u64>) -> String {
        let close = verdict::close(&script.key, &script.flow);
        let record = Record {
            label,
            rst_reason: close.orig.rst_reason.map(|_| "TCP_ABORT_ON_CLOSE"),
            said: close.orig.rst_reason.map(|_| sample::said()),
            half_open_ns,
            ..Record::of(&close)
        };
        let mut out = Vec::new();
        super::close(&mut out, &record, &mut Stamp::in_zone(TimeZone::UTC));
        let text = String::from_utf8(out).expect("UTF-8");
        let _: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        text
    }

    /// Version 1. A change here breaks every reader: fields are only ever added, at the end.
    #[test]
    fn version_1() {
        let label = Label { proxy: Some("www"), backend: Some("web"), server: Some("w1") };
        insta::assert_snapshot!(json(&sample::clean(), label, None), @r#"{"v":1,"ts":"2026-01-31T23:59:59.227988Z","orig":"10.0.0.1:40000","resp":"10.0.0.5:80","conn_state":"SF","history":"ShADfF","first_closer":"resp","first_signal":"fin","answer":"fin","half_closed_us":332,"duration_us":104532,"orig_bytes":78,"resp_bytes":167,"unread_bytes":null,"unacked_bytes":null,"rst_reason":null,"process":null,"pid":null,"proxy":"www","backend":"web","server":"w1"}"#);
        insta::assert_snapshot!(json(&sample::reset(), Label::default(), None), @r#"{"v":1,"ts":"2026-02-01T00:00:01.123706Z","orig":"[::1]:50000","resp":"[::1]:8080","conn_state":"RSTO","history":"ShADdR","first_closer":"orig","first_signal":"rst_ack","answer":null,"half_closed_us":null,"duration_us":2000250,"orig_bytes":10,"resp_bytes":4096,"unread_bytes":4096,"unacked_bytes":0,"rst_reason":"TCP_ABORT_ON_CLOSE","process":"a\\x22b\\x20c\\xff","pid":4242,"proxy":null,"backend":null,"server":null,"class":"traffic","termination":"CD--","phase":"data","method":"GET","status":200,"requests":3,"orig_srtt_us":1204,"orig_retransmissions":2}"#);
        insta::assert_snapshot!(
            json(&sample::half_open(), Label::default(), Some(1_500_000_000)), @r#"{"v":1,"ts":"2026-01-31T23:59:59.123656Z","orig":"10.0.0.1:40000","resp":"10.0.0.5:80","conn_state":"S2","history":"ShAFa","first_closer":"orig","first_signal":"fin","answer":null,"half_closed_us":1500000,"duration_us":200,"orig_bytes":10,"resp_bytes":0,"unread_bytes":null,"unacked_bytes":null,"rst_reason":null,"process":null,"pid":null,"proxy":null,"backend":null,"server":null,"half_open":true}"#);
    }

    #[test]
    fn the_docs_name_every_field() {
        let page = include_str!("../../../docs/tail.md");
        let half_open = json(&sample::reset(), Label::default(), Some(1));
        let object: serde_json::Value = serde_json::from_str(&half_open).expect("JSON");
        let changed = ["actor", "rule", "asked", "sent", "cause"];
        let names = object.as_object().expect("an object").keys().map(String::as_str);
        for name in names.chain(changed) {
            let there =
                page.contains(&format!("`{name}`")) || page.contains(&format!("\"{name}\":"));
            assert!(there, "{name}");
        }
    }
}
