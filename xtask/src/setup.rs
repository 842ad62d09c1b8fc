//! Installs what is missing, or says what to type.
//!
//! Debian packages come from apt, cargo's tools go into the target directory. Nothing is touched
//! that is there already, so that a second call does nothing.

mod packages;

use std::path::PathBuf;

use anyhow::{Result, bail};
use packages::{Distribution, Package};

use crate::{command, ebpf, ebpf::Compiler, workspace};

/// What something is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compiling both sides.
    Build,
    /// What the demonstration tells its reader to type.
    Run,
    /// The tests' proxies, witnesses and network namespaces.
    Test,
    /// The benchmarks' peers.
    Bench,
    /// The machines with other kernels.
    Kernels,
    /// The lints of the kernel side and the check of licences.
    Lint,
}

impl Purpose {
    /// Those of every task that runs on this very host: an emulator is a hundred packages more.
    pub(crate) const HERE: [Self; 5] =
        [Self::Build, Self::Run, Self::Test, Self::Bench, Self::Lint];
}

/// The check of licences, and its version.
const CARGO_DENY: (&str, &str) = ("cargo-deny", "0.20.2");

/// Makes sure that everything is there that the purposes need.
///
/// # Errors
/// If a piece cannot be installed; the commands that would do it by hand have been printed.
pub(crate) fn setup(purposes: &[Purpose]) -> Result<()> {
    let packages = missing_packages(purposes);
    if !packages.is_empty() {
        install_packages(&packages)?;
    }
    if !linker_is_there() {
        install_linker()?;
    }
    if purposes.contains(&Purpose::Lint) && cargo_deny().is_none() {
        let (name, version) = CARGO_DENY;
        // It reads a few files: optimising it would take longer than it ever runs.
        cargo_install(name, version, &["--debug"], &[])?;
    }
    check(purposes)
}

/// cargo-deny, in the target directory or on `PATH`.
pub(crate) fn cargo_deny() -> Option<PathBuf> {
    let installed = workspace::tools().join("bin").join(CARGO_DENY.0);
    installed.is_file().then_some(installed).or_else(|| workspace::which(CARGO_DENY.0))
}

/// Debian's names of the packages that the tests call.
pub(crate) fn debian_packages_of_tests() -> Vec<&'static str> {
    let tools =
        packages::TOOLS.iter().filter(|tool| matches!(tool.purpose, Purpose::Run | Purpose::Test));
    Distribution::Debian.names(&tools.map(|tool| &tool.package).collect::<Vec<_>>())
}

/// Packages for the tools that are not found, and for what is compiled here.
fn missing_packages(purposes: &[Purpose]) -> Vec<&'static Package> {
    let mut missing: Vec<_> = packages::TOOLS
        .iter()
        .filter(|tool| purposes.contains(&tool.purpose) && workspace::which(tool.command).is_none())
        .map(|tool| &tool.package)
        .collect();
    if !linker_is_there() {
        missing.extend(packages::FOR_LINKER);
    }
    match Compiler::find() {
        None => missing.extend(packages::COMPILER),
        Some(compiler) if compiler.cargo_clippy().is_file() => return missing,
        // A compiler of rustup's gets its clippy from rustup.
        Some(compiler) if !compiler.is_distributions() => return missing,
        Some(_) => {}
    }
    if purposes.contains(&Purpose::Lint) {
        missing.push(&packages::COMPILER_CLIPPY);
    }
    missing
}

fn linker_is_there() -> bool {
    ebpf::find_linker([workspace::target_dir().as_path()]).is_some()
}

fn install_packages(packages: &[&Package]) -> Result<()> {
    let distribution = Distribution::find();
    let names = distribution.names(packages);
    let by_hand = distribution.command(&names);
    if distribution != Distribution::Debian {
        // On others the compiler and the linker's LLVM need more than packages.
        eprintln!("Packages are missing, and only Debian's can be installed from here. Type:");
        eprintln!("    {by_hand}");
        print_by_hand();
        bail!("not everything that is needed is installed");
    }
    let units: Vec<&str> = packages.iter().filter_map(|package| package.unit).collect();
    command::step(&format!("Installing Debian packages: {}", names.join(" ")), || {
        // One call as root: no service may start, not even if this is interrupted.
        let mut script = command::privileged("sh")?;
        script.arg("-c").arg(include_str!("setup/apt.sh")).arg("apt.sh");
        command::quietly(script.arg(units.join(" ")).args(&names))
    })
    .inspect_err(|_| {
        eprintln!("These packages could not be installed. By hand:\n    {by_hand}");
        print_by_hand();
    })
}

fn install_linker() -> Result<()> {
    let feature = format!("llvm-{}", ebpf::LLVM);
    let prefix = format!("/usr/lib/llvm-{}", ebpf::LLVM);
    cargo_install(
        "bpf-linker",
        ebpf::LINKER_VERSION,
        &["--no-default-features", "--features", &feature],
        &[("LLVM_PREFIX", &prefix)],
    )
    .inspect_err(|_| print_by_hand())
}

/// Installs a tool of cargo's into the target directory.
fn cargo_install(name: &str, version: &str, args: &[&str], vars: &[(&str, &str)]) -> Result<()> {
    let tools = workspace::tools();
    command::step(&format!("Compiling {name} {version} into {}", tools.display()), || {
        let mut cargo = workspace::cargo();
        cargo.args(["install", name, "--locked", "--version", &format!("={version}")]);
        cargo.args(args).arg("--root").arg(tools).envs(vars.iter().copied());
        command::quietly(cargo.env_remove("CARGO_TARGET_DIR"))
    })
}

/// What was installed must also be found, and fit.
fn check(purposes: &[Purpose]) -> Result<()> {
    let Some(compiler) = Compiler::find() else {
        print_by_hand();
        bail!(
            "no compiler for the kernel side: none has both the sources of core and a fitting LLVM"
        );
    };
    if purposes.contains(&Purpose::Lint) && !compiler.cargo_clippy().is_file() {
        bail!(
            "{} has no clippy; type\n    rustup component add clippy --toolchain {}",
            compiler.version,
            compiler.sysroot.file_name().unwrap_or_default().to_string_lossy()
        );
    }
    Ok(())
}

/// Prints how the compiler and the linker are installed where apt has none that fit.
fn print_by_hand() {
    if Compiler::find().is_none() {
        eprintln!("The compiler of the kernel side:");
        eprintln!(
            "    rustup toolchain install nightly --profile minimal --component rust-src,clippy"
        );
    }
    if !linker_is_there() {
        let (llvm, version) = (ebpf::LLVM, ebpf::LINKER_VERSION);
        let root = workspace::tools();
        eprintln!("The linker of the kernel side, with LLVM {llvm} and its headers installed:");
        eprintln!(
            "    LLVM_PREFIX=$(llvm-config-{llvm} --prefix) cargo install bpf-linker --locked \
             --version ={version} --no-default-features --features llvm-{llvm} --root {}",
            root.display()
        );
    }
}
