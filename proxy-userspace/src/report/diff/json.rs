//! A comparison as one JSON object, version 1.

use super::words::say;
use super::{Diff, Group, Tally};
use crate::report::kind::Kind;
use crate::report::story::{CLIENT_AND_SERVER, tell};
use proxy_common::verdict::Role;
use serde_json::{Map, Value, json};

/// The object.
#[must_use]
pub fn object(diff: &Diff, titles: [&str; 2]) -> Value {
    json!({
        "v": 1,
        "old": titles[0],
        "new": titles[1],
        "changed": diff.any_changed(),
        "backends": diff.groups.iter().map(|group| backend(diff, group)).collect::<Vec<_>>(),
    })
}

fn backend(diff: &Diff, group: &Group) -> Value {
    let changed = diff.is_changed(group);
    let said = if changed { say(group) } else { Vec::new() };
    json!({
        "backend": group.name,
        "changed": changed,
        "largest_change": (group.size() * 1e4).round() / 1e4,
        "old": tally(&group.old),
        "new": tally(&group.new),
        "said": said
            .iter()
            .map(|said| json!({ "text": said.text, "old_way_back": said.rule }))
            .collect::<Vec<_>>(),
    })
}

fn tally(tally: &Tally) -> Value {
    let kinds: Map<String, Value> = Kind::all()
        .filter(|kind| tally.kinds[kind.index()] > 0)
        .map(|kind| (kind.to_string(), tally.kinds[kind.index()].into()))
        .collect();
    let signals = |role| {
        let [fin, rst_ack, rst, none] = tally.signals(role);
        json!({ "fin": fin, "rst_ack": rst_ack, "rst": rst, "none": none })
    };
    let [client, server, both, nobody] = tally.time_wait;
    json!({
        "connections": tally.connections,
        "kinds": kinds,
        "orig": signals(Role::Orig),
        "resp": signals(Role::Resp),
        "time_wait": { "orig": client, "resp": server, "both": both, "nobody": nobody },
        "half_closed_us": tally.half_closed_ns().map(|ns| ns / 1000),
        "half_closed_long": tally.long(),
        "lost": tally.lost,
        "refused": tally.refused(),
        "unanswered": tally.unanswered,
        "one_direction": tally.one_sided,
        "typical": tally.typical().map(|typical| json!({
            "connection": typical.number,
            "conn_state": typical.close.conn_state.as_str(),
            "history": typical.close.history.as_str(),
            "story": tell(&typical.close, &typical.flow, &typical.facts, &CLIENT_AND_SERVER),
        })),
    })
}
