//! Files that are closed when they reach a size, each readable on its own.

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

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
    /// Held open: the folder stays the same one after a chroot, or when it is renamed.
    folder: OwnedFd,
    name: OsString,
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
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")))?.into();
        let file = create(&folder, &name)?;
        let mut this = Self { folder, name, limits, head, file, written: 0, number: 0 };
        this.begin()?;
        Ok(this)
    }

    fn begin(&mut self) -> io::Result<()> {
        self.written = self.head.len() as u64;
        self.file.write_all(&self.head)
    }

    /// Writes whole blocks, as [`super::blocks`] makes them.
    ///
    /// # Errors
    /// Where a file cannot be written, created or removed.
    pub fn write(&mut self, mut blocks: &[u8]) -> io::Result<()> {
        while !blocks.is_empty() {
            let (block, rest) = blocks.split_at(super::blocks::first_len(blocks));
            self.write_block(block)?;
            blocks = rest;
        }
        Ok(())
    }

    fn write_block(&mut self, block: &[u8]) -> io::Result<()> {
        let full = self.limits.size.is_some_and(|size| self.written + block.len() as u64 > size);
        if full && self.written > self.head.len() as u64 {
            self.next()?;
        }
        self.written += block.len() as u64;
        self.file.write_all(block)
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
        self.file = create(&self.folder, &numbered(&self.name, self.number))?;
        if let Some(oldest) = self.limits.files.and_then(|files| self.number.checked_sub(files)) {
            match unlinkat(&self.folder, numbered(&self.name, oldest), AtFlags::empty()) {
                // Somebody has taken it away before us.
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.begin()
    }
}

fn create(folder: &OwnedFd, name: &OsStr) -> io::Result<BufWriter<File>> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(BufWriter::with_capacity(1 << 16, file.into()))
}

/// The name of a row's file: `closes.pcapng`, `closes.1.pcapng`, `closes.2.pcapng`.
fn numbered(name: &OsStr, number: u32) -> OsString {
    let path = Path::new(name);
    if number == 0 {
        return name.into();
    }
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_extension(if extension.is_empty() {
        number.to_string()
    } else {
        format!("{number}.{extension}")
    })
    .into_os_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_follow_one_another_and_the_oldest_go() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("before");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("closes.pcapng");
        let limits = Limits { size: Some(50), files: Some(2) };
        let mut rotating = Rotating::create(&path, limits, b"HEAD".to_vec()).unwrap();
        // The folder stays the same one, whatever it is called.
        std::fs::rename(&folder, above.path().join("after")).unwrap();
        let folder = above.path().join("after");
        let block = |len: usize| {
            let mut block = vec![0; len];
            block[4..8].copy_from_slice(&(len as u32).to_le_bytes());
            block
        };
        // Several at a time are parted where a file is full.
        for blocks in [block(20), [block(20), block(20), block(40)].concat(), block(12)] {
            rotating.write(&blocks).unwrap();
        }
        rotating.flush().unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["closes.2.pcapng", "closes.3.pcapng"]);
        let last = std::fs::read(folder.join("closes.3.pcapng")).unwrap();
        assert_eq!(last, [b"HEAD".to_vec(), block(12)].concat());
    }
}
