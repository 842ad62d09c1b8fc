//! Everything that calls bpf().

pub mod object;
