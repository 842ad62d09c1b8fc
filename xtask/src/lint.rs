//! The checks of form, all with warnings denied.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{loudly, step},
    ebpf, setup, workspace,
};

/// A check's name, and how it is run.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 6] = [
    ("rustfmt", || loudly(workspace::cargo().args(["fmt", "--all", "--check"]))),
    ("clippy, for the host", || {
        let args = ["clippy", "--all-targets", "--locked", "--", "--deny", "warnings"];
        loudly(workspace::cargo().args(args))
    }),
    ("clippy, for the kernel side", clippy_ebpf),
    ("rustfmt and clippy, for the fuzz targets", fuzz_targets),
    ("cargo-deny: licences, bans, sources", || {
        let deny = setup::cargo_deny().context("cargo-deny is gone")?;
        // Advisories need a database that is fetched from elsewhere than the registry.
        let args = ["check", "licenses", "bans", "sources"];
        loudly(Command::new(deny).args(args).current_dir(workspace::root()))
    }),
    ("the documentation", || {
        let mut cargo = workspace::cargo();
        loudly(cargo.args(["doc", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "--deny warnings"))
    }),
];

/// Runs them all, also after one that failed.
pub(crate) fn lint() -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if let Err(error) = step(name, check) {
            eprintln!("    {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}

/// They are a workspace of their own, which nothing else compiles. Most of what they depend on, the
/// second check of [`CHECKS`] has compiled into the same folder.
fn fuzz_targets() -> Result<()> {
    let manifest = ["--manifest-path", "fuzz/Cargo.toml"];
    loudly(workspace::cargo().arg("fmt").args(manifest).arg("--check"))?;
    let mut clippy = workspace::cargo();
    clippy.arg("clippy").args(manifest).args(["--locked", "--no-default-features"]);
    clippy.arg("--target-dir").arg(workspace::target_dir());
    loudly(clippy.args(["--", "--deny", "warnings"]))
}

/// The clippy of the kernel side's own compiler, run by our cargo.
fn clippy_ebpf() -> Result<()> {
    let compiler = ebpf::Compiler::find().context("the compiler of the kernel side is gone")?;
    let target_dir = workspace::target_dir();
    let linker = ebpf::find_linker([target_dir.as_path()]).context("bpf-linker is gone")?;
    let cargo = workspace::cargo();
    let mut clippy = Command::new(compiler.cargo_clippy());
    clippy.env("CARGO", cargo.get_program()).current_dir(workspace::root());
    clippy.arg("clippy").arg("--target-dir").arg(target_dir.join("ebpf"));
    ebpf::prepare(&mut clippy, &compiler, &linker, std::env::consts::ARCH);
    loudly(clippy.args(["--", "--deny", "warnings"]))
}
