//! The files of a configuration: several `-f`, and folders with their `*.cfg`.

use crate::host;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One file's text.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name that findings carry.
    pub name: Arc<str>,
    /// The bytes.
    pub text: Vec<u8>,
}

/// Why a file or folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system refused it.
    #[error("cannot read configuration {}: {why}", path.display())]
    Unreadable {
        /// What was asked for.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// A folder in which no file ends in `.cfg`.
    #[error("no file that ends in .cfg in configuration folder {}", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
}

/// Reads every path in order; a folder stands for its visible `*.cfg` files in byte order, as
/// HAProxy reads it.
///
/// # Errors
/// The first path that cannot be read.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, SourceError> {
    let mut sources = Vec::new();
    for path in paths {
        let unreadable = |why| SourceError::Unreadable { path: path.clone(), why };
        let Some(mut inside) = host::folder(path).map_err(unreadable)? else {
            sources.push(read_one(path)?);
            continue;
        };
        inside.retain(|file| {
            let name = file.file_name().unwrap_or_default().as_encoded_bytes();
            name.ends_with(b".cfg") && !name.starts_with(b".")
        });
        if inside.is_empty() {
            return Err(SourceError::EmptyFolder { path: path.clone() });
        }
        inside.sort();
        for file in &inside {
            sources.push(read_one(file)?);
        }
    }
    Ok(sources)
}

fn read_one(path: &Path) -> Result<Source, SourceError> {
    let text = if path == Path::new("/dev/stdin") {
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::stdin(), &mut text).map(|_| text)
    } else {
        host::file(path)
    };
    let text = text.map_err(|why| SourceError::Unreadable { path: path.to_owned(), why })?;
    Ok(Source { name: path.to_string_lossy().into(), text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_is_its_visible_cfg_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.cfg", "a.cfg", ".hidden.cfg", "notes.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let texts: Vec<Vec<u8>> =
            read(&[folder.path().to_owned()]).unwrap().into_iter().map(|s| s.text).collect();
        assert_eq!(texts, [b"a.cfg", b"b.cfg"]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let missing = read(&["/nonexistent/x.cfg".into()]).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/x.cfg"), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let empty = read(&[folder.path().to_owned()]).unwrap_err();
        assert!(matches!(empty, SourceError::EmptyFolder { .. }));
    }
}
