//! `teardown watch` against an independent witness: tcpdump in the peers' namespaces, `ss`, and
//! what the applications saw. Run as root; each test makes its own network.

#[path = "../support/mod.rs"]
mod support;

mod by_hand;
mod compare;
mod flood;
mod killed;
mod left_behind;
mod machine;
mod matrix;
mod odd_wires;
mod others;
mod silence;
mod surroundings;
mod wrong_input;
