//! What the integration tests stand on: networks of their own, real proxies, real captures, and
//! a reading of those captures that shares no code with teardown.
//!
//! Every test that says how a connection closed asks this witness, never teardown twice.
#![allow(dead_code, reason = "each test binary uses its own part of the support")]

pub(crate) mod clients;
pub(crate) mod clock;
pub(crate) mod descriptors;
pub(crate) mod enforcer;
pub(crate) mod fixtures;
pub(crate) mod foreign;
pub(crate) mod frames;
pub(crate) mod handmade;
pub(crate) mod http;
pub(crate) mod linux;
pub(crate) mod lone;
pub(crate) mod netns;
pub(crate) mod observed;
pub(crate) mod packets;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod proxies;
pub(crate) mod reading;
pub(crate) mod runtime;
pub(crate) mod scheduled;
pub(crate) mod servers;
pub(crate) mod sockets;
pub(crate) mod ss;
pub(crate) mod talk;
pub(crate) mod tcpdump;
pub(crate) mod topology;
pub(crate) mod traffic;
pub(crate) mod until;
pub(crate) mod watch;
pub(crate) mod weather;
pub(crate) mod wires;
pub(crate) mod wrk;
pub(crate) mod zeek;
