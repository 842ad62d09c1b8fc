//! Reads a hash map in few system calls (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6); aya has no call for it.

use super::error::Error;
use aya::maps::MapData;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
/// Entries asked for at once; a bucket with more makes the kernel ask for more room.
const AT_ONCE: u32 = 2048;

/// The part of `union bpf_attr` that batch calls use (include/uapi/linux/bpf.h).
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Every entry of the map, at most `capacity`, as it stood at some moment of the call.
///
/// # Errors
/// Where the kernel refuses.
pub(super) fn entries<K, V>(map: &MapData, capacity: u64) -> Result<Vec<(K, V)>, Error>
where
    K: bytemuck::Pod,
    V: bytemuck::Pod,
{
    let mut found = Vec::new();
    let mut keys = vec![K::zeroed(); AT_ONCE as usize];
    let mut values = vec![V::zeroed(); AT_ONCE as usize];
    let (mut from, mut to) = (0u32, 0u32);
    let mut first = true;
    loop {
        let mut attributes = Attributes {
            in_batch: if first { 0 } else { (&raw mut from) as u64 },
            out_batch: (&raw mut to) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: AT_ONCE,
            map_fd: map.fd().as_fd().as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel writes at most `count` keys and values of the map's sizes, which the
        // caller's types have, and four bytes of `to`.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_BATCH,
                &raw mut attributes,
                size_of::<Attributes>(),
            )
        };
        let error = (answer < 0).then(io::Error::last_os_error);
        let done = error.as_ref().is_some_and(|error| error.raw_os_error() == Some(libc::ENOENT));
        if let Some(error) = error
            && !done
        {
            return Err(Error::system("reading a map in batches")(error));
        }
        let count = (attributes.count as usize).min(keys.len());
        found.extend(keys[..count].iter().copied().zip(values[..count].iter().copied()));
        // A table that grows meanwhile must not hold the reader for ever.
        if done || found.len() as u64 > capacity.saturating_mul(2) {
            return Ok(found);
        }
        (from, first) = (to, false);
    }
}
