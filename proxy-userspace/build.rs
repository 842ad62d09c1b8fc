//! Builds the kernel side and lays the object into `OUT_DIR`, where `kernel::object` takes it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

#[path = "../xtask/src/ebpf.rs"]
mod ebpf;

/// What the object is made of, seen from this package.
const SOURCES: [&str; 8] = [
    "build.rs",
    "../xtask/src/ebpf.rs",
    "../proxy-ebpf/Cargo.toml",
    "../proxy-ebpf/src",
    "../proxy-common/Cargo.toml",
    "../proxy-common/src",
    "../Cargo.toml",
    "../Cargo.lock",
];

fn main() -> Result<()> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }

    if env::var("CARGO_CFG_TARGET_OS")? != "linux"
        || env::var("CARGO_CFG_TARGET_ENDIAN")? != "little"
    {
        bail!("teardown is for little-endian Linux hosts");
    }
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    // OUT_DIR is TARGET_DIR/PROFILE/build/PACKAGE-HASH/out.
    let target_dir = out_dir.ancestors().nth(4).context("OUT_DIR is too short")?;

    let compiler = ebpf::Compiler::find().context(
        "no compiler for the kernel side: none that rustup or the distribution installed comes \
         with the sources of its core library and an LLVM that bpf-linker reads.\n\
         Run `cargo xtask setup`, which installs what is missing.",
    )?;
    let linker = ebpf::find_linker([target_dir, Path::new("../target")]).with_context(|| {
        format!(
            "bpf-linker is neither in {}/tools/bin nor on PATH.\n\
             Run `cargo xtask setup`, which installs what is missing.",
            target_dir.display()
        )
    })?;
    let linker = fs::canonicalize(&linker).with_context(|| linker.display().to_string())?;
    println!("cargo::rerun-if-changed={}", linker.display());
    println!("cargo::rerun-if-changed={}", compiler.rustc().display());

    // A target directory of its own: the outer cargo holds the lock of the other one.
    let target_dir = target_dir.join("ebpf");
    let mut cargo = Command::new(env::var_os("CARGO").context("CARGO is not set")?);
    cargo.arg("build").arg("--target-dir").arg(&target_dir).current_dir("..");
    ebpf::prepare(&mut cargo, &compiler, &linker, &env::var("CARGO_CFG_TARGET_ARCH")?);
    let status = cargo.status().with_context(|| format!("{cargo:?}"))?;
    if !status.success() {
        bail!("the kernel side does not build with {} ({status})", compiler.version);
    }

    let built = target_dir.join(ebpf::TARGET).join("release").join(ebpf::OBJECT);
    let placed = out_dir.join(ebpf::OBJECT);
    fs::copy(&built, &placed)
        .with_context(|| format!("copying {} to {}", built.display(), placed.display()))?;
    Ok(())
}
