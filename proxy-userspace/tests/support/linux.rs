//! What the running kernel has, by its version alone: teardown is not asked.

/// Links on tc's hooks, which end with their process.
pub(crate) fn has_tcx() -> bool {
    version() >= (6, 6)
}

/// The reason as an argument of `tcp:tcp_send_reset`.
pub(crate) fn tells_why_it_resets() -> bool {
    version() >= (6, 10)
}

fn version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().expect("ASCII");
    let mut parts = release.split('.').map(|part| part.parse().expect("a number"));
    (parts.next().expect("a major version"), parts.next().expect("a minor version"))
}
