//! teardown's closes beside HAProxy's, on the wire: tcpdump in the backend's namespace is the
//! judge. Run as root; each test makes its own network.

#[path = "../support/mod.rs"]
mod support;

mod checks;
mod clients;
mod modes;
mod reload;
mod servers;
mod stage;
mod thread;
