//! The captures that a path stands for.

use crate::capture::detect::Kind;
use crate::capture::input::{Input, shown};
use crate::capture::{self, Options, Seen, Sink};
use anyhow::Context;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The file itself, or the captures of a folder; those of one list are read as one. Where a folder
/// holds binary captures, the texts in it are most likely made of them, and are left out.
///
/// Binary captures may be one that was rotated: they are one list, in the order in which they
/// begin. Texts are read one by one, as their names, and what was inferred where addresses are
/// missing, mean nothing beyond them.
///
/// # Errors
/// Where the folder cannot be read, or holds no capture.
pub(super) fn captures(path: &Path, forced: Option<Kind>) -> anyhow::Result<Vec<Vec<PathBuf>>> {
    if !path.is_dir() {
        return Ok(vec![vec![path.into()]]);
    }
    let folder = || format!("cannot read {}", shown(path));
    let mut found: Vec<(Kind, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(path).with_context(folder)? {
        let file = entry.with_context(folder)?.path();
        if !file.is_file() {
            continue;
        }
        // What is no capture, a note beside them for example, is passed over.
        if let Ok(input) = Input::open(&file, forced)
            && (input.kind != Kind::Text || begin_ns(&file, forced).is_some())
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
    anyhow::ensure!(!files.is_empty(), "{} holds no capture", shown(path));
    if !binary {
        return Ok(files.into_iter().map(|file| vec![file]).collect());
    }
    files.sort_by_cached_key(|file| begin_ns(file, forced));
    Ok(vec![files])
}

/// The time of a capture's first segment; what is wrong with it is told when it is read.
fn begin_ns(file: &Path, forced: Option<Kind>) -> Option<u64> {
    struct First(Option<u64>);
    impl Sink for First {
        fn segment(&mut self, seen: &Seen<'_>) -> ControlFlow<()> {
            self.0 = Some(seen.time_ns);
            ControlFlow::Break(())
        }
    }
    let mut first = First(None);
    let options = Options { kind: forced, ..Options::default() };
    capture::read(Input::open(file, forced).ok()?, &options, &mut first).ok()?;
    first.0
}
