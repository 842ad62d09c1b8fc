//! What takes the place of the proxy's own error pages.

use crate::config::token::Position;
use crate::http::settings::ErrorPage;
use std::collections::BTreeMap;

/// A line that says something of error pages. Later ones go before earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorWord {
    /// `errorfile`, `errorloc`, `http-error`: the page of a status.
    Page(u16, ErrorPage),
    /// `http-error status N default-errorfiles`: the built-in one again.
    BuiltIn(u16),
    /// `errorfiles`, and `http-error` with them: those of a section.
    Section {
        /// Its name.
        name: String,
        /// Where it is named.
        at: Position,
        /// Only these; all where there is none.
        codes: Vec<u16>,
    },
}

/// A section `http-errors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpErrors {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub at: Position,
    /// Its pages.
    pub pages: BTreeMap<u16, ErrorPage>,
}
