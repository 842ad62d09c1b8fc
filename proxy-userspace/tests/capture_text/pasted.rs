//! What a terminal, a browser or Windows make of the text on its way.

use super::{fixtures, read_text, tcpdump};

/// The text with every line cut at this width, as `screen` and `tmux` copy it.
fn cut(text: &str, width: usize, quoting: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        for piece in line.as_bytes().chunks(width) {
            let piece = std::str::from_utf8(piece).unwrap();
            out += &format!("{quoting}{}\n", piece.trim_end_matches(' '));
        }
    }
    out
}

/// The text with lines broken between words, as a mail program does.
fn broken(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut length = 0;
        for word in line.split_inclusive(' ') {
            if length > 0 && length + word.len() > width {
                out.truncate(out.trim_end_matches(' ').len());
                out.push('\n');
                length = 0;
            }
            out += word;
            length += word.len();
        }
        out.push('\n');
    }
    out
}

fn same(text: &str, pasted: Vec<u8>, what: &str) {
    let (expected, plain) = read_text(text.into());
    let (found, account) = read_text(pasted);
    for (found, expected) in found.segments.iter().zip(&expected.segments) {
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(found.segments.len(), expected.segments.len(), "{what}");
    assert_eq!(account.notes, plain.notes, "{what}");
}

#[test]
fn lines_cut_at_a_terminals_width_are_put_together() {
    for path in fixtures().iter().step_by(3) {
        for form in [&["-n"][..], &["-n", "-t"], &["-n", "-S", "-tttt"], &["-n", "-v"]] {
            let text = String::from_utf8(tcpdump(path, form)).unwrap();
            for width in [80, 93, 100, 120] {
                let what = format!("{path:?} {form:?} {width}");
                same(&text, cut(&text, width, "").into(), &what);
                same(&text, cut(&text, width, "> ").into(), &what);
                same(&text, broken(&text, width).into(), &format!("{what}, between words"));
            }
        }
    }
}

#[test]
fn text_from_windows_and_from_pages_is_read() {
    for path in fixtures().iter().step_by(3) {
        let text = String::from_utf8(tcpdump(path, &["-n"])).unwrap();
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let little: Vec<u8> = windows.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = windows.encode_utf16().flat_map(u16::to_be_bytes).collect();
        same(&text, little, "UTF-16LE");
        same(&text, big, "UTF-16BE");
        same(&text, windows.into_bytes(), "UTF-8 with a mark");
        same(&text, text.replace('\n', "\r").into_bytes(), "an old Mac's");
        same(&text, text.replace('\n', "\r\r\n").into_bytes(), "Windows' twice");
        same(&text, text.replace(' ', "\u{a0}").into_bytes(), "spaces that do not break");
        same(&text, text.replace(' ', "&nbsp;").into_bytes(), "the same in HTML");
        same(&text, format!("```console\n$ tcpdump -n\n{text}```\n").into_bytes(), "a fence");
    }
}
