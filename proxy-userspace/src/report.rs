//! A close as a line, as JSON, as a row of a summary. Knows nothing of where closes come from.

pub mod clock;
pub mod put;
