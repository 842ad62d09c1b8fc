//! An HTTP/1 reverse proxy that behaves like HAProxy and owns its closes.
//!
//! [`settings`] come in, [`engine::Engine`] runs them on one single-threaded runtime per core, and
//! what happens goes out through the traits of [`hooks`] and [`closes`] and the counters of
//! [`live`].

pub mod acl;
pub mod balance;
pub mod closes;
pub mod counters;
pub mod event;
pub mod format;
pub mod hooks;
pub mod live;
pub mod queue;
pub mod rules;
pub mod sample;
pub mod settings;
