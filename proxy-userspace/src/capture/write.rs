//! Writing pcapng: control segments with their closes, as Wireshark and [`super::pcapng`] read it.

pub mod blocks;
pub mod packet;
pub mod recorder;
pub mod rotate;
pub mod said;
pub mod stored;
pub mod target;
