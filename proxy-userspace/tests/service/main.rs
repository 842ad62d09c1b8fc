//! The Debian package and its unit under a real systemd, in a machine of its own: there it is
//! installed, configured, killed and purged. `cargo xtask kernels systemd` runs this; nobody else may.

#[path = "../support/mod.rs"]
mod support;

mod observer;
mod package;
mod proxy;
mod stage;
