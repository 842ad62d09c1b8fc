//! The statistics as JSON: HAProxy's members, in its order.

use super::columns::COLUMNS;
use super::rows::{Object, Row, Value};
use super::typed::{kind, tags};

type Field = (u32, &'static str, &'static str, &'static str);

/// `show stat json`.
pub(super) fn rows(list: &[Row]) -> String {
    let rows = list.iter().map(|row| {
        let object = match row.object {
            Object::Frontend => "Frontend",
            Object::Backend => "Backend",
            Object::Server => "Server",
        };
        let fields = COLUMNS.iter().zip(&row.values).enumerate();
        let items = fields.filter_map(|(position, (column, value))| {
            let value = value.as_ref()?;
            let item = item(
                (position, column.name),
                tags(row, column.name, column.tags),
                (kind(value, column.kind), value),
            );
            let (proxy, server) = (row.proxy, row.server);
            Some(format!("{{\"objType\":\"{object}\",\"proxyId\":{proxy},\"id\":{server},{item}}}"))
        });
        format!("[{}]", items.collect::<Vec<_>>().join(","))
    });
    format!("[{}]\n", rows.collect::<Vec<_>>().join(","))
}

/// `show info json`.
pub(super) fn info(values: impl Iterator<Item = (&'static Field, Value)>) -> String {
    let items = values.map(|((position, name, tags, kind), value)| {
        format!("{{{}}}", item((*position, name), tags, (kind, &value)))
    });
    format!("[{}]\n", items.collect::<Vec<_>>().join(","))
}

/// The members that all have.
fn item(
    (position, name): (impl std::fmt::Display, &str),
    tags: &str,
    (kind, value): (&str, &Value),
) -> String {
    let value = match value {
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        number => number.to_string(),
    };
    format!(
        "\"field\":{{\"pos\":{position},\"name\":\"{name}\"}},\"processNum\":1,\"tags\":{},\
         \"value\":{{\"type\":\"{kind}\",\"value\":{value}}}",
        words(tags),
    )
}

/// The words for a tag's letters.
fn words(tags: &str) -> String {
    let mut letters = tags.chars();
    let origin = match letters.next() {
        Some('M') => "Metric",
        Some('S') => "Status",
        Some('K') => "Key",
        Some('C') => "Config",
        _ => "Product",
    };
    let nature = match letters.next() {
        Some('A') => "Age",
        Some('a') => "Avg",
        Some('C') => "Counter",
        Some('D') => "Duration",
        Some('G') => "Gauge",
        Some('L') => "Limit",
        Some('M') => "Max",
        Some('m') => "Min",
        Some('N') => "Name",
        Some('R') => "Rate",
        _ => "Output",
    };
    let scope = match letters.next() {
        Some('P') => "Process",
        Some('C') => "Cluster",
        _ => "Service",
    };
    format!("{{\"origin\":\"{origin}\",\"nature\":\"{nature}\",\"scope\":\"{scope}\"}}")
}
