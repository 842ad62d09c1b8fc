//! The checks of form, all with warnings denied.

use anyhow::{Context as _, Result};

use crate::{
    command::{loudly, step},
    ebpf, setup, workspace,
};

/// Runs them all; the first that fails ends it.
pub(crate) fn lint() -> Result<()> {
    step("rustfmt", || loudly(workspace::cargo().args(["fmt", "--all", "--check"])))?;
    step("clippy, for the host", || {
        let args = ["clippy", "--all-targets", "--locked", "--", "--deny", "warnings"];
        loudly(workspace::cargo().args(args))
    })?;
    step("clippy, for the kernel side", clippy_ebpf)?;
    step("cargo-deny: licences, bans, sources", || {
        let deny = setup::cargo_deny().context("cargo-deny is gone")?;
        let mut cargo = std::process::Command::new(deny);
        cargo.current_dir(workspace::root());
        // Advisories need a database that is fetched from elsewhere than the registry.
        loudly(cargo.args(["check", "licenses", "bans", "sources"]))
    })?;
    step("the documentation", || {
        let mut cargo = workspace::cargo();
        loudly(cargo.args(["doc", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "--deny warnings"))
    })
}

/// The clippy of the kernel side's own compiler, run by our cargo.
fn clippy_ebpf() -> Result<()> {
    let compiler = ebpf::Compiler::find().context("the compiler of the kernel side is gone")?;
    let target_dir = workspace::target_dir();
    let linker = ebpf::find_linker([target_dir.as_path()]).context("bpf-linker is gone")?;
    let cargo = workspace::cargo();
    let mut clippy = std::process::Command::new(compiler.cargo_clippy());
    clippy.env("CARGO", cargo.get_program()).current_dir(workspace::root());
    clippy.arg("clippy").arg("--target-dir").arg(target_dir.join("ebpf"));
    ebpf::prepare(&mut clippy, &compiler, &linker, std::env::consts::ARCH);
    loudly(clippy.args(["--", "--deny", "warnings"]))
}
