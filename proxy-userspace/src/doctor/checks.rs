//! The checks: each looks at one thing and says what it found.

use super::Finding;
use crate::kernel::cgroup::{self, Widest};
use crate::kernel::{self, Btf, BtfError, lacking_for_changes};
use crate::privilege::{self, KEPT};
use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{is_map_supported, is_program_supported};
use std::fs;

/// All checks, the essential ones first.
pub(super) fn all() -> Vec<(&'static str, Finding)> {
    let mut findings = vec![("kernel", kernel(&release()))];
    findings.extend(KEPT.map(|capability| {
        let nested = privilege::is_in_a_user_namespace();
        (capability_name(capability), capability_check(privilege::holds(capability), nested))
    }));
    findings.extend([
        ("BTF", btf()),
        ("JIT", jit(fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok().as_deref())),
        ("lockdown", lockdown(fs::read_to_string("/sys/kernel/security/lockdown").ok().as_deref())),
        ("tc programs", program(ProgramType::SchedClassifier, TC)),
        ("ring buffer", ring_buffer()),
        ("XDP programs", program(ProgramType::Xdp, XDP)),
        ("socket programs", program(ProgramType::SockOps, SOCK_OPS)),
        ("cgroup v2", cgroup()),
        ("tracing programs", program(ProgramType::RawTracePoint, TRACEPOINT)),
        ("tracefs", tracefs(&fs::read_to_string("/proc/mounts").unwrap_or_default())),
        ("RST reasons", rst_reasons()),
        ("changed closes", changes(Btf::of_kernel().map(|btf| lacking_for_changes(&btf)))),
        ("deadlines, close", strikes()),
        ("namespace", namespace()),
    ]);
    findings
}

/// What is lost without a kind of program, and whether that is all.
struct Need {
    without: &'static str,
    essential: bool,
}

const TC: Need = Need { without: "without tc programs no segment is seen", essential: true };
const XDP: Need = Need { without: "--ingress xdp is refused; tc serves as well", essential: false };
const SOCK_OPS: Need = Need {
    without: "closes carry no unread or unacknowledged bytes, and hardly a process",
    essential: false,
};
const TRACEPOINT: Need = Need { without: "closes carry no rst_reason", essential: false };

fn less(found: impl Into<String>, without: &'static str) -> Finding {
    Finding::Less { found: found.into(), without }
}

fn fatal(found: impl Into<String>, without: &'static str) -> Finding {
    Finding::Fatal { found: found.into(), without }
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Linux tells a sock_ops program the cookie of its network namespace from 5.15 on, and has TCX from
/// 6.6; what teardown was tested on begins at 6.1.
fn kernel(release: &str) -> Finding {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let version = (number(), number());
    if version < (5, 15) {
        return fatal(
            release,
            "teardown needs Linux 5.15 for cookies of network namespaces, and is tested from 6.1 on",
        );
    }
    if version < (6, 6) {
        return less(
            release,
            "no TCX before 6.6: clsact filters serve instead; those of a killed daemon stay until the next start",
        );
    }
    Finding::Good(format!("{release}: TCX links, which end with the daemon"))
}

fn capability_name(capability: caps::Capability) -> &'static str {
    match capability {
        caps::Capability::CAP_BPF => "CAP_BPF",
        caps::Capability::CAP_NET_ADMIN => "CAP_NET_ADMIN",
        _ => "CAP_PERFMON",
    }
}

fn capability_check(held: bool, nested: bool) -> Finding {
    match (held, nested) {
        (true, false) => Finding::Good("held".to_owned()),
        (true, true) => fatal(
            "held in a user namespace alone",
            "the kernel asks for it in the first one: start it outside, or not in a rootless container",
        ),
        (false, _) => fatal(
            "not held",
            "run it as root, and let its container or unit keep it: without it the kernel loads no programs",
        ),
    }
}

