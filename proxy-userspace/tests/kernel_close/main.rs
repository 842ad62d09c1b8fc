//! `teardown close`: connections are closed now, idle ones and those older than the daemon too. On
//! wires of every kind, seen by a capture at the peer, by `ss` on both sides, and by both
//! applications.

#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod idle;
mod meant;
mod scene;
mod signed;
mod stand_ins;
mod wires;
