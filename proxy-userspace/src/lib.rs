//! teardown.
