//! The engine between real sockets on loopback.

mod behaviour;
mod bodies;
mod closes;
mod edits;
mod failures;
mod options;
mod reloads;
mod service;
mod smuggling;
mod support;
