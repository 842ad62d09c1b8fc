//! The engine between real sockets on loopback.

mod behaviour;
mod support;
