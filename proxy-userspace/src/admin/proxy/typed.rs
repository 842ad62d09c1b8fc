//! The statistics with each value's tags and type.

use super::columns::COLUMNS;
use super::rows::{Object, Row, Value};
use std::fmt::Write;

/// The type of a value, which for "never" is not the column's.
pub(super) fn kind(value: &Value, column: &'static str) -> &'static str {
    match value {
        Value::Signed(_) => "s32",
        Value::Text(_) => "str",
        Value::Number(_) if column == "str" => "u64",
        Value::Number(_) => column,
    }
}

/// What a column is, where that depends on the line.
pub(super) fn tags(row: &Row, name: &str, tags: &'static str) -> &'static str {
    match (row.object, name) {
        (Object::Backend, "act" | "bck" | "rate" | "rate_max") => "MGP",
        _ => tags,
    }
}

/// `show stat typed`.
pub(super) fn rows(list: &[Row]) -> String {
    let mut out = String::new();
    for row in list {
        let letter = match row.object {
            Object::Frontend => 'F',
            Object::Backend => 'B',
            Object::Server => 'S',
        };
        for (position, (column, value)) in COLUMNS.iter().zip(&row.values).enumerate() {
            let Some(value) = value else { continue };
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "{letter}.{}.{}.{position}.{}.1:{}:{}:{value}",
                row.proxy,
                row.server,
                column.name,
                tags(row, column.name, column.tags),
                kind(value, column.kind),
            );
        }
        out.push('\n');
    }
    // An empty line stands between two; the last one is the session's own.
    out.truncate(out.trim_end().len());
    if !out.is_empty() {
        out.push('\n');
    }
    out
}
