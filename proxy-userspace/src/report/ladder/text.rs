//! A ladder for a terminal.

use super::{Ladder, Relative, Row, words};
use crate::report::story::{Names, time};
use proxy_common::flow::Flow;
use proxy_common::key::Side;

/// Columns between the two ends.
const LANE: usize = 42;
/// Columns of the time.
const TIME: usize = 11;

/// The letters that arrows are made of.
#[derive(Clone, Copy, Debug)]
pub struct Strokes {
    bar: char,
    line: char,
    right: char,
    left: char,
}

/// For terminals with Unicode.
pub const UNICODE: Strokes = Strokes { bar: '│', line: '─', right: '▶', left: '◀' };
/// For those without.
pub const ASCII: Strokes = Strokes { bar: '|', line: '-', right: '>', left: '<' };

/// Appends the ladder. The originator stands on the left; `ends` are what the two are called.
pub fn put(
    out: &mut String,
    ladder: &Ladder,
    flow: &Flow,
    names: &Names<'_>,
    ends: [&str; 2],
    strokes: Strokes,
) {
    let origin = ladder.rows.first().map_or(0, |row| row.time_ns);
    let relative = Relative::of(flow);
    let [left, right] = ends;
    let gap = (LANE + 2).saturating_sub(left.chars().count() + right.chars().count()).max(2);
    out.push_str(&format!("{:TIME$}  {left}{:gap$}{right}\n", "", ""));
    for (row, words) in ladder.rows.iter().zip(words::all(ladder, flow, names)) {
        let at = time(row.time_ns.saturating_sub(origin));
        let arrow = arrow(row, &relative, flow.orig, strokes);
        let bar = strokes.bar;
        out.push_str(&format!("{at:>TIME$}  {bar}{arrow}{bar}  {words}\n"));
    }
    if ladder.omitted > 0 {
        out.push_str(&format!("{:TIME$}  … and {} more segments\n", "", ladder.omitted));
    }
}

/// `──FIN+ACK 1 ack 32──────▶`, pointing away from its sender.
fn arrow(row: &Row, relative: &Relative, orig: Side, strokes: Strokes) -> String {
    let label = label(row, relative);
    let filler = LANE.saturating_sub(label.chars().count() + 5).max(1);
    let filler: String = std::iter::repeat_n(strokes.line, filler).collect();
    let line = strokes.line;
    if row.sender == orig {
        format!("{line}{line} {label} {filler}{}", strokes.right)
    } else {
        format!("{}{filler} {label} {line}{line}", strokes.left)
    }
}

/// The flags and numbers of a row.
pub(super) fn label(row: &Row, relative: &Relative) -> String {
    let numbers = relative.words(row);
    if row.is_data() {
        format!("data {numbers}")
    } else {
        format!("{} {numbers}", row.flag_names())
    }
}
