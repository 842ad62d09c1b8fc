//! The engine between real sockets on loopback.

mod behaviour;
mod bodies;
mod failures;
mod smuggling;
mod support;
