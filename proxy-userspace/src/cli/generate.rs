//! `teardown generate`: man pages and completions, from the same words as `--help`.

use super::{CLOSING, Cli};
use anyhow::Context;
use clap::builder::Resettable;
use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

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
    man_pages(&man).with_context(|| format!("cannot write man pages to {}", man.display()))?;
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut shown(), "teardown", &completions)
            .with_context(|| format!("cannot write completions to {}", completions.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The commands that people type: shells would complete the hidden ones too.
fn shown() -> Command {
    let whole = Cli::command();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new("teardown").version(env!("CARGO_PKG_VERSION")).subcommands(commands)
}

/// A page for the program and for each subcommand. What follows the options is laid out already.
fn man_pages(folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Cli::command().after_help(Resettable::Reset), folder)?;
    let page = folder.join("teardown.1");
    let mut text = fs::read_to_string(&page)?;
    for (title, lines) in CLOSING {
        let lines = lines.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        text += &format!(".SH {}\n.nf\n{lines}\n.fi\n", title.to_uppercase());
    }
    text +=
        ".SH \"SEE ALSO\"\nThe pages in /usr/share/doc/teardown; haproxy(1), tcpdump(8), ss(8)\n";
    fs::write(page, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_page_for_the_program_and_a_file_for_each_shell() {
        let folder = tempfile::tempdir().expect("a folder of its own");
        run(&Args { folder: folder.path().to_owned() }).expect("it can be written to");
        let page = fs::read_to_string(folder.path().join("man/teardown.1")).expect("the page");
        assert!(page.contains(".TH teardown 1") && page.contains(".SH EXIT STATUS"), "{page}");
        let bash = folder.path().join("completions/teardown.bash");
        let bash = fs::read_to_string(bash).expect("the completions");
        assert!(bash.contains("watch") && !bash.contains("steward"), "{bash}");
        let shells = fs::read_dir(folder.path().join("completions")).expect("the folder").count();
        assert_eq!(shells, Shell::value_variants().len());
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
