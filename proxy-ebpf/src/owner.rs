//! Who owns a socket: the process in whose context the kernel runs right now.

use crate::settings::offset;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel};
use aya_ebpf::programs::SockOpsContext;
use core::ffi::c_void;
use core::mem::MaybeUninit;
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

/// Fills in the running process: its id, its name and the socket's cgroup.
#[inline(never)]
pub fn current(ctx: &SockOpsContext, event: &mut SocketEvent) {
    let (Some(tgid), Some(comm)) = (offset!(task_tgid), offset!(task_comm)) else { return };
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let Some(pid) = peek::<u32>(task + tgid as u64) else { return };
    // A kernel thread or an interrupted idle task owns nothing.
    if pid == 0 {
        return;
    }
    // The name of the process, not of the thread that happens to close.
    let mut named = task;
    if let Some(leader) = offset!(task_leader)
        && let Some(found) = peek::<u64>(task + leader as u64)
    {
        named = found;
    }
    if let Some(name) = peek::<[u8; 16]>(named + comm as u64) {
        event.comm = name;
    }
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
    let tcp = unsafe { aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock(sk.cast()) };
    if tcp.is_null() {
        return None;
    }
    let cgroup = peek::<u64>(tcp as u64 + at as u64)?;
    let node = peek::<u64>(cgroup + kn as u64)?;
    peek::<u64>(node + id as u64)
}
