//! How the kernel side is compiled: which compiler, which linker, with which flags.
//!
//! The one place that knows. `proxy-userspace/build.rs` includes this file to build the object
//! that the binary carries, and xtask uses it to see what is missing and to lint the programs.
//! So it stands on the standard library alone.
#![allow(dead_code, reason = "the build script and xtask each use their half")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The package of the kernel side.
pub(crate) const PACKAGE: &str = "proxy-ebpf";
/// Its binary: the name of the object.
pub(crate) const OBJECT: &str = "teardown-ebpf";
/// The target. Little endian only: no big-endian host was ever tried.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
/// The version of bpf-linker that `cargo xtask setup` installs.
pub(crate) const LINKER_VERSION: &str = "0.13.0";
/// The LLVM that bpf-linker is built with: it reads the bitcode of this one and of older ones.
pub(crate) const LLVM: u32 = 22;
/// The oldest compiler whose cargo resolves this workspace: `rust-version` in Cargo.toml.
const OLDEST_MINOR: u32 = 95;

/// The sysroot of the distribution's own compiler.
const DISTRIBUTION: &str = "/usr";

/// A compiler that comes with the sources of its `core`, as `-Zbuild-std` needs them.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    /// Its sysroot: `bin/rustc` and, for lints, `bin/cargo-clippy` are below it.
    pub(crate) sysroot: PathBuf,
    /// What it calls itself, for instance "rustc 1.96.0 (ac68faa20 2026-05-25)".
    pub(crate) version: String,
}

impl Compiler {
    /// The first that fits: a nightly of rustup's, another of rustup's, the distribution's.
    pub(crate) fn find() -> Option<Self> {
        rustup_toolchains().into_iter().chain([DISTRIBUTION.into()]).find_map(Self::at)
    }

    /// The compiler below `sysroot`, if it has its sources and its LLVM is one we can link.
    fn at(sysroot: PathBuf) -> Option<Self> {
        if !sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists() {
            return None;
        }
        let output = Command::new(sysroot.join("bin/rustc")).arg("-vV").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.lines().next()?.to_owned();
        let minor = number_after(&text, "release: 1.")?;
        let llvm = number_after(&text, "LLVM version: ")?;
        (minor >= OLDEST_MINOR && llvm <= LLVM).then_some(Self { sysroot, version })
    }

    /// The compiler itself.
    pub(crate) fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// Whether a package of the distribution brought it, and not rustup.
    pub(crate) fn is_distributions(&self) -> bool {
        self.sysroot == Path::new(DISTRIBUTION)
    }

    /// The front of its clippy; it runs the cargo that the variable `CARGO` names.
    pub(crate) fn cargo_clippy(&self) -> PathBuf {
        self.sysroot.join("bin/cargo-clippy")
    }
}

/// Rustup's toolchains, nightlies first.
fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")));
    let Some(entries) = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let nightly = |path: &Path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
    };
    // Newest names first, so that the choice does not hang on the order of a directory.
    found.sort_by(|a, b| nightly(b).cmp(&nightly(a)).then_with(|| b.cmp(a)));
    found
}

/// The number that follows `mark` in `text`.
fn number_after(text: &str, mark: &str) -> Option<u32> {
    let rest = text.split_once(mark)?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// bpf-linker in the first of `folders` that has `tools/bin/bpf-linker`, else on `PATH`.
pub(crate) fn find_linker<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Option<PathBuf> {
    let in_tools = folders.into_iter().map(|folder| folder.join("tools/bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = env::split_paths(&path).collect();
    in_tools.chain(on_path).map(|folder| folder.join("bpf-linker")).find(|file| file.is_file())
}

/// Gives `cargo` what every run over the kernel side needs: package, target, `core`, flags.
///
/// The variables with which an outer cargo, clippy or rust-analyzer steers its own compiler are
/// taken away: they are about the host.
pub(crate) fn prepare(cargo: &mut Command, compiler: &Compiler, linker: &Path, arch: &str) {
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // BTF is made from the debug information; maps with locks or timers need it.
        "-Cdebuginfo=2".into(),
        // 32-bit registers and atomics; kernels from 5.12 on have them.
        "-Ctarget-cpu=v3".into(),
        "-Clink-arg=--btf".into(),
        // Else memory is cleared by a loop over its bytes, in a function of its own.
        "-Clink-arg=--disable-expand-memcpy-in-order".into(),
        format!("-Clinker={}", linker.display()),
    ];
    cargo
        .args(["--package", PACKAGE, "--bins", "--release", "--locked"])
        .args(["--target", TARGET, "-Zbuild-std=core"])
        .env("RUSTC", compiler.rustc())
        // `-Zbuild-std` and the target's unstable features, on a compiler that is no nightly.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("RUSTC_WRAPPER", "");
    for key in ["RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(key);
    }
}
