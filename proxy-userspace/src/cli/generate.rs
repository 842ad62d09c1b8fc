//! `teardown generate`: man pages and completions, from the same words as `--help`.

use super::Cli;
use anyhow::Context;
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `teardown generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write to; it is made where it is missing
    folder: PathBuf,
}

/// Writes `man/` and `completions/` below the folder.
///
/// # Errors
/// Where a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let man = args.folder.join("man");
    let completions = args.folder.join("completions");
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    clap_mangen::generate_to(Cli::command(), &man)
        .with_context(|| format!("cannot write man pages to {}", man.display()))?;
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut Cli::command(), "teardown", &completions)
            .with_context(|| format!("cannot write completions to {}", completions.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_page_for_the_program_and_a_file_for_each_shell() {
        let folder = tempfile::tempdir().expect("a folder of its own");
        run(&Args { folder: folder.path().to_owned() }).expect("it can be written to");
        let page = fs::read_to_string(folder.path().join("man/teardown.1")).expect("the page");
        assert!(page.contains(".TH teardown 1"), "{page}");
        let shells = fs::read_dir(folder.path().join("completions")).expect("the folder").count();
        assert_eq!(shells, Shell::value_variants().len());
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
