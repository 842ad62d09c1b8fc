//! Facts about this host, read from /proc and /sys.

pub mod mounts;
