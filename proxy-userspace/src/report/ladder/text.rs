//! A ladder for a terminal.

use super::{Ladder, Relative, Row, words};
use crate::report::story::{Names, time};
use proxy_common::flow::Flow;
use proxy_common::key::Side;

/// Columns between the two ends.
const LANE: usize = 42;
/// Columns of the time.
const TIME: usize = 10;

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

impl Strokes {
    /// What the environment's locale can show; a file or a pipe gets Unicode.
    #[must_use]
    pub fn of_terminal(is_terminal: bool) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let utf8 = locale
            .is_none_or(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"));
        if utf8 || !is_terminal { UNICODE } else { ASCII }
    }
}

/// Appends the ladder with its words. The originator stands on the left; `ends` are what the two
/// are called.
pub fn put(
    out: &mut String,
    ladder: &Ladder,
    flow: &Flow,
    names: &Names<'_>,
    ends: [&str; 2],
    strokes: Strokes,
) {
    let mut rows = rows(ladder, flow, ends, strokes, LANE).into_iter();
    out.push_str(&rows.next().unwrap_or_default());
    out.push('\n');
    for (row, words) in rows.by_ref().zip(words::all(ladder, flow, names)) {
        out.push_str(&format!("{row}  {words}\n"));
    }
    for row in rows {
        out.push_str(&row);
        out.push('\n');
    }
}

/// The ladder's lines without words: its head, its rows, and what is left out.
#[must_use]
pub fn rows(
    ladder: &Ladder,
    flow: &Flow,
    ends: [&str; 2],
    strokes: Strokes,
    lane: usize,
) -> Vec<String> {
    let origin = ladder.rows.first().map_or(0, |row| row.time_ns);
    let relative = Relative::of(ladder, flow);
    let [left, right] = ends;
    let gap = (lane + 2).saturating_sub(left.chars().count() + right.chars().count()).max(2);
    let mut lines = vec![format!("{:TIME$}  {left}{:gap$}{right}", "", "")];
    for row in &ladder.rows {
        let at = time(row.time_ns.saturating_sub(origin));
        let arrow = arrow(row, &relative, flow.orig, strokes, lane);
        let bar = strokes.bar;
        lines.push(format!("{at:>TIME$}  {bar}{arrow}{bar}"));
    }
    if ladder.omitted > 0 {
        lines.push(format!("{:TIME$}  … and {} more segments", "", ladder.omitted));
    }
    lines
}

/// `──FIN+ACK 1 ack 32──────▶`, pointing away from its sender.
fn arrow(row: &Row, relative: &Relative, orig: Side, strokes: Strokes, lane: usize) -> String {
    let label = label(row, relative);
    let filler = lane.saturating_sub(label.chars().count() + 5).max(1);
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
