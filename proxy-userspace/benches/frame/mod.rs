//! What every benchmark stands on: interleaved rounds, CPU time of processes, run time of BPF
//! programs, and HTTP load of our own making.
//!
//! Figures of one machine mean little on another, and machines change their mind within minutes.
//! So variants take turns in every round, and what is said is each one's ratio to the first.
#![allow(dead_code, reason = "each benchmark uses its own part of the frame")]

pub(crate) mod beside;
pub(crate) mod bpf_stats;
pub(crate) mod cpu;
pub(crate) mod floor;
pub(crate) mod hosts;
pub(crate) mod live;
pub(crate) mod load;
pub(crate) mod options;
pub(crate) mod rounds;
