//! The engine between real sockets on loopback.

mod behaviour;
mod bodies;
mod closes;
mod decided;
mod edits;
mod ends;
mod failures;
mod lines;
mod options;
mod parked;
mod pauses;
mod reloads;
mod service;
mod smuggling;
mod support;
