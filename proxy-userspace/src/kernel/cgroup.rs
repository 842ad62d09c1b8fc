//! Where the cgroup v2 hierarchy is mounted: not always at `/sys/fs/cgroup`.

use std::path::{Path, PathBuf};

/// Below which of the cgroups sockets are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Widest {
    /// The root of the cgroup v2 hierarchy: all.
    Root(PathBuf),
    /// What a container with a cgroup namespace of its own takes for the root: its own.
    Containers(PathBuf),
}

impl Widest {
    /// Where it is mounted.
    #[must_use]
    pub fn at(&self) -> &Path {
        match self {
            Self::Root(at) | Self::Containers(at) => at,
        }
    }
}

/// The root of the cgroup v2 hierarchy, wherever it is mounted, else what looks like it.
#[must_use]
pub fn widest() -> Option<Widest> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let root = mounts(&mountinfo).find(|at| is_root(at)).map(Widest::Root);
    root.or_else(|| mounts(&mountinfo).next().map(Widest::Containers))
}

/// The mount points of type `cgroup2`, from `/proc/self/mountinfo` (proc(5)).
fn mounts(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        if filesystem.split(' ').next()? != "cgroup2" {
            return None;
        }
        Some(PathBuf::from(mount.split(' ').nth(4)?.replace("\\040", " ")))
    })
}

/// Whether this is the first cgroup of all: every other one has `cgroup.events`.
fn is_root(at: &Path) -> bool {
    at.join("cgroup.procs").exists() && !at.join("cgroup.events").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mounted_hierarchy_is_found() {
        let mountinfo = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw
42 31 0:38 /../.. /host\\040cgroup ro - cgroup2 cgroup2 rw
";
        let found: Vec<_> = mounts(mountinfo).collect();
        assert_eq!(found, ["/sys/fs/cgroup/unified", "/host cgroup"].map(PathBuf::from));
        assert_eq!(mounts("").next(), None);
    }

    #[test]
    fn a_part_of_the_hierarchy_is_not_its_root() {
        let widest = widest().expect("a mounted cgroup v2");
        let root = widest.at().to_owned();
        let part = root.join(format!("td-part-{}", std::process::id()));
        std::fs::create_dir(&part).expect("a cgroup of our own");
        let taken = is_root(&part);
        std::fs::remove_dir(&part).expect("an empty one");
        assert_eq!((widest, taken), (Widest::Root(root), false));
        assert!(!is_root(Path::new("/nonexistent")) && !is_root(Path::new("/")));
    }
}
