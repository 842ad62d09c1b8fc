//! Suricata's eve.json, event type `flow` (`src/output-json-flow.c` has the fields).

use super::{Traffic, ends, identity};
use crate::ends::address;
use jiff::Timestamp;
use proxy_common::segment::{ACK, FIN, PSH, RST, SYN, URG};
use proxy_common::verdict::{Close, ConnState};
use serde_json::{Value, json};

/// The line of one connection.
pub fn close(out: &mut Vec<u8>, traffic: &Traffic<'_>, close: &Close) {
    let [orig, resp] = ends(close);
    let flags = traffic.flags[0] | traffic.flags[1];
    let ended_ns = close.started_ns + close.duration_ns;
    let (start, end) = (time(close.started_ns), time(ended_ns));
    let mut event = json!({
        "timestamp": end,
        // Suricata's have 53 bits, so that JavaScript can hold them.
        "flow_id": identity(close, traffic.number) >> 11,
        "event_type": "flow",
        "src_ip": address(&orig.endpoint).to_string(),
        "src_port": orig.endpoint.port,
        "dest_ip": address(&resp.endpoint).to_string(),
        "dest_port": resp.endpoint.port,
        "proto": "TCP",
        "flow": {
            "pkts_toserver": orig.segments,
            "pkts_toclient": resp.segments,
            "bytes_toserver": traffic.ip_bytes[0],
            "bytes_toclient": traffic.ip_bytes[1],
            "start": start,
            "end": end,
            // The seconds that the two times differ by, without their fractions.
            "age": ended_ns / 1_000_000_000 - close.started_ns / 1_000_000_000,
            "state": state(close),
            "reason": if close.is_unfinished() { "shutdown" } else { "timeout" },
            "alerted": false,
        },
        "tcp": {
            "tcp_flags": hex(flags),
            "tcp_flags_ts": hex(traffic.flags[0]),
            "tcp_flags_tc": hex(traffic.flags[1]),
            "state": tcp_state(close),
        },
    });
    if let Some(service) = traffic.service {
        event["app_proto"] = service.into();
    }
    let tcp = &mut event["tcp"];
    let names = [
        (SYN, "syn"),
        (FIN, "fin"),
        (RST, "rst"),
        (PSH, "psh"),
        (ACK, "ack"),
        (URG, "urg"),
        (0x40, "ecn"),
        (0x80, "cwr"),
    ];
    for (flag, name) in names {
        if flags & flag != 0 {
            tcp[name] = Value::Bool(true);
        }
    }
    // Serialising a value into a Vec does not fail.
    let _ = serde_json::to_writer(&mut *out, &event);
    out.push(b'\n');
}

/// `new` before the handshake is complete, `established` after it, `closed` in the end.
fn state(close: &Close) -> &'static str {
    match close.conn_state {
        _ if close.is_over() => "closed",
        ConnState::S0 | ConnState::Sh | ConnState::Shr => "new",
        _ => "established",
    }
}

/// The state of Suricata's own machine that comes nearest. It is the server's.
fn tcp_state(close: &Close) -> &'static str {
    match (close.orig.fin_ns, close.resp.fin_ns) {
        _ if close.is_over() => "closed",
        (None, None) if close.conn_state == ConnState::S0 => "syn_sent",
        (None, None) => "established",
        (Some(_), None) => "close_wait",
        (_, Some(_)) => "fin_wait1",
    }
}

fn hex(flags: u8) -> String {
    format!("{flags:02x}")
}

/// `2026-11-22T10:18:07.097758+0000`.
fn time(ns: u64) -> String {
    let stamp = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH);
    stamp.strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string()
}
