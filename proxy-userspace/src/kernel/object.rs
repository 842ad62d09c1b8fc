//! The kernel side, as this build carries it.

/// The eBPF object: an ELF file with BTF, aligned as its reader needs it.
///
/// `build.rs` makes it from the package `proxy-ebpf`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/teardown-ebpf"));

#[cfg(test)]
mod tests {
    use super::OBJECT;

    #[test]
    fn object_is_an_aligned_bpf_elf() {
        assert_eq!(OBJECT[..4], *b"\x7fELF");
        // e_machine: EM_BPF.
        assert_eq!(OBJECT[18..20], 247u16.to_le_bytes());
        assert!(OBJECT.as_ptr().addr().is_multiple_of(8));
    }
}
