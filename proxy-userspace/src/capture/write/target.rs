//! Where a recording goes, as it is asked for.

use super::rotate::{Limits, Rotating};
use crate::units;
use std::io;
use std::path::PathBuf;

/// Which file is written, and when the next one begins.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Recording")]
pub struct Target {
    /// Write the control segments of every connection, each close as a comment of its last packet,
    /// into a pcapng file: Wireshark opens it, and `teardown explain` reads the same closes back
    #[arg(long = "write", short = 'w', value_name = "FILE")]
    path: Option<PathBuf>,
    /// Begin another file when one reaches this size (100m, 1g): FILE.1.pcapng and so on
    #[arg(long, value_name = "SIZE", requires = "path", value_parser = file_size)]
    rotate: Option<u64>,
    /// Keep this many files, and remove older ones
    #[arg(long, value_name = "N", requires = "rotate",
        value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
}

impl Target {
    /// Whether anything is to be written.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.path.is_some()
    }

    /// Creates the file, which begins with `head`; `None` where none is wanted.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub fn create(&self, head: Vec<u8>) -> io::Result<Option<Rotating>> {
        let limits = Limits { size: self.rotate, files: self.keep };
        let Some(path) = &self.path else { return Ok(None) };
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        Rotating::create(path, limits, head).map(Some).map_err(named)
    }
}

/// The size of a file. In less there is hardly room for one close: a unit was forgotten.
fn file_size(text: &str) -> Result<u64, String> {
    let size = units::size(text).map_err(|error| error.to_string())?;
    if size < 1024 {
        return Err("is less than 1k; the units of a size are k, m, g".to_owned());
    }
    Ok(size)
}
