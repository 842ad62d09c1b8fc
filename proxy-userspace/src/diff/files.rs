//! The captures that a path stands for.

use crate::capture::detect::Kind;
use crate::capture::input::{Input, shown};
use crate::capture::{self, Error, Options, Seen, Sink};
use anyhow::Context;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The file itself, or the captures of a folder; those of one list are read as one. Where a folder
/// holds binary captures, the texts in it are most likely made of them, and are left out.
///
/// Binary captures may be one that was rotated: they are one list, in the order in which they
/// begin. Texts are read one by one, as their names, and what was inferred where addresses are
/// missing, mean nothing beyond them.
///
/// What is no capture, and no text either, is told of in `notes`: somebody may have meant it as one.
///
/// # Errors
/// Where the folder or a file in it cannot be read, or there is no capture.
pub(super) fn captures(
    path: &Path,
    forced: Option<Kind>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Vec<PathBuf>>> {
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
        match Input::open(&file, forced) {
            // A text may be a note beside the captures.
            Ok(input) if input.kind == Kind::Text && begin_ns(&file, forced).is_none() => {}
            Ok(input) => found.push((input.kind, file)),
            Err(Error::Foreign { .. }) if is_text(&file) => {}
            Err(error @ Error::Foreign { .. }) => notes.push(format!("passed over: {error}")),
            Err(error) => return Err(error.into()),
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

/// Whether a file begins as a text does.
fn is_text(file: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(file).and_then(|file| file.take(1 << 12).read_to_end(&mut head));
    read.is_ok() && !head.contains(&0)
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
