//! Files that are closed when they reach a size, each readable on its own.

use rustix::fs::{AtFlags, Mode, OFlags, fchmod, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Its owner alone may read a recording.
const OWNERS: Mode = Mode::RUSR.union(Mode::WUSR);

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
    /// Held open where files follow: the folder stays the same one after a chroot, or when it is
    /// renamed. One file needs none, and a chroot holds only who has no folder of outside.
    folder: Option<OwnedFd>,
    name: OsString,
    limits: Limits,
    head: Vec<u8>,
    file: BufWriter<File>,
    written: u64,
    number: u32,
}

impl Rotating {
    /// Creates `path`, or writes over what it names, a link's target too; every file begins with
    /// `head`. Captures tell much, so that only the owner may read them.
    ///
    /// # Errors
    /// Where the file cannot be created or written.
    pub fn create(path: &Path, limits: Limits, head: Vec<u8>) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder: OwnedFd = File::open(folder.unwrap_or(Path::new(".")))?.into();
        let file = named(&folder, &name)?;
        let folder = limits.size.is_some().then_some(folder);
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

    /// Whether other files follow the first.
    #[must_use]
    pub fn rotates(&self) -> bool {
        self.folder.is_some()
    }

    /// The name of the file that is written now, in its folder.
    #[must_use]
    pub fn name(&self) -> OsString {
        numbered(&self.name, self.number)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn next(&mut self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        self.file.flush()?;
        self.number += 1;
        self.file = fresh(folder, &numbered(&self.name, self.number))?;
        if let Some(oldest) = self.limits.files.and_then(|files| self.number.checked_sub(files)) {
            remove(folder, &numbered(&self.name, oldest))?;
        }
        self.begin()
    }
}

/// The file that the operator names, whatever stands there: a link, a pipe, an older file.
fn named(folder: &OwnedFd, name: &OsStr) -> io::Result<BufWriter<File>> {
    let file = open(folder, name, OFlags::TRUNC)?;
    // The mode that it is created with says nothing where it was there before.
    if file.metadata()?.is_file() {
        fchmod(&file, OWNERS)?;
    }
    Ok(buffered(file))
}

/// A file that follows. Whatever stands there was not named by anybody: it makes way, and no link
/// leads elsewhere.
fn fresh(folder: &OwnedFd, name: &OsStr) -> io::Result<BufWriter<File>> {
    remove(folder, name)?;
    Ok(buffered(open(folder, name, OFlags::EXCL)?))
}

fn open(folder: &OwnedFd, name: &OsStr, how: OFlags) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | how;
    Ok(openat(folder, name, flags, OWNERS)?.into())
}

fn buffered(file: File) -> BufWriter<File> {
    BufWriter::with_capacity(1 << 16, file)
}

/// Removes a file that may be gone already.
fn remove(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
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

    #[test]
    fn what_was_there_before_opens_no_recording_to_others() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mode = |name: &str| std::fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        for name in ["meant", "other", "closes.2"] {
            std::fs::write(at(name), "older").unwrap();
            std::fs::set_permissions(at(name), PermissionsExt::from_mode(0o644)).unwrap();
        }
        // The operator names a link; of those that follow nobody does.
        symlink(at("meant"), at("closes")).unwrap();
        symlink(at("other"), at("closes.1")).unwrap();
        let limits = Limits { size: Some(20), files: None };
        let mut rotating = Rotating::create(&at("closes"), limits, b"HEAD".to_vec()).unwrap();
        let mut block = vec![0; 12];
        block[4] = 12;
        (0..3).for_each(|_| rotating.write(&block).unwrap());
        rotating.flush().unwrap();
        assert_eq!(std::fs::read(at("other")).unwrap(), b"older");
        assert_eq!(std::fs::read(at("meant")).unwrap(), [b"HEAD", &*block].concat());
        assert_eq!(["meant", "closes.1", "closes.2"].map(mode), [0o600; 3]);
    }
}
