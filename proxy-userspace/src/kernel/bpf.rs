//! bpf(2) for the commands that aya has no call for.

use aya::maps::MapData;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;

/// What may stand in a map before an entry is put there, by the kernel's numbers (`BPF_NOEXIST`,
/// `BPF_EXIST`).
#[repr(u64)]
#[derive(Clone, Copy, Debug)]
pub(super) enum Put {
    /// No entry with this key.
    New = 1,
    /// One, which is replaced.
    Again = 2,
}

/// The part of `union bpf_attr` that calls for one entry use.
#[repr(C)]
struct Entry {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Puts an entry into a map, whose key and value are of these types.
///
/// # Errors
/// What the kernel says: EEXIST, ENOENT, and E2BIG where the map is full.
pub(super) fn put<K, V>(map: &MapData, key: &K, value: &V, how: Put) -> io::Result<()>
where
    K: bytemuck::Pod,
    V: bytemuck::Pod,
{
    let mut entry = Entry {
        map_fd: map.fd().as_fd().as_raw_fd() as u32,
        reserved: 0,
        key: (&raw const *key) as u64,
        value: (&raw const *value) as u64,
        flags: how as u64,
    };
    // SAFETY: the kernel reads a key and a value of the map's sizes, which the caller's types have.
    unsafe { call(BPF_MAP_UPDATE_ELEM, &mut entry) }
}

/// Calls bpf(2) with a command's part of `union bpf_attr` (include/uapi/linux/bpf.h).
///
/// # Errors
/// What the kernel says.
///
/// # Safety
/// Every pointer in `attributes` must be good for what the command reads or writes through it.
pub(super) unsafe fn call<A>(command: libc::c_int, attributes: &mut A) -> io::Result<()> {
    // SAFETY: the caller has seen to the pointers within; the size is that of the type.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<A>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
