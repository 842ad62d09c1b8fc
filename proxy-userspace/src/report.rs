//! A close as a line, as JSON, as a row of a summary. Knows nothing of where closes come from.

pub mod clock;
pub mod columns;
pub mod diff;
pub mod export;
pub mod filter;
pub mod json;
pub mod kind;
pub mod label;
pub mod ladder;
pub mod put;
pub mod record;
#[cfg(test)]
pub(crate) mod sample;
pub mod segment;
pub mod story;
pub mod summary;
pub mod tail;
pub mod verdicts;
