//! The machine that decides how a TCP connection closed.
//!
//! Pure: no I/O, no clock, no allocation. The kernel programs, the daemon and the offline reader
//! compile the same code, so that a close is judged alike live and from a file.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod acts;
pub mod decide;
pub mod flow;
pub mod key;
pub mod policy;
pub mod segment;
pub mod seq;
pub mod socket;
pub mod stand_in;
pub mod strike;
pub mod verdict;
pub mod wire;
