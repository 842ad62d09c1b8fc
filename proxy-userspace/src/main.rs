//! teardown.
fn main() {}
