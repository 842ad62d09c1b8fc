//! The disk with what runs in a machine: programs, what they read, and in which order.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::programs::{self, Program};
use crate::{
    command::{quietly, step},
    workspace,
};

/// Lays everything out below `folder`, as `run.sh` expects it, and makes a disk of it.
pub(super) fn make(
    folder: &Path,
    programs: &[Program],
    words: &[String],
    package: Option<&Path>,
) -> Result<PathBuf> {
    let built = step("Building the tests", || programs::build(programs))?;
    let tree = folder.join("payload");
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())?;
    }
    // Programs find these two where they were built.
    let (target, manifest) = (workspace::target_dir(), workspace::root().join("proxy-userspace"));
    let places = format!("target {}\nmanifest {}\n", target.display(), manifest.display());
    let mut list = String::new();
    for Program { name, flags, words: usual } in programs {
        let file = built.test(name)?;
        place(file, &target, &tree)?;
        let words = if words.is_empty() { (*usual).to_owned() } else { words.join(" ") };
        list += &format!("{name} {} {flags} {words}\n", file.display());
    }
    place(&built.teardown, &target, &tree)?;
    fs::create_dir_all(tree.join("target/tmp"))?;
    let fixtures = tree.join("manifest/tests");
    fs::create_dir_all(&fixtures)?;
    let mut copy = Command::new("cp");
    quietly(copy.arg("-r").arg(manifest.join("tests/fixtures")).arg(fixtures))?;
    if let Some(package) = package {
        fs::copy(package, tree.join("teardown.deb"))?;
    }
    fs::write(tree.join("places"), places)?;
    fs::write(tree.join("list"), list)?;
    fs::write(tree.join("run.sh"), include_str!("run.sh"))?;

    let disk = folder.join("payload.ext4");
    let mut mke2fs = Command::new("/usr/sbin/mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"]);
    quietly(mke2fs.arg(&tree).arg(&disk).arg("2G"))?;
    fs::remove_dir_all(&tree)?;
    Ok(disk)
}

/// Copies a program from cargo's folder to the same place of the tree, without what only a debugger
/// reads.
fn place(file: &Path, target: &Path, tree: &Path) -> Result<()> {
    let inside = file.strip_prefix(target).with_context(|| file.display().to_string())?;
    let to = tree.join("target").join(inside);
    fs::create_dir_all(to.parent().context("a file in a folder")?)?;
    quietly(Command::new("strip").arg("--strip-debug").arg("-o").arg(&to).arg(file))
}
