//! A comparison for a terminal.

use super::words::say;
use super::{Diff, Group, Tally, Typical};
use crate::report::ladder::text::{Strokes, rows};
use crate::report::story::{CLIENT_AND_SERVER, command, counted, sign, tell};
use proxy_common::verdict::{Role, Signal};

/// Groups that did not change and are named one by one.
const MOST_UNCHANGED: usize = 20;

/// Appends the comparison. `titles` are what the two captures are called.
pub fn put(out: &mut String, diff: &Diff, titles: [&str; 2], strokes: Strokes) {
    let [old, new] = titles;
    out.push_str(&format!("old: {old}\nnew: {new}\n"));
    let (changed, same): (Vec<&Group>, Vec<&Group>) =
        diff.groups.iter().partition(|group| diff.is_changed(group));
    for group in &changed {
        put_group(out, group, strokes);
    }
    if changed.is_empty() {
        out.push_str("\nNothing changed.\n");
    }
    if !same.is_empty() {
        out.push_str("\nUnchanged:\n");
        for group in same.iter().take(MOST_UNCHANGED) {
            let usual = group.new.usual().map_or_else(String::new, |kind| kind.to_string());
            out.push_str(&format!("  {:<30} {usual}\n", group.name));
        }
        if same.len() > MOST_UNCHANGED {
            out.push_str(&format!("  and {} more\n", same.len() - MOST_UNCHANGED));
        }
    }
}

fn put_group(out: &mut String, group: &Group, strokes: Strokes) {
    let (old, new) = (&group.old, &group.new);
    out.push_str(&format!(
        "\n{}: {} before, {} now\n",
        group.name,
        counted(old.connections, "connection"),
        new.connections
    ));
    for said in say(group) {
        out.push_str(&format!("  - {}\n", said.text));
        if let Some(rule) = said.rule {
            out.push_str(&format!("    the old way back: {}\n", command(&group.name, rule)));
        }
    }
    out.push_str(&format!("\n  {:<34} {:>16} {:>16}\n", "How connections close", "before", "now"));
    for change in group.changes() {
        let cell = |place: usize| match change.counts[place] {
            0 => "-".to_owned(),
            count => format!("{count} ({:.0} %)", change.shares[place] * 100.0),
        };
        out.push_str(&format!(
            "  {:<34} {:>16} {:>16}\n",
            change.kind.to_string(),
            cell(0),
            cell(1)
        ));
    }
    for (role, name) in [(Role::Orig, "the client"), (Role::Resp, "the server")] {
        put_signals(out, name, role, old, new);
    }
    put_ladders(out, old, new, strokes);
}

/// `the client closes with   RST+ACK 10   FIN 10`.
fn put_signals(out: &mut String, name: &str, role: Role, old: &Tally, new: &Tally) {
    let cell = |tally: &Tally| {
        let names = [sign(Signal::Fin), sign(Signal::RstAck), sign(Signal::Rst), "nothing"];
        let mut parts: Vec<(u64, &str)> =
            tally.signals(role).into_iter().zip(names).filter(|(count, _)| *count > 0).collect();
        parts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let parts: Vec<String> =
            parts.iter().map(|(count, name)| format!("{name} {count}")).collect();
        if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
    };
    let label = format!("{name} closes with");
    out.push_str(&format!("  {label:<34} {:>16} {:>16}\n", cell(old), cell(new)));
}

/// A typical connection of each, side by side.
fn put_ladders(out: &mut String, old: &Tally, new: &Tally, strokes: Strokes) {
    const LANE: usize = 34;
    const WIDTH: usize = 52;
    let both = [old.typical(), new.typical()];
    let drawn = both.map(|typical| {
        typical.map_or_else(Vec::new, |typical| {
            let [orig, resp] = &typical.ends;
            rows(&typical.ladder, &typical.flow, [orig, resp], strokes, LANE)
        })
    });
    let titles = both
        .map(|typical| typical.map_or_else(String::new, |typical| format!("#{}", typical.number)));
    let [left, right] = drawn;
    let lines = left.len().max(right.len());
    if lines == 0 {
        return;
    }
    out.push_str(&format!(
        "\n  {:<WIDTH$} {}\n",
        format!("before, typically {}", titles[0]),
        format_args!("now, typically {}", titles[1])
    ));
    for line in 0..lines {
        let cell = |drawn: &[String]| drawn.get(line).cloned().unwrap_or_default();
        let (left, right) = (cell(&left), cell(&right));
        let pad = WIDTH.saturating_sub(left.chars().count());
        let row = format!("  {left}{:pad$} {right}", "");
        out.push_str(row.trim_end());
        out.push('\n');
    }
    for (typical, when) in both.into_iter().zip(["before", "now"]) {
        if let Some(typical) = typical {
            out.push_str(&format!("  {when}: {}\n", story(typical)));
        }
    }
}

fn story(typical: &Typical) -> String {
    tell(&typical.close, &typical.flow, &typical.facts, &CLIENT_AND_SERVER)
}