fn btf() -> Finding {
    let path = "/sys/kernel/btf/vmlinux";
    match fs::metadata(path) {
        Ok(file) => Finding::Good(format!("{path}, {} KiB", file.len() / 1024)),
        Err(error) => fatal(
            format!("{path}: {error}"),
            "without the kernel's own types (CONFIG_DEBUG_INFO_BTF) the programs find no field of a socket",
        ),
    }
}

fn jit(setting: Option<&str>) -> Finding {
    match setting.map(str::trim) {
        Some("0") => less(
            "off",
            "programs are interpreted, at several times the cost: sysctl net.core.bpf_jit_enable=1",
        ),
        Some(on) => Finding::Good(format!("net.core.bpf_jit_enable = {on}")),
        // A kernel with CONFIG_BPF_JIT_ALWAYS_ON may hide the setting from a network namespace.
        None => Finding::Good("no setting: as the kernel was built".to_owned()),
    }
}

fn lockdown(modes: Option<&str>) -> Finding {
    match modes {
        Some(modes) if modes.contains("[confidentiality]") => fatal(
            "confidentiality",
            "the kernel lets no program read its memory; boot without lockdown=confidentiality",
        ),
        Some(modes) if modes.contains("[integrity]") => Finding::Good("integrity".to_owned()),
        _ => Finding::Good("none".to_owned()),
    }
}

fn program(kind: ProgramType, need: Need) -> Finding {
    let found = match is_program_supported(kind) {
        Ok(true) => return Finding::Good("supported".to_owned()),
        Ok(false) => "not supported by this kernel".to_owned(),
        Err(error) => unasked(&error),
    };
    if need.essential { fatal(found, need.without) } else { less(found, need.without) }
}

fn ring_buffer() -> Finding {
    let without = "there is no other way for closes to reach the daemon";
    match is_map_supported(MapType::RingBuf) {
        Ok(true) => Finding::Good("supported".to_owned()),
        Ok(false) => fatal("not supported by this kernel", without),
        Err(error) => fatal(unasked(&error), without),
    }
}

