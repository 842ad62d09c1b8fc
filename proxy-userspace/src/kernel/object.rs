//! The kernel side, as this build carries it, and its parts by name.

use super::error::Error;
use super::pod::Raw;
use aya::Ebpf;
use aya::maps::{Array, Map, MapData};

/// The eBPF object: an ELF file with BTF, aligned as its reader needs it.
///
/// `build.rs` makes it from the package `proxy-ebpf`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/teardown-ebpf"));

/// Takes a map out of the loaded object.
///
/// # Errors
/// Where the object lacks it.
pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or(Error::Missing(name))
}

/// Takes an array.
///
/// # Errors
/// Where the object lacks it, or has something else by that name.
pub(super) fn array<T: bytemuck::Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<Array<MapData, Raw<T>>, Error> {
    Array::try_from(take(ebpf, name)?).map_err(Error::map(name))
}

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
