//! Sample fetches and ACL keywords that are HAProxy's alone.

mod counters;
mod samples;
mod tls;

/// All of them, in several lists.
pub const FETCH_OTHERS: &[&[&str]] = &[samples::SAMPLES, counters::COUNTERS, tls::TLS];
