//! What this host's own proxy states of its connections, in memory that it shares with the
//! programs: a store where a map's update would be a system call.

use super::error::Error;
use super::object::take;
use aya::Ebpf;
use aya::maps::Map;
use proxy_common::abi::{STATEMENTS, Statement};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::AsFd as _;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A [`Statement`] that several threads write.
#[repr(C)]
struct Slot {
    cookie: AtomicU64,
    server: AtomicU32,
    class: AtomicU32,
}

const _: () = assert!(size_of::<Slot>() == size_of::<Statement>());

/// The shared memory.
pub struct Statements {
    slots: NonNull<Slot>,
}

// SAFETY: the memory is the process's until the drop, and its slots are atomics.
unsafe impl Send for Statements {}
// SAFETY: as above.
unsafe impl Sync for Statements {}

impl std::fmt::Debug for Statements {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Statements").finish_non_exhaustive()
    }
}

const BYTES: usize = STATEMENTS * size_of::<Slot>();

impl Statements {
    /// Maps the memory of the map `STATED`.
    ///
    /// # Errors
    /// Where the object lacks it, or the kernel refuses.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let Map::Array(data) = take(ebpf, "STATED")? else {
            return Err(Error::Missing("STATED as an array"));
        };
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so that no memory of ours is replaced.
        let memory = unsafe {
            mmap(std::ptr::null_mut(), BYTES, access, MapFlags::SHARED, data.fd().as_fd(), 0)
        };
        let memory =
            memory.map_err(|error| Error::system("sharing the map STATED")(error.into()))?;
        Ok(Self { slots: NonNull::new(memory.cast()).ok_or(Error::Missing("STATED in memory"))? })
    }

    /// States what the socket with this cookie is about to be used for: the number of the server
    /// that it goes to, and a `CLASS_*` of [`proxy_common::abi`]. To be called before connect(2),
    /// by the thread that makes that call.
    pub fn state(&self, cookie: u64, server: u16, class: u8) {
        let at = Statement::slot(cookie) as usize;
        // SAFETY: a slot's number is below how many there are, and they live as long as `self`.
        let slot = unsafe { self.slots.add(at) };
        // SAFETY: as above; a slot's fields are atomics, so that it may be shared.
        let slot = unsafe { slot.as_ref() };
        // First, and last: whoever finds the cookie, having read the rest, has read what belongs to it.
        slot.cookie.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        slot.server.store(server.into(), Ordering::Relaxed);
        slot.class.store(class.into(), Ordering::Relaxed);
        slot.cookie.store(cookie, Ordering::Release);
    }
}

impl Drop for Statements {
    fn drop(&mut self) {
        // SAFETY: mapped by `take`, and nobody has a reference any more.
        let unmapped = unsafe { munmap(self.slots.as_ptr().cast(), BYTES) };
        debug_assert!(unmapped.is_ok(), "mapped with this address and size");
    }
}
