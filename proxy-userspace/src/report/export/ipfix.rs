//! IPFIX's information elements (IANA's registry) as JSON; the reverse direction's names have
//! `reverse` before them, as in RFC 5103.

use super::{Traffic, ends};
use crate::ends::address;
use proxy_common::verdict::Close;
use proxy_common::verdict::vocabulary::{FlowEndReason, tshark_completeness};
use serde_json::{Value, json};

/// The line of one connection.
pub fn close(out: &mut Vec<u8>, traffic: &Traffic<'_>, close: &Close) {
    let [orig, resp] = ends(close);
    let mut flow = json!({
        "flowStartNanoseconds": close.started_ns,
        "flowEndNanoseconds": close.started_ns + close.duration_ns,
        "protocolIdentifier": 6,
        "sourceTransportPort": orig.endpoint.port,
        "destinationTransportPort": resp.endpoint.port,
        "tcpControlBits": traffic.flags[0],
        "reverseTcpControlBits": traffic.flags[1],
        "flowEndReason": FlowEndReason::of(close).number(),
        "transportOctetDeltaCount": orig.bytes,
        "reverseTransportOctetDeltaCount": resp.bytes,
        "packetTotalCount": orig.segments,
        "reversePacketTotalCount": resp.segments,
        "octetTotalCount": traffic.ip_bytes[0],
        "reverseOctetTotalCount": traffic.ip_bytes[1],
        "tcpSynTotalCount": orig.control[0],
        "reverseTcpSynTotalCount": resp.control[0],
        "tcpFinTotalCount": orig.control[1],
        "reverseTcpFinTotalCount": resp.control[1],
        "tcpRstTotalCount": orig.control[2],
        "reverseTcpRstTotalCount": resp.control[2],
        // Not IPFIX's, but what the flow end reason leaves out.
        "teardown": {
            "connState": close.conn_state.as_str(),
            "history": close.history.as_str(),
            "firstCloser": close.first_closer.map(|role| role.as_str()),
            "firstSignal": close.first_signal.map(|signal| signal.as_str()),
            "answer": close.answer.map(|signal| signal.as_str()),
            "tsharkCompleteness": tshark_completeness(close),
        },
    });
    for (name, end) in [("source", orig), ("destination", resp)] {
        let address = address(&end.endpoint);
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        flow[format!("{name}{family}Address")] = Value::String(address.to_string());
    }
    // Serialising a value into a Vec does not fail.
    let _ = serde_json::to_writer(&mut *out, &flow);
    out.push(b'\n');
}
