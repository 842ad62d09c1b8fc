//! Tracepoints that tell why the kernel sent or believed a RST: not every kernel has them.

use super::attach;
use super::btf::Btf;
use aya::Ebpf;

/// Attaches what the kernel has; returns what it has not.
pub(super) fn attach_all(ebpf: &mut Ebpf, btf: &Btf) -> Vec<String> {
    let mut missing = Vec::new();
    let mut attach = |name, event: &str, wanted: usize, without: &str| {
        let has = btf.tracepoint(event).is_some_and(|arguments| arguments.len() >= wanted);
        let done = if has {
            attach::tracepoint(ebpf, name, event).map_err(|error| error.to_string())
        } else {
            Err(format!("this kernel has no tracepoint {event} with {wanted} arguments"))
        };
        if let Err(error) = done {
            missing.push(format!("{error}: {without}"));
        }
    };
    // Its third argument, the reason, came with Linux 6.10.
    attach("td_reset_sent", "tcp_send_reset", 3, "closes do not say why the kernel sent a RST");
    attach(
        "td_reset_recv",
        "tcp_receive_reset",
        1,
        "what a RST threw away is not known for connections older than the programs",
    );
    missing
}
