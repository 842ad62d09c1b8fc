//! Files that are closed when they reach a size, each readable on its own.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// When a file is followed by the next, and how many are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a file; it is closed with the block that passes them. `None` is no limit.
    pub size: Option<u64>,
    /// Files kept; older ones are removed. `None` keeps all.
    pub files: Option<u32>,
}

/// A file, or a row of them.
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    limits: Limits,
    head: Vec<u8>,
    file: BufWriter<File>,
    written: u64,
    number: u32,
}

impl Rotating {
    /// Creates `path`; every file begins with `head`. Captures tell much, so that only the owner
    /// may read them.
    ///
    /// # Errors
    /// Where the file cannot be created or written.
    pub fn create(path: &Path, limits: Limits, head: Vec<u8>) -> io::Result<Self> {
        let file = create(path)?;
        let mut this = Self { path: path.into(), limits, head, file, written: 0, number: 0 };
        this.begin()?;
        Ok(this)
    }

    fn begin(&mut self) -> io::Result<()> {
        self.written = self.head.len() as u64;
        self.file.write_all(&self.head)
    }

    /// Writes whole blocks.
    ///
    /// # Errors
    /// Where a file cannot be written, created or removed.
    pub fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        let full = self.limits.size.is_some_and(|size| self.written + blocks.len() as u64 > size);
        if full && self.written > self.head.len() as u64 {
            self.next()?;
        }
        self.written += blocks.len() as u64;
        self.file.write_all(blocks)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn next(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.number += 1;
        self.file = create(&numbered(&self.path, self.number))?;
        if let Some(oldest) = self.limits.files.and_then(|files| self.number.checked_sub(files)) {
            std::fs::remove_file(numbered(&self.path, oldest))?;
        }
        self.begin()
    }
}

fn create(path: &Path) -> io::Result<BufWriter<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(BufWriter::with_capacity(1 << 16, file))
}

/// The name of a row's file: `closes.pcapng`, `closes.1.pcapng`, `closes.2.pcapng`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.into();
    }
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_extension(if extension.is_empty() {
        number.to_string()
    } else {
        format!("{number}.{extension}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_follow_one_another_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("closes.pcapng");
        let limits = Limits { size: Some(10), files: Some(2) };
        let mut rotating = Rotating::create(&path, limits, b"HEAD".to_vec()).unwrap();
        for block in [&b"aaa"[..], b"bbb", b"ccc", b"dddddddd", b"e"] {
            rotating.write(block).unwrap();
        }
        rotating.flush().unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["closes.2.pcapng", "closes.3.pcapng"]);
        let last = std::fs::read(folder.path().join("closes.3.pcapng")).unwrap();
        assert_eq!(last, b"HEADe");
    }
}
