//! Recorded captures with answers: a few in the project, more where `TEARDOWN_CAPTURES` points.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of captures with answers: `$TEARDOWN_CAPTURES`, else `shared/captures` beside a
/// folder that holds the workspace. Where there is none, the screen says which test lacks them.
pub(crate) fn captures() -> Option<PathBuf> {
    let found = named().or_else(beside);
    if found.is_none() {
        say_that_they_are_missing();
    }
    found
}

/// The folder of captures that others made, with Zeek's and tshark's answers.
pub(crate) fn public() -> Option<PathBuf> {
    captures().map(|folder| folder.join("public"))
}

fn named() -> Option<PathBuf> {
    let named = PathBuf::from(std::env::var_os("TEARDOWN_CAPTURES")?);
    assert!(named.is_dir(), "TEARDOWN_CAPTURES={} is no folder", named.display());
    Some(named)
}

fn beside() -> Option<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/captures"))
        .find(|folder| folder.is_dir())
}

/// Written to the screen itself: the test harness hides what a test that passes prints.
fn say_that_they_are_missing() {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!(
        "\n*** NOT RUN on recorded captures: {test}. Set TEARDOWN_CAPTURES to their folder. ***\n"
    );
    std::io::stderr().write_all(line.as_bytes()).expect("the screen");
}

/// The rows of a tab-separated file, the heading left out.
pub(crate) fn table(path: &Path) -> Vec<Vec<String>> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}
