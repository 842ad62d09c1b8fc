//! A ladder as a picture, for a ticket.

use super::text::label;
use super::{Ladder, Relative, words};
use crate::report::story::{Names, time};
use proxy_common::flow::Flow;
use proxy_common::segment::{FIN, RST, SYN};
use std::fmt::Write;

const ROW: u32 = 26;
const TOP: u32 = 92;
const LEFT: u32 = 110;
const RIGHT: u32 = 490;
const WORDS: u32 = RIGHT + 20;
const WIDTH: u32 = 1180;

/// What stands above the picture.
#[derive(Clone, Copy, Debug)]
pub struct Caption<'a> {
    /// The connection, in a few words.
    pub title: &'a str,
    /// Its story.
    pub story: &'a str,
    /// What the two ends are called, the originator first.
    pub ends: [&'a str; 2],
}

/// The picture, a whole SVG document. Texts are escaped: names come from captures.
#[must_use]
pub fn picture(ladder: &Ladder, flow: &Flow, names: &Names<'_>, caption: &Caption<'_>) -> String {
    let rows = ladder.rows.len() as u32 + u32::from(ladder.omitted > 0);
    let height = TOP + (rows + 1) * ROW + 20;
    let mut out = String::new();
    open(&mut out, height, caption);
    let bottom = height - 24;
    for x in [LEFT, RIGHT] {
        let _ = writeln!(out, r#"<line class="bar" x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}"/>"#);
    }
    let origin = ladder.rows.first().map_or(0, |row| row.time_ns);
    let relative = Relative::of(ladder, flow);
    let mut y = TOP + ROW;
    for (row, words) in ladder.rows.iter().zip(words::all(ladder, flow, names)) {
        let class = match row.flags {
            flags if flags & RST != 0 => "rst",
            flags if flags & FIN != 0 => "fin",
            flags if flags & SYN != 0 => "syn",
            _ => "data",
        };
        let (from, to) =
            if row.sender == flow.orig { (LEFT, RIGHT - 7) } else { (RIGHT, LEFT + 7) };
        let at = time(row.time_ns.saturating_sub(origin));
        let label = escaped(&label(row, &relative));
        let words = escaped(&words);
        let (end, middle, above, base) = (LEFT - 12, u32::midpoint(LEFT, RIGHT), y - 4, y + 4);
        let _ = writeln!(
            out,
            r#"<text class="time" x="{end}" y="{base}" text-anchor="end">{at}</text>
<line class="{class}" x1="{from}" y1="{y}" x2="{to}" y2="{y}" marker-end="url(#{class})"/>
<text class="{class}" x="{middle}" y="{above}" text-anchor="middle">{label}</text>
<text x="{WORDS}" y="{base}">{words}</text>"#
        );
        y += ROW;
    }
    if ladder.omitted > 0 {
        let omitted = ladder.omitted;
        let _ = writeln!(out, r#"<text x="{WORDS}" y="{y}">… and {omitted} more segments</text>"#);
    }
    out.push_str("</svg>\n");
    out
}

fn open(out: &mut String, height: u32, caption: &Caption<'_>) {
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="ui-monospace, monospace" font-size="12">
<style>
rect {{ fill: #fff }} text {{ fill: #222 }} .time {{ fill: #777 }} .title {{ font-size: 14px; font-weight: bold }}
line {{ stroke-width: 1.4 }} .bar {{ stroke: #999 }}
line.syn {{ stroke: #2a62b8 }} line.data {{ stroke: #888 }} line.fin {{ stroke: #1c7c3c }} line.rst {{ stroke: #b3261e }}
text.syn {{ fill: #2a62b8 }} text.data {{ fill: #666 }} text.fin {{ fill: #1c7c3c }} text.rst {{ fill: #b3261e }}
</style>
<defs>"#
    );
    for (class, colour) in
        [("syn", "#2a62b8"), ("data", "#888"), ("fin", "#1c7c3c"), ("rst", "#b3261e")]
    {
        let _ = writeln!(
            out,
            r#"<marker id="{class}" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{colour}"/></marker>"#
        );
    }
    let (title, story) = (escaped(caption.title), escaped(caption.story));
    let [orig, resp] = caption.ends.map(escaped);
    let _ = writeln!(
        out,
        r#"</defs>
<rect width="100%" height="100%"/>
<text class="title" x="20" y="26">{title}</text>
<text x="20" y="48">{story}</text>
<text x="{LEFT}" y="80" text-anchor="middle">{orig}</text>
<text x="{RIGHT}" y="80" text-anchor="middle">{resp}</text>"#
    );
}

/// Text that may stand in XML; what no XML may hold becomes a replacement character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(' '),
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}
