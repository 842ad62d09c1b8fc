//! Where the cgroup v2 hierarchy is mounted: not always at `/sys/fs/cgroup`.

use std::path::PathBuf;

/// The root of the cgroup v2 hierarchy, from `/proc/self/mountinfo` (proc(5)).
#[must_use]
pub fn root() -> Option<PathBuf> {
    find(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The mount point of the first line of type `cgroup2` whose root is the hierarchy's.
fn find(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        if filesystem.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        (fields.next()? == "/").then_some(())?;
        Some(PathBuf::from(fields.next()?.replace("\\040", " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_hierarchy_is_found() {
        let mountinfo = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw
";
        assert_eq!(find(mountinfo), Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn a_part_of_the_hierarchy_is_not_its_root() {
        let mountinfo = "41 31 0:38 /docker/a /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(find(mountinfo), None);
        assert_eq!(find(""), None);
    }
}
