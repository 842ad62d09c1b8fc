//! Who owns a socket: the process in whose context the kernel runs right now.

use crate::settings::offset;
use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_skc_to_tcp_sock,
};
use aya_ebpf::programs::SockOpsContext;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::read_volatile;
use proxy_common::socket::{KNOWS_CGROUP, KNOWS_OWNER, SocketEvent};

/// Reads a value out of kernel memory; `None` where the address is bad.
#[inline(always)]
pub fn peek<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address and fills the value whole, or says that it could not.
    let failed = unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const c_void,
        )
    };
    // SAFETY: filled by the helper; only integers and arrays of them are read.
    (failed == 0).then(|| unsafe { value.assume_init() })
}

/// Reads a field of a kernel structure whose type the verifier knows: an instruction, where
/// [`peek`] is a call. A null pointer reads as zeros.
///
/// # Safety
/// `address` comes from a helper or from such a field, and an offset of the running kernel's.
#[inline(always)]
unsafe fn field<T: Copy>(address: usize) -> T {
    // SAFETY: the verifier checks type and offset; the kernel catches a bad address.
    unsafe { read_volatile(address as *const T) }
}

/// Fills in the running process: its id, its name and the socket's cgroup.
#[inline(never)]
pub fn current(ctx: &SockOpsContext, event: &mut SocketEvent) {
    let (Some(tgid), Some(comm)) = (offset!(task_tgid), offset!(task_comm)) else { return };
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task_btf() } as usize;
    // SAFETY: the helper's task.
    let pid = unsafe { field::<u32>(task + tgid) };
    // A kernel thread or an interrupted idle task owns nothing.
    if pid == 0 {
        return;
    }
    // The name of the process, not of the thread that happens to close.
    let mut named = task;
    if let Some(leader) = offset!(task_leader) {
        // SAFETY: as above.
        named = unsafe { field::<usize>(task + leader) };
    }
    // SAFETY: as above; a name is an array of 16.
    let (low, high) = unsafe { (field::<u64>(named + comm), field::<u64>(named + comm + 8)) };
    event.comm = bytemuck::cast([low, high]);
    event.pid = pid;
    event.known |= KNOWS_OWNER;
    if let Some(cgroup) = cgroup(ctx) {
        event.cgroup = cgroup;
        event.known |= KNOWS_CGROUP;
    }
}

/// The id of the socket's cgroup, as `stat` shows it as the inode of the cgroup's folder.
#[inline(always)]
fn cgroup(ctx: &SockOpsContext) -> Option<u64> {
    let (at, kn, id) = (offset!(sk_cgroup)?, offset!(cgroup_kn)?, offset!(kn_id)?);
    // SAFETY: a field of the context that the verifier knows.
    let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return None;
    }
    // SAFETY: the pointer is a socket's; the verifier checks it.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sk.cast()) };
    if tcp.is_null() {
        return None;
    }
    // SAFETY: fields of the helper's socket, and of what they point to.
    let id = unsafe {
        let cgroup = field::<usize>(tcp as usize + at);
        let node = field::<usize>(cgroup + kn);
        field::<u64>(node + id)
    };
    (id != 0).then_some(id)
}
