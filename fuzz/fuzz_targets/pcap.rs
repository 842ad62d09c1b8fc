#![no_main]
//! `capture` on bytes that claim to be of this kind.

mod captures;

use libfuzzer_sys::fuzz_target;
use teardown::capture::detect::Kind;

fuzz_target!(|data: &[u8]| captures::read(data, Kind::Pcap));
