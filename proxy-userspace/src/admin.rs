//! The runtime socket: line commands, usable with socat as HAProxy's are, and live tails.
//!
//! Sessions run beside the daemon's loop and know nothing of its state: they read lines, hand each
//! command over, and write what comes back. So a slow or silly client holds up nobody.

mod ask;
pub mod client;
pub mod close;
pub mod copy;
pub mod endpoint;
pub mod metrics;
pub mod outlet;
pub mod proxy;
pub mod reload;
pub mod session;
pub mod socket;
pub mod terminal;
