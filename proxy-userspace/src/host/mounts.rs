//! Where filesystems are mounted: /proc/self/mountinfo (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The cgroup v2 hierarchy's mount point: /sys/fs/cgroup, or on a hybrid host
/// /sys/fs/cgroup/unified, or wherever else. `None` where it is not mounted.
///
/// # Errors
/// Where /proc cannot be read.
pub fn cgroup_v2() -> io::Result<Option<PathBuf>> {
    find("cgroup2")
}

/// The tracing filesystem's mount point. One below debugfs is found as well, as the kernel mounts
/// it there by itself when somebody looks.
///
/// # Errors
/// Where /proc cannot be read.
pub fn tracefs() -> io::Result<Option<PathBuf>> {
    if let Some(mounted) = find("tracefs")? {
        return Ok(Some(mounted));
    }
    let below = find("debugfs")?.map(|debugfs| debugfs.join("tracing"));
    Ok(below.filter(|folder| folder.join("events").is_dir()))
}

fn find(kind: &str) -> io::Result<Option<PathBuf>> {
    Ok(in_table(&fs::read("/proc/self/mountinfo")?, kind))
}

/// The first mount of the filesystem `kind`, one of its whole tree rather than of a part.
fn in_table(table: &[u8], kind: &str) -> Option<PathBuf> {
    let mounts = table.split(|&byte| byte == b'\n').filter_map(|line| {
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        // ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS...] - TYPE SOURCE SUPER
        let dash = words.iter().position(|&word| word == b"-")?;
        let (root, point) = (words.get(3)?, words.get(4)?);
        (*words.get(dash + 1)? == kind.as_bytes()).then(|| (*root == b"/", unescaped(point)))
    });
    let mut best = None;
    for (whole, point) in mounts {
        if whole {
            return Some(point);
        }
        best.get_or_insert(point);
    }
    best
}

/// Undoes `\040` and its like, which stand for blanks and backslashes.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match (first, tail.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = &tail[3..];
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    Path::new(&OsString::from_vec(plain)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unified_hybrid_and_odd_places() {
        let unified = b"31 23 0:28 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(in_table(unified, "cgroup2"), Some(PathBuf::from("/sys/fs/cgroup")));
        let hybrid = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(in_table(hybrid, "cgroup2"), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let odd = br"41 31 0:38 / /mnt/two\040words rw - cgroup2 none rw";
        assert_eq!(in_table(odd, "cgroup2"), Some(PathBuf::from("/mnt/two words")));
        assert_eq!(in_table(b"", "cgroup2"), None);
        assert_eq!(in_table(b"nonsense\n1 2 - cgroup2\n", "cgroup2"), None);
    }

    #[test]
    fn the_whole_tree_is_preferred_to_a_part() {
        let table = b"40 31 0:38 /docker/x /part rw - cgroup2 cgroup2 rw\n\
            41 31 0:38 / /whole rw - cgroup2 cgroup2 rw\n";
        assert_eq!(in_table(table, "cgroup2"), Some(PathBuf::from("/whole")));
        let only_a_part = b"40 31 0:38 /docker/x /part rw - cgroup2 cgroup2 rw\n";
        assert_eq!(in_table(only_a_part, "cgroup2"), Some(PathBuf::from("/part")));
    }
}
