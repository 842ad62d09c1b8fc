//! Variables that rules set and read: `set-var(txn.NAME)`, `var(txn.NAME)`.

use super::hooks::Edit;
use super::sample::Sample;
use std::net::IpAddr;

/// How long a variable is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `sess`: as long as the client's connection.
    Session,
    /// `txn`: for a request and its response, and the log line.
    Transaction,
    /// `req`: while rules look at the request.
    Request,
    /// `res`: from the response on.
    Response,
}

impl Scope {
    /// Those that are there once there is a response.
    pub const AFTER: &'static [Self] = &[Self::Session, Self::Transaction, Self::Response];
}

/// A variable's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// What stands before the first dot.
    pub scope: Scope,
    /// What stands behind it.
    pub name: String,
}

/// What is in a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Bytes.
    Text(Vec<u8>),
    /// A whole number.
    Number(i64),
    /// An address.
    Address(IpAddr),
    /// True or false.
    Truth(bool),
}

impl Value {
    /// As a sample.
    #[must_use]
    pub fn sample(&self) -> Sample<'_> {
        match self {
            Self::Text(text) => Sample::Text(text),
            Self::Number(number) => Sample::Number(*number),
            Self::Address(address) => Sample::Address(*address),
            Self::Truth(truth) => Sample::Truth(*truth),
        }
    }
}

impl From<Sample<'_>> for Value {
    fn from(sample: Sample<'_>) -> Self {
        match sample {
            Sample::Text(text) => Self::Text(text.to_vec()),
            Sample::Number(number) => Self::Number(number),
            Sample::Address(address) => Self::Address(address),
            Sample::Truth(truth) => Self::Truth(truth),
        }
    }
}

/// What rules have put there, if anything is left of it.
#[must_use]
pub fn lookup<'a>(edits: &'a [Edit], wanted: &Name) -> Option<&'a Value> {
    let last = edits.iter().rev().find_map(|edit| match edit {
        Edit::Variable(name, value) if **name == *wanted => Some(value),
        _ => None,
    });
    last?.as_ref()
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
        let set = |name: &Arc<Name>, n| Edit::Variable(Arc::clone(name), Some(Value::Number(n)));
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
