//! Connections that stay half closed are ended in time, at both ends, and no others: on wires of every
//! kind, seen by a capture at the peer, by `ss` on both sides, and by the peer's application.

#[path = "../support/mod.rs"]
mod support;

mod bound;
mod ends;
mod losses;
mod older;
mod scene;
mod signed;
mod streams;
mod translated;
mod wires;
