//! bpf(2) for the commands that aya has no call for.

use std::io;

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
