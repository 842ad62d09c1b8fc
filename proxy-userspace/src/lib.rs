//! teardown: the rooms of the daemon and of the offline reader.
//!
//! Arrows point one way. `http` and `report` know nothing of bpf, `kernel` knows nothing of HTTP, and
//! the daemon is the only room that sees all.

// These panic where nobody reads, or the disk is full: `console::say` and `console::answer` do not.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod admin;
pub mod assemble;
pub mod capture;
pub mod cli;
pub mod config;
pub mod console;
pub mod daemon;
pub mod diff;
pub mod doctor;
pub mod ends;
pub mod explain;
pub mod host;
pub mod http;
pub mod kernel;
pub mod labels;
pub mod line;
pub mod near;
pub(crate) mod passing;
pub mod policy;
pub mod prefix;
pub mod privilege;
pub mod report;
pub mod traffic;
pub mod units;
