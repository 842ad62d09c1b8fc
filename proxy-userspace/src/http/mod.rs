//! An HTTP/1 reverse proxy that behaves like HAProxy and owns its closes.
//!
//! [`settings`] come in, with the traits of [`hooks`] that decide; [`engine::Engine`] runs them on one
//! single-threaded runtime per core, and what happens goes out through the traits of [`event`] and
//! [`closes`] and the counters of [`live`].

mod accept;
mod account;
pub mod acl;
mod answer;
mod authority;
mod background;
pub mod balance;
pub mod capture;
pub mod chunked;
mod client;
pub mod closes;
pub mod cookie;
pub mod counters;
mod crew;
mod deliver;
pub mod edit;
pub(crate) mod encode;
pub mod engine;
pub mod event;
mod exchange;
mod farewell;
pub mod format;
mod forward;
pub mod framing;
mod greeting;
pub mod head;
pub mod health;
pub mod held;
pub mod hooks;
pub mod listener;
pub mod live;
mod local;
pub mod logline;
mod park;
mod pool;
mod prepare;
mod presence;
pub mod proxy_line;
mod pump;
mod reception;
pub mod refusal;
pub mod regex;
pub(crate) mod reply;
mod rewrite;
pub mod rules;
mod ruling;
pub mod sample;
mod serve;
mod session;
pub mod settings;
pub mod slot;
pub(crate) mod sock;
mod spares;
mod splice;
pub mod syslog;
mod tcp;
pub mod termination;
pub mod throttle;
mod tunnel;
mod upstream;
pub mod variable;
mod watch;
mod worker;