/// Why bpf(2) does not answer.
fn unasked(error: &(dyn std::error::Error + 'static)) -> String {
    if privilege::suffices() && kernel::has_code(error, libc::EPERM) {
        return "bpf(2) is forbidden: by a container's seccomp profile or a security module"
            .to_owned();
    }
    format!("cannot be asked for: {}", innermost(error))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn cgroup() -> Finding {
    match cgroup::widest() {
        Some(Widest::Root(at)) => Finding::Good(at.display().to_string()),
        Some(Widest::Containers(at)) => less(
            format!("{} is this container's own, not the root ('--cgroupns=host')", at.display()),
            "closes of sockets outside of it carry no unread or unacknowledged bytes, and hardly a \
             process",
        ),
        None => less("the hierarchy is not mounted", SOCK_OPS.without),
    }
}

/// The tracepoints are found in the kernel's BTF, so that nothing needs to be mounted for them.
fn tracefs(mounts: &str) -> Finding {
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("tracefs"));
    match mount.and_then(|line| line.split(' ').nth(1)) {
        Some(at) => Finding::Good(format!("{at}; not needed")),
        None => {
            Finding::Good("not mounted; not needed, as tracepoints are found by BTF".to_owned())
        }
    }
}

/// `tcp:tcp_send_reset` tells its reason, the third argument, from Linux 6.10 on.
fn rst_reasons() -> Finding {
    match Btf::of_kernel().map(|btf| btf.tracepoint("tcp_send_reset")) {
        Ok(Some(arguments)) => reasons_among(arguments.len()),
        Ok(None) => less("this kernel has no tracepoint tcp_send_reset", TRACEPOINT.without),
        Err(error) => less(error.to_string(), TRACEPOINT.without),
    }
}

fn reasons_among(arguments: usize) -> Finding {
    if arguments >= 3 {
        Finding::Good("tcp:tcp_send_reset tells them".to_owned())
    } else {
        less("tcp:tcp_send_reset has no reason before Linux 6.10", TRACEPOINT.without)
    }
}

/// What `active`, `passive` and `abort` of a policy read from a socket.
fn changes(lacking: Result<Vec<&'static str>, BtfError>) -> Finding {
    let without = "rules cannot change a close: it goes out as the application made it";
    match lacking {
        Ok(lacking) if lacking.is_empty() => {
            Finding::Good("BTF tells what active, passive and abort need".to_owned())
        }
        Ok(lacking) => less(format!("BTF does not tell {}", lacking.join(", ")), without),
        Err(error) => less(error.to_string(), without),
    }
}

/// What `half-close`, `close-wait` and `close` need.
fn strikes() -> Finding {
    let without = "rules with half-close or close-wait are refused, and 'close' closes nothing";
    match Btf::of_kernel().map(|btf| kernel::missing_for_strikes(&btf)) {
        Err(error) => less(error.to_string(), without),
        Ok(missing) if !missing.is_empty() => {
            less(format!("BTF does not tell {}", missing.join(", ")), without)
        }
        Ok(_) if !kernel::can_destroy() => {
            less("sockets cannot be aborted: no CONFIG_INET_DIAG_DESTROY, or not root", without)
        }
        Ok(_) => Finding::Good("offsets are known, sockets can be aborted".to_owned()),
    }
}

fn namespace() -> Finding {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    match (of("self"), of("1")) {
        (Some(ours), Some(first)) if ours != first => less(
            format!("{}, not the one of process 1", ours.display()),
            "only the interfaces of this network namespace are observed",
        ),
        (Some(ours), _) => Finding::Good(ours.display().to_string()),
        (None, _) => less("unknown", "only the interfaces of this network namespace are observed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_by_version() {
        assert!(matches!(kernel("5.10.0-30-amd64"), Finding::Fatal { .. }));
        assert!(matches!(kernel("6.1.0-18-amd64"), Finding::Less { .. }));
        assert!(matches!(kernel("6.6.1"), Finding::Good(_)));
        assert!(matches!(kernel("6.12.5+deb13-cloud"), Finding::Good(_)));
        assert!(matches!(kernel("7.0"), Finding::Good(_)));
        assert!(matches!(kernel("unknown"), Finding::Fatal { .. }));
    }

    #[test]
    fn settings_are_read() {
        assert!(matches!(jit(Some("0\n")), Finding::Less { .. }));
        assert!(matches!(jit(Some("1\n")), Finding::Good(_)));
        assert!(matches!(
            lockdown(Some("none integrity [confidentiality]\n")),
            Finding::Fatal { .. }
        ));
        assert!(matches!(lockdown(Some("none [integrity] confidentiality\n")), Finding::Good(_)));
        assert!(matches!(lockdown(None), Finding::Good(_)));
        assert!(matches!(capability_check(false, false), Finding::Fatal { .. }));
        assert!(matches!(capability_check(true, true), Finding::Fatal { .. }));
        assert!(matches!(capability_check(true, false), Finding::Good(_)));
    }

    #[test]
    fn the_reason_is_the_tracepoints_third_argument() {
        assert!(matches!(reasons_among(2), Finding::Less { .. }));
        assert!(matches!(reasons_among(3), Finding::Good(_)));
    }

    #[test]
    fn what_a_changed_close_needs_is_named() {
        assert!(matches!(changes(Ok(vec![])), Finding::Good(_)));
        let found = changes(Ok(vec!["tcp_sock.write_seq"]));
        assert!(matches!(found, Finding::Less { found, .. } if found.contains("write_seq")));
    }

    #[test]
    fn a_mounted_tracefs_is_found() {
        let found =
            tracefs("sysfs /sys sysfs rw 0 0\ntracefs /sys/kernel/tracing tracefs rw 0 0\n");
        assert_eq!(found, Finding::Good("/sys/kernel/tracing; not needed".to_owned()));
        assert!(matches!(tracefs(""), Finding::Good(words) if words.starts_with("not mounted")));
    }
}
