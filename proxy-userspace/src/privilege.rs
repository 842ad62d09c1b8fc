//! Giving up what is not needed any more.

use caps::{CapSet, Capability, CapsHashSet};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{
    set_keep_capabilities, set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid,
};
use std::path::Path;

/// What stays after attaching: interfaces that appear later are attached as well, and the maps are
/// read. CAP_BPF and CAP_PERFMON to call bpf(2), CAP_NET_ADMIN for network programs.
pub const KEPT: [Capability; 3] =
    [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Whether this process has what the kernel asks for before it loads programs: CAP_SYS_ADMIN stands for
/// the two that were taken out of it in Linux 5.8.
#[must_use]
pub fn suffices() -> bool {
    let stands_for = |one| one != Capability::CAP_NET_ADMIN && holds(Capability::CAP_SYS_ADMIN);
    KEPT.into_iter().all(|one| holds(one) || stands_for(one)) && !is_in_a_user_namespace()
}

/// Whether a capability is held.
#[must_use]
pub fn holds(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Whether the capabilities of this process are a user namespace's own: for bpf(2) they count nothing.
#[must_use]
pub fn is_in_a_user_namespace() -> bool {
    // The first namespace's map is the whole range, onto itself.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

/// What stays for a process that reads configurations and opens what they want: files and Unix
/// sockets of anybody's, low ports, addresses and devices.
const FOR_RELOADS: [Capability; 7] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
];

/// The capabilities could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// capset(2) or prctl(2) refused.
    #[error("cannot give up capabilities: {0}")]
    Caps(#[from] caps::errors::CapsError),
    /// prctl(2) refused.
    #[error("cannot give up the gaining of privileges by exec: {0}")]
    NoNewPrivs(#[from] Errno),
    /// chroot(2), setgid(2) or setuid(2) refused.
    #[error("cannot {what}: {error}")]
    Become {
        /// What the configuration asks for.
        what: String,
        /// The system's answer.
        error: Errno,
    },
}

/// Makes `root` the root folder, and this process one of `group` and of `user`, its capabilities
/// kept for [`drop_unneeded`] to choose from. To be called before other threads are started.
///
/// # Errors
/// Where the kernel refuses.
pub fn become_user(
    root: Option<&Path>,
    user: Option<u32>,
    group: Option<u32>,
) -> Result<(), PrivilegeError> {
    let refused = |what: String| move |error| PrivilegeError::Become { what, error };
    if let Some(root) = root {
        rustix::process::chroot(root)
            .and_then(|()| rustix::process::chdir("/"))
            .map_err(refused(format!("change the root to {}", root.display())))?;
    }
    let (own_user, own_group) = (geteuid().as_raw(), getegid().as_raw());
    let user = user.filter(|user| *user != own_user);
    let group = group.filter(|group| *group != own_group);
    if user.is_some() || group.is_some() {
        // Those of root are none of another user's, even where that stays in root's own group.
        set_thread_groups(&[]).map_err(refused("leave all other groups".to_owned()))?;
    }
    if let Some(group) = group {
        set_thread_gid(Gid::from_raw(group)).map_err(refused(format!("become group {group}")))?;
    }
    if let Some(user) = user {
        // Without this the capabilities would go with root, and the kernel side needs some.
        set_keep_capabilities(true)
            .and_then(|()| set_thread_uid(Uid::from_raw(user)))
            .map_err(refused(format!("become user {user}")))?;
        let permitted = caps::read(None, CapSet::Permitted)?;
        caps::set(None, CapSet::Effective, &permitted)?;
    }
    Ok(())
}

/// Gives up every capability but [`KEPT`], in all sets of this thread and of those that it starts
/// later, and the gaining of any by exec. To be called before other threads are started.
///
/// # Errors
/// Where the kernel refuses; then the daemon had better not run on.
pub fn drop_unneeded() -> Result<(), PrivilegeError> {
    keep_only(&KEPT)
}

/// The same for a process that reads configurations and opens what they want.
///
/// # Errors
/// Where the kernel refuses.
pub fn keep_for_reloads() -> Result<(), PrivilegeError> {
    keep_only(&FOR_RELOADS)
}

fn keep_only(kept: &[Capability]) -> Result<(), PrivilegeError> {
    let kept: CapsHashSet = kept.iter().copied().collect();
    // The bounding set goes first, as it needs CAP_SETPCAP. Without that one there are no
    // capabilities to bound other than those that exec would gain, which no_new_privs forbids.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    let stay: CapsHashSet =
        caps::read(None, CapSet::Permitted)?.intersection(&kept).copied().collect();
    caps::set(None, CapSet::Effective, &stay)?;
    caps::set(None, CapSet::Permitted, &stay)?;
    set_no_new_privs(true)?;
    Ok(())
}

/// Gives up every capability of this thread but the one to create files in folders of others, for
/// a thread that does nothing else.
///
/// # Errors
/// Where the kernel refuses.
pub fn drop_all_but_files() -> Result<(), PrivilegeError> {
    let files = Capability::CAP_DAC_OVERRIDE;
    let had = caps::read(None, CapSet::Permitted)?.contains(&files);
    let stay: CapsHashSet = had.then_some(files).into_iter().collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &stay)?;
    caps::set(None, CapSet::Permitted, &stay)?;
    set_no_new_privs(true)?;
    Ok(())
}

/// Gives up every capability of this thread and of those that it starts, and the gaining of any by
/// exec.
///
/// # Errors
/// Where the kernel refuses.
pub fn drop_all() -> Result<(), PrivilegeError> {
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set)?;
    }
    set_no_new_privs(true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_writes_files_can_do_no_more() {
        let left = std::thread::spawn(|| {
            drop_all_but_files().expect("giving up is allowed");
            caps::read(None, CapSet::Permitted).expect("its own sets")
        });
        let left = left.join().expect("no panic");
        assert!(left.iter().all(|one| *one == Capability::CAP_DAC_OVERRIDE), "{left:?}");
    }

    #[test]
    fn who_gives_all_up_gains_none_by_exec() {
        let status = std::thread::spawn(|| {
            drop_all().expect("giving up is allowed");
            std::fs::read_to_string("/proc/thread-self/status").expect("its own")
        });
        let status = status.join().expect("no panic");
        for line in ["CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{status}");
        }
    }

    #[test]
    fn only_the_kept_remain() {
        // Capabilities belong to a thread, so that this one alone loses them.
        let left = std::thread::spawn(|| {
            drop_unneeded().expect("giving up is allowed");
            [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient]
                .map(|set| caps::read(None, set).expect("its own sets"))
        });
        let [effective, permitted, inheritable, ambient] = left.join().expect("no panic");
        let had = caps::read(None, CapSet::Permitted).expect("its own sets");
        let kept: CapsHashSet = KEPT.into_iter().filter(|one| had.contains(one)).collect();
        assert_eq!((&effective, &permitted), (&kept, &kept));
        assert!(inheritable.is_empty() && ambient.is_empty());
    }
}
