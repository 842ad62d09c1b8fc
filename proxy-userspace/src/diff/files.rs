//! The captures that a path stands for.

use crate::capture::detect::Kind;
use crate::capture::input::Input;
use anyhow::Context;
use std::path::{Path, PathBuf};

/// The file itself, or the captures of a folder. Where a folder holds binary captures, the texts in
/// it are most likely made of them, and are left out.
///
/// # Errors
/// Where the folder cannot be read, or holds no capture.
pub(super) fn captures(path: &Path, forced: Option<Kind>) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let folder = || format!("cannot read {}", path.display());
    let mut found: Vec<(Kind, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(path).with_context(folder)? {
        let file = entry.with_context(folder)?.path();
        if !file.is_file() {
            continue;
        }
        // What is no capture, a note beside them for example, is passed over.
        if let Ok(input) = Input::open(&file, forced)
            && (input.kind != Kind::Text || holds_packets(input.head()))
        {
            found.push((input.kind, file));
        }
    }
    let binary = found.iter().any(|(kind, _)| *kind != Kind::Text);
    let mut files: Vec<PathBuf> = found
        .into_iter()
        .filter(|(kind, _)| !binary || *kind != Kind::Text)
        .map(|(_, file)| file)
        .collect();
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} holds no capture", path.display());
    Ok(files)
}

fn holds_packets(head: &[u8]) -> bool {
    memchr::memmem::find(head, b"Flags [").is_some()
}
