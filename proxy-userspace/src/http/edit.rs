//! What rules do: changes to a head, and variables.

use super::sample::Message;
use super::variable::{Name, Scope, Value};
use std::sync::Arc;

/// What a rule does, mostly to a head; applied in order. Content-Length and Transfer-Encoding stay what
/// the message's framing is, whatever is asked; of Connection only `close` counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Removes all fields of that name and adds this one at the end (`set-header`).
    Set(Arc<str>, Vec<u8>),
    /// Adds one at the end (`add-header`).
    Add(Arc<str>, Vec<u8>),
    /// Removes all fields of that name (`del-header`).
    Del(Arc<str>),
    /// Gives the fields of that name these values (`replace-header`, `replace-value`).
    Values {
        /// The name.
        name: Arc<str>,
        /// How many of the first stand where the message's own fields stood; the others are added.
        kept: usize,
        /// All of them, in order.
        values: Vec<Vec<u8>>,
    },
    /// A request's method (`set-method`).
    Method(String),
    /// A request's target (`set-path` and its kin).
    Target(String),
    /// A response's status and the reason for it (`set-status`).
    Status(u16, Arc<str>),
    /// The level of the log line, or that there is none (`set-log-level`).
    Level(Option<u8>),
    /// What is kept for the log in a slot of this message's (`http-request capture`).
    Capture(Message, usize, Vec<u8>),
    /// A variable's value, or that it has none any more (`set-var`, `unset-var`).
    Variable(Arc<Name>, Option<Arc<Value>>),
}

impl Edit {
    /// The field that it changes; that of a start line has no name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Set(name, _)
            | Self::Add(name, _)
            | Self::Del(name)
            | Self::Values { name, .. } => name,
            Self::Method(_)
            | Self::Target(_)
            | Self::Status(..)
            | Self::Level(_)
            | Self::Capture(..)
            | Self::Variable(..) => "",
        }
    }

    /// Whether it changes the request line.
    #[must_use]
    pub const fn is_of_the_line(&self) -> bool {
        matches!(self, Self::Method(_) | Self::Target(_))
    }

    /// Whether it takes away what stood there under that name.
    #[must_use]
    pub fn replaces(&self) -> bool {
        matches!(self, Self::Set(..) | Self::Del(_) | Self::Values { .. })
    }
}

/// What the rules say of the log line's level: none where they don't, `Some(None)` for no line at all.
#[must_use]
pub fn log_level(edits: &[Edit]) -> Option<Option<u8>> {
    edits.iter().rev().find_map(|edit| match edit {
        Edit::Level(level) => Some(*level),
        _ => None,
    })
}

/// The method that the rules leave of a request's.
pub(crate) fn method<'a>(received: &'a str, edits: &'a [Edit]) -> &'a str {
    let given = edits.iter().rev().find_map(|edit| match edit {
        Edit::Method(method) => Some(method.as_str()),
        _ => None,
    });
    given.unwrap_or(received)
}

/// What rules have put there, if anything is left of it.
#[must_use]
pub fn lookup<'a>(edits: &'a [Edit], wanted: &Name) -> Option<&'a Value> {
    let last = edits.iter().rev().find_map(|edit| match edit {
        Edit::Variable(name, value) if **name == *wanted => Some(value),
        _ => None,
    });
    last?.as_deref()
}

/// The variables of these scopes, as the rules have left them.
#[must_use]
pub fn left(edits: &[Edit], scopes: &[Scope]) -> Vec<Edit> {
    let mut all: Vec<&Edit> = Vec::new();
    for edit in edits.iter().rev() {
        let Edit::Variable(name, _) = edit else { continue };
        let is_known = |other: &&Edit| matches!(other, Edit::Variable(known, _) if known == name);
        if scopes.contains(&name.scope) && !all.iter().any(is_known) {
            all.push(edit);
        }
    }
    let is_set = |edit: &&&Edit| matches!(edit, Edit::Variable(_, Some(_)));
    all.iter().filter(is_set).rev().map(|edit| (*edit).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_last_value_counts_within_its_scope() {
        let name = |scope, name: &str| Arc::new(Name { scope, name: name.to_owned() });
        let (a, b) = (name(Scope::Transaction, "a"), name(Scope::Session, "b"));
        let (c, a_too) = (name(Scope::Request, "c"), name(Scope::Session, "a"));
        let set = |name: &Arc<Name>, n| {
            Edit::Variable(Arc::clone(name), Some(Arc::new(Value::Number(n))))
        };
        let edits = [
            set(&a, 1),
            set(&b, 2),
            Edit::Del("x".into()),
            set(&c, 3),
            set(&a_too, 4),
            set(&a, 5),
            Edit::Variable(Arc::clone(&b), None),
        ];
        assert_eq!(lookup(&edits, &a), Some(&Value::Number(5)));
        assert_eq!(lookup(&edits, &b), None);
        assert_eq!(lookup(&edits[..2], &b), Some(&Value::Number(2)));
        let both = [Scope::Session, Scope::Transaction];
        assert_eq!(left(&edits, &both), [set(&a_too, 4), set(&a, 5)]);
        assert_eq!(left(&edits, &[Scope::Session]), [set(&a_too, 4)]);
        assert_eq!(left(&edits, &[Scope::Response]), []);
    }
}
