//! What the daemon sets before it loads the programs. The memory is frozen then, so that the
//! verifier takes each value as a constant and removes what is switched off.

use core::ptr::read_volatile;
use proxy_common::abi::{ABI_VERSION, NO_OFFSET, Offsets};

/// Compared by the daemon with its own.
#[unsafe(no_mangle)]
pub static TEARDOWN_ABI: u32 = ABI_VERSION;

/// `proxy_common::abi::SWITCH_*`.
#[unsafe(no_mangle)]
static SWITCHES: u32 = 0;

/// Bytes of data that are told with a control segment.
#[unsafe(no_mangle)]
static PAYLOAD: u32 = 0;

/// The cookie of the network namespace that is watched; sockets of others are left alone.
#[unsafe(no_mangle)]
static NETNS_COOKIE: u64 = 0;

#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::NONE;

/// Whether `switch` is on.
#[inline(always)]
pub fn has(switch: u32) -> bool {
    // SAFETY: a static of this program; volatile, as the loader changes it behind the compiler.
    unsafe { read_volatile(&raw const SWITCHES) & switch != 0 }
}

/// Bytes of data that are told with a control segment; 0 where none are asked for.
#[inline(always)]
pub fn payload() -> u32 {
    // SAFETY: as in `has`.
    unsafe { read_volatile(&raw const PAYLOAD) }
}

/// The cookie of the namespace that is watched.
#[inline(always)]
pub fn netns_cookie() -> u64 {
    // SAFETY: as in `has`.
    unsafe { read_volatile(&raw const NETNS_COOKIE) }
}

/// The offset that `pick` takes of the kernel's offsets, if it is known.
#[inline(always)]
pub fn offset_of(pick: impl FnOnce(*const Offsets) -> *const u32) -> Option<usize> {
    // SAFETY: `pick` returns a field of the static.
    let value = unsafe { read_volatile(pick(&raw const OFFSETS)) };
    if value == NO_OFFSET { None } else { Some(value as usize) }
}

/// `offset!(field)`: the offset of a field of [`Offsets`], if the kernel has it.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: only the address of a field is taken.
        $crate::settings::offset_of(|offsets| unsafe { &raw const (*offsets).$field })
    };
}
pub(crate) use offset;
