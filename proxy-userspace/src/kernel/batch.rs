//! Reads a hash map in few system calls (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6); aya has no call for it.

use super::bpf;
use super::error::Error;
use aya::maps::MapData;
use std::os::fd::{AsFd as _, AsRawFd as _};

const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
/// Entries asked for at once where all are wanted.
const AT_ONCE: usize = 2048;

/// The part of `union bpf_attr` that batch calls use.
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
    let mut walk = Walk::new(AT_ONCE);
    // A table that grows meanwhile must not hold the reader for ever.
    while walk.go_on(map, &mut found)? && found.len() as u64 <= capacity.saturating_mul(2) {}
    Ok(found)
}

/// A walk through a map, so many entries at a time.
pub(super) struct Walk<K, V> {
    /// Where the kernel goes on; none at the beginning.
    from: Option<u32>,
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: bytemuck::Pod, V: bytemuck::Pod> Walk<K, V> {
    /// From the map's beginning. A bucket with more than `at_once` entries would make the kernel
    /// refuse.
    pub(super) fn new(at_once: usize) -> Self {
        Self { from: None, keys: vec![K::zeroed(); at_once], values: vec![V::zeroed(); at_once] }
    }

    /// Appends the next entries to `found`; says whether there may be more.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub(super) fn go_on(&mut self, map: &MapData, found: &mut Vec<(K, V)>) -> Result<bool, Error> {
        let mut to = 0u32;
        let mut attributes = Attributes {
            in_batch: self.from.as_mut().map_or(0, |from| &raw mut *from as u64),
            out_batch: (&raw mut to) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: self.keys.len() as u32,
            map_fd: map.fd().as_fd().as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel writes at most `count` keys and values of the map's sizes, which the
        // caller's types have, and four bytes of `to`.
        let answer = unsafe { bpf::call(BPF_MAP_LOOKUP_BATCH, &mut attributes) };
        let done = match answer {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(Error::system("reading a map in batches")(error)),
        };
        let count = (attributes.count as usize).min(self.keys.len());
        let (keys, values) = (&self.keys[..count], &self.values[..count]);
        found.extend(keys.iter().copied().zip(values.iter().copied()));
        self.from = Some(to);
        Ok(!done)
    }
}
