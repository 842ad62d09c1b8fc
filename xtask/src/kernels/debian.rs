//! The Debian that the machines run: its disk, its kernels. Made once; delete the folder for newer
//! packages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{privileged, quietly, step},
    setup,
};

/// The release, and the meta packages of its kernels for virtual machines: each asks for the newest
/// of its series.
const RELEASE: &str = "bookworm";
const KERNELS: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64"];
/// Process 1 where a service is tried, and what loads modules.
const BASE: [&str; 2] = ["systemd-sysv", "kmod"];

/// A kernel, and what mounts its disk.
pub(super) struct Kernel {
    /// As "6.1.0-56-cloud-amd64".
    pub(super) version: String,
    pub(super) image: PathBuf,
    pub(super) initrd: PathBuf,
}

/// What is there of it on this host.
pub(super) struct Debian {
    /// The disk. Only read: what a machine writes goes with it.
    pub(super) root: PathBuf,
    boot: PathBuf,
}

impl Debian {
    /// Makes it below `folder`, if it is not there with all that the tests call.
    pub(super) fn ensure(folder: &Path) -> Result<Self> {
        let debian = Self { root: folder.join("root.ext4"), boot: folder.join("boot") };
        let mut packages = BASE.to_vec();
        packages.extend(KERNELS);
        packages.extend(setup::debian_packages_of_tests());
        let packages = packages.join(",");
        let made_of = folder.join("packages");
        if fs::read_to_string(&made_of).is_ok_and(|there| there == packages) {
            return Ok(debian);
        }
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        step(&format!("Making a Debian for the machines in {}", folder.display()), || {
            let mut script = privileged("sh")?;
            script.arg("-c").arg(include_str!("debian.sh")).arg("debian.sh");
            quietly(script.arg(folder).args([RELEASE, &packages]))
        })?;
        fs::write(&made_of, packages).with_context(|| made_of.display().to_string())?;
        Ok(debian)
    }

    /// The kernel whose version begins so.
    pub(super) fn kernel(&self, begins: &str) -> Result<Kernel> {
        for entry in fs::read_dir(&self.boot).with_context(|| self.boot.display().to_string())? {
            let image = entry?.path();
            let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(version) = name.strip_prefix("vmlinuz-")
                && version.starts_with(begins)
            {
                let initrd = self.boot.join(format!("initrd.img-{version}"));
                return Ok(Kernel { version: version.to_owned(), image, initrd });
            }
        }
        bail!("no kernel {begins}* in {}", self.boot.display())
    }
}
