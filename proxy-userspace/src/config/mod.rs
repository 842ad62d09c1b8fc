//! HAProxy's configuration language: text, words with positions, sections, a checked model.
//!
//! Every mistake is found, not the first one only, and said as HAProxy says it: where it is, what
//! would be right, and the nearest word that exists. In the lenient mode, for a host whose real
//! proxy is HAProxy itself, what teardown does not know is passed over.

mod acl_words;
pub mod address;
mod args;
mod arguments;
mod balance;
mod bind;
mod capture;
mod check_lines;
mod condition;
mod converters;
mod cookie;
pub mod diag;
pub mod directives;
mod error_lines;
mod error_pages;
pub mod expression;
pub mod format;
mod global;
pub mod labels;
pub mod log;
pub mod model;
mod option;
pub mod options;
#[cfg(test)]
mod page;
mod patterns;
mod proxy;
mod reader;
mod rule_lines;
mod server;
pub mod source;
mod stats;
pub mod token;
pub(crate) mod track;
mod unused;
mod whole;

pub use address::{Address, Host, Port};
pub use diag::{Finding, Findings, Level};
pub use model::Config;

use source::Source;
use std::path::PathBuf;

/// How strictly a configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// To run it: everything must be understood.
    Strict,
    /// To take the names from it: nothing is an error.
    Lenient,
}

/// Reads files and folders, with the process's environment.
///
/// In the lenient mode no finding is fatal.
///
/// # Errors
/// A file or folder that cannot be read.
pub fn load(
    paths: &[PathBuf],
    strictness: Strictness,
) -> Result<(Config, Findings), source::SourceError> {
    let sources = source::read(paths)?;
    Ok(parse(&sources, strictness, &|name| std::env::var(name).ok()))
}

/// Reads texts, with the variables that `environment` knows.
#[must_use]
pub fn parse(
    sources: &[Source],
    strictness: Strictness,
    environment: token::Environment<'_>,
) -> (Config, Findings) {
    let mut reader = reader::Reader::new(strictness == Strictness::Lenient);
    for source in sources {
        reader.file(source, environment);
    }
    let (mut config, mut findings) = reader.finish();
    whole::check(&mut config, &mut findings);
    if strictness == Strictness::Lenient {
        for finding in &mut findings.list {
            finding.level = Level::Notice;
        }
    }
    (config, findings)
}

#[cfg(test)]
mod tests;
