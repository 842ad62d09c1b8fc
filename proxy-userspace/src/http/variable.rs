//! Variables that rules set and read: `set-var(txn.NAME)`, `var(txn.NAME)`.

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
    /// Itself, a text without what is behind its first `most` bytes.
    #[must_use]
    pub fn up_to(mut self, most: usize) -> Self {
        if let Self::Text(text) = &mut self {
            text.truncate(most);
        }
        self
    }
}
