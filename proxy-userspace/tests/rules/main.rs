//! Rules on requests and responses: HAProxy beside the engine, by the same lines.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod captures;
mod errors;
mod gone;
mod ids;
mod lines;
mod samples;
mod twins;
mod variables;
