//! Packs the release: a tar archive and, where dpkg-deb is, a Debian package.
//!
//! Both hold the same tree, laid out below `target/dist`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    command::{loudly, quietly, step},
    workspace,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds and packs; gives the Debian package, where there is one.
pub(crate) fn dist() -> Result<Option<PathBuf>> {
    step("Building teardown", || {
        let args = ["build", "--release", "--locked", "--bin", "teardown"];
        loudly(workspace::cargo().args(args))
    })?;
    let dist = workspace::target_dir().join("dist");
    let tree = dist.join("tree");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| dist.display().to_string())?;
    }
    step("Laying out the files", || lay_out(&tree, &dist.join("generated")))?;

    let name = format!("teardown-{VERSION}-{}-linux", std::env::consts::ARCH);
    let archive = dist.join(format!("{name}.tar.gz"));
    step(&format!("Packing {}", archive.display()), || {
        let mut tar = Command::new("tar");
        tar.args([
            "--create",
            "--gzip",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ]);
        tar.arg(format!("--transform=s,^\\.,{name},")).arg("--file").arg(&archive);
        quietly(tar.arg("--directory").arg(&tree).arg("."))
    })?;
    if workspace::which("dpkg-deb").is_none() {
        eprintln!("    no Debian package: dpkg-deb is not installed here");
        return Ok(None);
    }
    step("Packing the Debian package", || debian(&tree, &dist)).map(Some)
}

/// Every file at its place in the tree.
fn lay_out(tree: &Path, generated: &Path) -> Result<()> {
    let program = workspace::target_dir().join("release/teardown");
    quietly(Command::new(&program).arg("generate").arg(generated))?;

    let root = workspace::root();
    let doc = "usr/share/doc/teardown";
    let completions = generated.join("completions");
    let files: [(PathBuf, String, u32); 11] = [
        (program, "usr/bin/teardown".into(), 0o755),
        (root.join("dist/teardown.service"), "lib/systemd/system/teardown.service".into(), 0o644),
        (root.join("dist/default"), "etc/default/teardown".into(), 0o644),
        (root.join("dist/deb/copyright"), format!("{doc}/copyright"), 0o644),
        (root.join("LICENSE-MIT"), format!("{doc}/LICENSE-MIT"), 0o644),
        (root.join("LICENSE-APACHE"), format!("{doc}/LICENSE-APACHE"), 0o644),
        (root.join("README.md"), format!("{doc}/README.md"), 0o644),
        (root.join("CHANGELOG.md"), format!("{doc}/CHANGELOG.md"), 0o644),
        (
            completions.join("teardown.bash"),
            "usr/share/bash-completion/completions/teardown".into(),
            0o644,
        ),
        (completions.join("_teardown"), "usr/share/zsh/vendor-completions/_teardown".into(), 0o644),
        (
            completions.join("teardown.fish"),
            "usr/share/fish/vendor_completions.d/teardown.fish".into(),
            0o644,
        ),
    ];
    for (from, to, mode) in files {
        place(&from, &tree.join(to), mode)?;
    }
    // What the README leads to, and the man pages.
    for (from, to) in [
        (root.join("docs"), format!("{doc}/docs")),
        (generated.join("man"), "usr/share/man/man1".into()),
    ] {
        for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
            let entry = entry?;
            place(&entry.path(), &tree.join(&to).join(entry.file_name()), 0o644)?;
        }
    }
    Ok(())
}

/// Copies a file, with the folders above it.
fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let told = || format!("copying {} to {}", from.display(), to.display());
    fs::create_dir_all(to.parent().context("a file in a folder")?).with_context(told)?;
    fs::copy(from, to).with_context(told)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).with_context(told)
}

/// The package: the tree with its control files.
fn debian(tree: &Path, dist: &Path) -> Result<PathBuf> {
    let deb = workspace::root().join("dist/deb");
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let control = fs::read_to_string(deb.join("control"))?
        .replace("@VERSION@", VERSION)
        .replace("@ARCHITECTURE@", architecture)
        .replace("@SIZE@", &kibibytes(tree)?.to_string());
    for (name, mode) in [("conffiles", 0o644), ("postinst", 0o755), ("prerm", 0o755)] {
        place(&deb.join(name), &tree.join("DEBIAN").join(name), mode)?;
    }
    fs::write(tree.join("DEBIAN/control"), control)?;
    let mut dpkg = Command::new("dpkg-deb");
    let package = dist.join(format!("teardown_{VERSION}_{architecture}.deb"));
    quietly(dpkg.args(["--root-owner-group", "--build"]).arg(tree).arg(&package))?;
    Ok(package)
}

/// The size of a tree, as a package states it.
fn kibibytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        sum += if data.is_dir() { kibibytes(&entry.path())? } else { data.len().div_ceil(1024) };
    }
    Ok(sum)
}
