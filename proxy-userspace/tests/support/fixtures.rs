//! Recorded captures with answers: a few in the project, more where `TEARDOWN_CAPTURES` points.

use std::path::{Path, PathBuf};

/// The folder of captures with answers: `$TEARDOWN_CAPTURES`, else `shared/captures` beside a
/// folder that holds the workspace. None where a checkout stands alone.
pub(crate) fn captures() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("TEARDOWN_CAPTURES") {
        let named = PathBuf::from(named);
        assert!(named.is_dir(), "TEARDOWN_CAPTURES={} is no folder", named.display());
        return Some(named);
    }
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/captures"))
        .find(|folder| folder.is_dir())
}

/// The rows of a tab-separated file, the heading left out.
pub(crate) fn table(path: &Path) -> Vec<Vec<String>> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}
