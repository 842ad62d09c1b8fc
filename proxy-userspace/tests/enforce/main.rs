//! Rules that change closes, against an independent witness: tcpdump in the peer's namespace, `ss`
//! at both ends, and what the peer's application saw. Run as root; each test makes its own network.

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod crowds;
mod deadlines;
mod families;
mod foreign;
mod killed;
mod losses;
mod others;
mod signed;
mod stage;
mod surroundings;
mod switched;
