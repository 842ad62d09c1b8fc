//! The statistics as CSV, as `show stat` gives them.

use super::columns::{COLUMNS, FIRST_OF_MODULES};
use super::rows::Row;

/// `show stat csv`.
pub(super) fn rows(list: &[Row]) -> String {
    let mut out = String::from("# ");
    for column in COLUMNS {
        if column.name == FIRST_OF_MODULES {
            out.push_str("-,");
        }
        out.push_str(column.name);
        out.push(',');
    }
    out.push('\n');
    for row in list {
        for (column, value) in COLUMNS.iter().zip(&row.values) {
            if column.name == FIRST_OF_MODULES {
                out.push_str("-,");
            }
            if let Some(value) = value {
                quoted(&mut out, &value.to_string());
            }
            out.push(',');
        }
        out.push('\n');
    }
    out
}

/// A CSV field, quoted where it must be (RFC 4180).
fn quoted(out: &mut String, text: &str) {
    if text.contains([',', '"', '\n']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}
