//! What the operator wants of closes: the words that spell it. The types are `proxy_common`'s.

pub mod book;
pub mod close;
pub mod target;
pub mod words;
