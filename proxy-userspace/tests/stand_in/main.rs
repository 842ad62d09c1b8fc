//! A RST of the application's leaves as FIN, and a stand-in speaks for the vanished socket: on the
//! wire by tcpdump in the peer's namespace, by `ss` on both ends, and by what the peer saw. Run as
//! root; each test makes its own network.

#[path = "../support/mod.rs"]
mod support;

mod ends;
mod losses;
mod peers;
mod proxies;
mod refusals;
mod reuse;
mod scene;
